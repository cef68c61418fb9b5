from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import kept_scores
from benchmarks.kept_scores import kept_scores as kept


@pytest.fixture
def counted() -> tuple[Callable[[], dict[str, float]], list[int]]:
    calls: list[int] = []

    def compute() -> dict[str, float]:
        calls.append(1)
        return {"v_rand": len(calls) / 3}

    return compute, calls


def test_scores_of_the_same_arrays_are_computed_once(
    tmp_path: Path, counted: tuple[Callable[[], dict[str, float]], list[int]]
) -> None:
    compute, calls = counted
    maps, truth = np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.ones((2, 2, 2), np.uint8)
    first = kept(tmp_path / "new", "best", (maps, truth), compute)
    assert (
        kept(tmp_path / "new", "best", (maps.copy(), truth), compute) == first == {"v_rand": 1 / 3}
    )
    assert len(calls) == 1


@pytest.mark.parametrize("change", ["value", "shape", "dtype", "truth", "name", "version"])
def test_anything_that_decides_scores_makes_them_new(
    tmp_path: Path,
    counted: tuple[Callable[[], dict[str, float]], list[int]],
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute, calls = counted
    maps, truth = np.zeros((2, 2, 2), np.uint8), np.ones((2, 2, 2), np.uint8)
    kept(tmp_path, "best", (maps, truth), compute)
    name = "another" if change == "name" else "best"
    if change == "value":
        maps = maps + np.uint8(1)
    elif change == "shape":
        maps = maps.reshape(1, 4, 2)
    elif change == "dtype":
        maps = maps.view(np.int8)
    elif change == "truth":
        truth = truth - np.uint8(1)
    elif change == "version":
        monkeypatch.setattr(kept_scores, "VERSION", kept_scores.VERSION + 1)
    kept(tmp_path, name, (maps, truth), compute)
    assert len(calls) == 2


def test_what_fails_is_not_kept(tmp_path: Path) -> None:
    array = np.zeros((1, 1, 1), np.uint8)
    with pytest.raises(ZeroDivisionError):
        kept(tmp_path, "best", (array,), lambda: {"v_rand": 1 / 0})
    assert kept(tmp_path, "best", (array,), lambda: {"v_rand": 1.0}) == {"v_rand": 1.0}

"""Done marks speak of files that are there: what is gone is computed again, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_pipeline import settings
from test_damaged_and_interrupted import stop_at_block

from pipeline.store import Output, layout
from workflows.prepare import Run
from workflows.reconstruct import reconstruct

Prepared = Callable[..., Run]


@pytest.fixture(autouse=True)
def one_coarser_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 x 15 x 14 voxels: two blocks."""
    monkeypatch.setattr(layout, "SMALLEST_LEVEL", 16)


@pytest.fixture
def run(prepared: Prepared, models: Any) -> Run:
    made: Run = prepared(settings(models.network))
    assert made.output.level_blocks(1) == [(0, 0, 0), (1, 0, 0)]
    return made


@pytest.fixture
def expected(prepared: Prepared, models: Any, tmp_path: Path) -> Path:
    """Files of an uninterrupted run up to the boundaries."""
    made = prepared(settings(models.network), output=tmp_path / "expected.zarr")
    reconstruct(made, until="boundaries")
    return made.output.path


class Stop(BaseException):
    """As a kill: nothing of the run goes on."""


def stop(
    monkeypatch: pytest.MonkeyPatch, name: str, of: str, call: int = 1, *, after: bool = False
) -> None:
    """Let a method of the output, asked of one array or table, stop the run."""
    original, count = getattr(Output, name), 0

    def replaced(self: Output, what: str, *args: Any, **keywords: Any) -> Any:
        nonlocal count
        count += what == of
        if (what, count) == (of, call) and not after:
            raise Stop
        result = original(self, what, *args, **keywords)
        if (what, count) == (of, call):
            raise Stop
        return result

    monkeypatch.setattr(Output, name, replaced)


def interrupt(run: Run, until: str) -> None:
    with pytest.raises(Stop):
        reconstruct(run, until=until)


def assert_same_files(first: Path, second: Path) -> None:
    files = sorted(file.relative_to(first) for file in first.glob("[01]/c/*/*/*"))
    assert files == sorted(file.relative_to(second) for file in second.glob("[01]/c/*/*/*"))
    assert len(files) == 10
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_a_kill_while_a_damaged_level_is_made_anew_leaves_no_marks_of_its_old_blocks(
    run: Run, expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop(patch, "write_level_block", "boundaries", 2)
        interrupt(run, "boundaries")
    assert set(run.ledger.done("boundaries", "boundaries-1")) == {"0.0.0"}
    (run.output.path / "1/zarr.json").unlink()
    with monkeypatch.context() as patch:
        stop(patch, "create_level", "boundaries", after=True)
        interrupt(run, "boundaries")
    reconstruct(run, until="boundaries")
    assert_same_files(run.output.path, expected)


def test_files_of_finished_passes_of_an_unfinished_stage_are_made_again(
    run: Run, expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop(patch, "finish_pyramid", "boundaries")
        interrupt(run, "boundaries")
    (run.output.path / "0/c/1/0/1").unlink()
    (run.output.path / "1/c/1/0/0").write_bytes(b"")
    untouched = run.output.path / "0/c/0/0/0"
    before = untouched.stat().st_mtime_ns
    reconstruct(run, until="boundaries")
    assert_same_files(run.output.path, expected)
    assert untouched.stat().st_mtime_ns == before


@pytest.mark.parametrize("size", [3, 60])
def test_a_cut_file_at_the_border_of_the_volume_is_replaced(
    run: Run, expected: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Zarr would read such a file before it writes it."""
    with monkeypatch.context() as patch:
        stop(patch, "write", "boundaries", 8, after=True)
        interrupt(run, "boundaries")
    file = run.output.path / "0/c/1/1/1"
    file.write_bytes(file.read_bytes()[:size])
    reconstruct(run, until="boundaries")
    assert_same_files(run.output.path, expected)


def test_a_finished_table_that_is_gone_from_an_unfinished_stage_is_written_again(
    run: Run, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop(patch, "finish_table", "overlaps")
        interrupt(run, "graph")
    shutil.rmtree(run.output.path / "graph/edges")
    reconstruct(run, until="graph")
    whole = Output.open(finished)
    for name in ("nodes", "edges", "neighbours"):
        for column, values in run.output.read_table(name).items():
            np.testing.assert_array_equal(values, whole.read_table(name, [column])[column])


def test_voxels_of_an_interrupted_stage_count_once(
    prepared: Prepared, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(settings(models.network))
    with monkeypatch.context() as patch:
        stop_at_block(4, "boundaries", patch)
        with pytest.raises(KeyboardInterrupt):
            reconstruct(run)
    reconstruct(run, until="boundaries")
    record = run.ledger.record("boundaries")
    assert record
    assert record.voxels == 12 * 30 * 28

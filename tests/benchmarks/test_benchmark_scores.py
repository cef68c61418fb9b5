"""Programs of the benchmark of scores give the same numbers, in memory and on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import score_runs, scores
from benchmarks.published import NOT_MEASURED, read
from benchmarks.score_runs import IN_MEMORY, ON_DISK, measure, section_ids

SHAPE = (70, 96, 80)
NAMES = ["arand_error", "split", "merge"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    score_runs.write_arrays(folder, SHAPE)
    score_runs.write_stores(folder, SHAPE)
    return folder


def test_labels_have_membranes_splits_and_merges() -> None:
    prediction, truth = np.stack([section_ids(z, 200, 200) for z in (10, 40)], axis=1)
    assert 0.05 < np.mean(truth == 0) < 0.25
    bodies = (truth > 0) & (prediction > 0)
    pairs = np.unique(np.stack([truth[bodies], prediction[bodies]]), axis=1)
    assert np.unique(pairs[0], return_counts=True)[1].max() > 1
    assert np.unique(pairs[1], return_counts=True)[1].max() > 1


@pytest.mark.parametrize("program", ["scikit-image", "elf"])
def test_every_program_finds_our_numbers(folder: Path, program: str) -> None:
    pytest.importorskip("elf.evaluation")
    truth, prediction = (np.load(folder / f"{name}.npy") for name in ("truth", "prediction"))
    ours, other = (IN_MEMORY[name](prediction, truth) for name in ("ours", program))
    assert [other[name] for name in NAMES[1:]] == pytest.approx(
        [ours[name] for name in NAMES[1:]], abs=1e-9
    )
    # elf counts a voxel as a pair with itself.
    tolerance = 1e-9 if program == "scikit-image" else 2e-4
    assert other["arand_error"] == pytest.approx(ours["arand_error"], abs=tolerance)
    assert ours["arand_error"] > 0.05


@pytest.mark.parametrize("what", ON_DISK)
def test_a_volume_on_disk_has_the_numbers_of_the_arrays(folder: Path, what: str) -> None:
    arrays = {"folder": str(folder), "what": "ours", "on_disk": False}
    in_memory = measure(arrays)["numbers"]
    found = measure({**arrays, "what": what, "on_disk": True})["numbers"]
    assert {name: found[name] for name in NAMES} == in_memory


def test_the_report_says_what_took_how_long_and_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(module: str, job: dict[str, Any], **options: Any) -> dict[str, Any]:
        if job["what"] == "elf":
            return {"error": "not there"}
        seconds = 3.0 if job["what"] == "scikit-image" else 1.5
        numbers = {"arand_error": 0.25, "split": 1.0, "merge": 0.5}
        return {"seconds": seconds, "bytes": 3 * 2**20, "numbers": numbers}

    monkeypatch.setattr(scores, "measured", run)
    monkeypatch.setattr("sys.argv", ["scores", "--quick", "--output", str(tmp_path)])
    scores.main()
    published = read(tmp_path / "scores.json")
    assert published.made.quick
    rows = published.tables[0].rows
    assert rows[0] == ("3.7e+04", "ours", "1.5", "1.0", "3", 0.25, 1.0, 0.5)
    assert rows[1][1:4] == ("scikit-image", "3", "2.0")
    assert rows[2][2:] == (NOT_MEASURED,) * 6
    assert published.tables[1].rows[0] == ("3D scores", "1.5", "3", 0.25, 1.0, 0.5, None)

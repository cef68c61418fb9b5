"""The CREMI benchmark on small files of CREMI's HDF5 form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from small_benchmarks import small_config, synthetic_stack

from benchmarks import cremi
from benchmarks.cremi_data import read_sample, sample_path, without_band
from benchmarks.published import read
from benchmarks.quality import Row
from pipeline.contract import Box
from pipeline.errors import InputError

NM = (40.0, 4.0, 4.0)
OUTSIDE = 2**64 - 3


def write_sample(
    path: Path, raw: NDArray[Any], ids: NDArray[Any], offset: tuple[float, ...] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["file_format"] = "0.2"
        grey = file.create_dataset("volumes/raw", data=raw, compression="gzip")
        labels = file.create_dataset(
            "volumes/labels/neuron_ids", data=ids.astype(np.uint64), compression="gzip"
        )
        file.create_dataset("volumes/labels/clefts", data=np.zeros_like(ids, np.uint64))
        for dataset in (grey, labels):
            dataset.attrs["resolution"] = NM
        if offset is not None:
            labels.attrs["offset"] = offset


@pytest.fixture(scope="module")
def sample() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    raw, ids = synthetic_stack((3, 60, 52), NM)
    return raw, ids


def test_ids_that_mean_no_neuron_are_not_labelled(sample: Any, tmp_path: Path) -> None:
    raw, ids = sample
    special = np.array([OUTSIDE, 2**64 - 2, 2**64 - 1, OUTSIDE - 1], np.uint64)
    given = ids.astype(np.uint64)
    given[0, 0, :4] = special
    write_sample(tmp_path / "sample_A_20160501.hdf", raw, given)
    found = read_sample(tmp_path / "sample_A_20160501.hdf", "A").ids
    assert found[0, 0, :4].tolist() == [0, 0, 0, OUTSIDE - 1]
    assert (found[1:] == given[1:]).all()


def test_ids_of_a_padded_version_are_placed_by_their_offset(sample: Any, tmp_path: Path) -> None:
    raw, ids = sample
    wide = np.pad(raw, ((2, 1), (5, 4), (7, 3)))
    path = tmp_path / "sample_B_padded_20160501.hdf"
    write_sample(path, wide, ids, (2 * 40, 5 * 4, 7 * 4))
    found = read_sample(path, "B")
    assert found.box == Box((2, 5, 7), (5, 65, 59))
    assert (wide[found.box.slices] == raw).all()
    assert (found.ids == ids).all()


@pytest.mark.parametrize(
    ("offset", "said"),
    [((40, 4, 4), "leave raw"), ((-40, 0, 0), "leave raw"), ((0, 2, 0), "no whole number")],
)
def test_offsets_that_lead_out_of_the_raw_data_are_refused(
    offset: tuple[float, ...], said: str, sample: Any, tmp_path: Path
) -> None:
    path = tmp_path / "sample_A_20160501.hdf"
    write_sample(path, *sample, offset)
    with pytest.raises(InputError, match=said):
        read_sample(path, "A")


def test_the_cropped_version_goes_before_the_padded_one(sample: Any, tmp_path: Path) -> None:
    for name in ("sample_A_padded_20160501.hdf", "sample_A_20160501.hdf", "sample_A+_20160601.hdf"):
        write_sample(tmp_path / "cremi" / name, *sample)
    found = sample_path(tmp_path, "A")
    assert found is not None
    assert found.name == "sample_A_20160501.hdf"
    assert sample_path(tmp_path, "B") is None


def test_a_folder_without_samples_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no sample_A_\*\.hdf; docs/data\.md"):
        cremi.main(["--data", str(tmp_path)])


def test_the_band_reaches_25_nm_from_the_border_pixels_of_both_sides() -> None:
    ids = np.ones((2, 5, 40), np.uint64)
    ids[0, :, 20:] = 2
    kept = without_band(ids, pixel_nm=4)
    # Border pixels are columns 19 and 20; 25 nm are 6.25 pixels.
    assert (kept[0] == np.repeat([1, 0, 2], [13, 14, 13])).all()
    assert (kept[1] == 1).all()


def test_the_band_is_that_of_the_challenge(sample: Any) -> None:
    ids = sample[1].astype(np.uint64)
    kept = without_band(ids, pixel_nm=4)
    for section, found in zip(ids, kept, strict=True):
        padded = np.pad(section, 1, mode="edge")
        inner = padded[1:-1, 1:-1]
        shifts = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        borders = np.argwhere(np.any([inner != other for other in shifts], axis=0))
        for y, x in np.ndindex(*section.shape):
            near = ((borders - (y, x)) ** 2).sum(axis=1).min() <= (25 / 4) ** 2
            assert found[y, x] == (0 if near else section[y, x])


def test_the_summary_has_the_mean_of_the_samples() -> None:
    def row(cremi_score: float, threshold: str) -> Row:
        return Row("max TTA", threshold, None, None, 0.1, 0.1, 0.1, cremi_score)

    table = cremi.summary({"A": [row(0.5, "0.10 oracle")], "C": [row(0.7, "0.20 oracle")]})
    assert table.columns == ("method", "threshold", "sample A", "sample C", "mean")
    assert table.rows == (("max TTA", "oracle", 0.5, 0.7, pytest.approx(0.6)),)


@pytest.mark.slow
def test_the_whole_program_scores_cropped_and_padded_files_alike(
    sample: Any, tmp_path: Path
) -> None:
    raw, ids = sample
    folder = tmp_path / "cremi"
    write_sample(folder / "sample_A_20160501.hdf", raw, ids)
    wide = np.pad(raw, ((1, 1), (8, 8), (4, 0)), mode="reflect")
    write_sample(folder / "sample_C_padded_20160501.hdf", wide, ids, (40, 8 * 4, 4 * 4))
    config = small_config(tmp_path, NM)
    words = ["--data", tmp_path, "--output", tmp_path / "out", "--config", config]
    path = cremi.main([*map(str, words), "--quick", "--device", "cpu"])
    found = read(path)
    assert found.tables[0].columns == ("method", "threshold", "sample A", "sample C", "mean")
    for row in found.tables[0].rows:
        assert row[2] == row[3] == row[4]
    scores = {row[0]: row for row in found.tables[2].rows}
    assert {"single pass", "mean TTA", "max TTA", "max TTA + multicut", "+ lifted multicut"} <= set(
        scores
    )
    titles = [table.title for table in found.tables[1:]]
    assert titles[:2] == [
        "Sample A, all labelled voxels",
        "Sample A, without the band of 25 nm",
    ]
    by_section = dict(zip(found.tables[1].columns, found.tables[1].rows[-1], strict=True))
    assert 0 < by_section["V_rand"] <= 1

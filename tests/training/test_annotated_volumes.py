"""Annotated volumes as they come: zarr or TIFF, partly annotated, held back, halved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from remote_stores import web_server
from small_pipeline import write_volume

from pipeline.errors import InputError
from pipeline.training.targets import IGNORE
from workflows import opened_volume, training_data
from workflows.training_data import AnnotatedVolume, described, load, read_pair

SHAPE = (12, 10, 16)
SIZE = (50.0, 4.0, 4.0)
RAW = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
X = IGNORE


def two_neurites() -> NDArray[np.uint64]:
    """Neurite 1 at the left, 2 at the right, membrane between; sections 3, 7, 8 are annotated."""
    labels = np.zeros(SHAPE, np.uint64)
    labels[[3, 7, 8], :, :7] = 1
    labels[[3, 7, 8], :, 9:] = 2
    return labels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_volume(tmp_path / "raw.zarr", RAW, SIZE)
    write_volume(tmp_path / "labels.zarr", two_neurites(), SIZE)
    tifffile.imwrite(tmp_path / "raw.tif", RAW)
    tifffile.imwrite(tmp_path / "labels.tif", two_neurites().astype(np.uint16))
    return tmp_path


def annotated(**values: Any) -> AnnotatedVolume:
    return AnnotatedVolume.model_validate(
        {"name": "v", "raw": "raw.zarr", "truth": "labels.zarr", "truth_kind": "labels", **values}
    )


def target_of(volume: AnnotatedVolume, data: Path) -> NDArray[np.uint8]:
    return load(described(volume, data), data)[0].target


def test_what_the_files_tell_is_filled_in(data: Path) -> None:
    found = described(annotated(), data)
    assert found.voxel_size_nm == SIZE
    assert found.sections == (0, 12)
    assert found.annotated_sections == (3, 7, 8)
    assert described(found, data) == found
    assert described(annotated(sections=(7, 9)), data).annotated_sections is None


def test_zarr_and_tiff_teach_the_same(data: Path) -> None:
    one = load(described(annotated(), data), data)[0]
    tiffs = annotated(raw="raw.tif", truth="labels.tif", voxel_size_nm=SIZE)
    other = load(described(tiffs, data), data)[0]
    assert_array_equal(one.raw, other.raw)
    assert_array_equal(one.target, other.target)


def test_only_annotated_sections_are_read_where_they_are_flat(data: Path) -> None:
    training, held = load(described(annotated(), data), data)
    assert held is None
    assert training.raw.shape == (3, 10, 16)
    assert_array_equal(training.target[0, 0], [0] * 6 + [1] * 4 + [0] * 6)
    low, high = np.percentile(RAW[[3, 7, 8]], [0.5, 99.5], method="inverted_cdf")
    expected = np.clip((RAW[[3, 7, 8]] - low) / (high - low), 0, 1)
    assert_array_equal(training.raw, expected.astype(np.float32))


def test_isotropic_volumes_keep_what_lies_between_and_ignore_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_volume(data / "cube.zarr", RAW, (8, 8, 8))
    few, _ = load(described(annotated(raw="cube.zarr"), data), data)
    assert (few.raw.shape[0], few.isotropic) == (3, False)
    monkeypatch.setattr(training_data, "FEW_SECTIONS", 2)
    training, _ = load(described(annotated(raw="cube.zarr"), data), data)
    assert (training.raw.shape, training.isotropic) == ((6, 10, 16), True)
    assert_array_equal(training.target[:, 0, 0], [0, X, X, X, 0, 0])
    assert_array_equal(training.target[:, 0, 7], [1, X, X, X, 1, 1])


def test_borders_along_z_do_not_end_where_a_read_ends(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.repeat(np.arange(1, 7, dtype=np.uint64), 2)[:, None, None] + np.zeros(
        SHAPE, np.uint64
    )
    write_volume(data / "layers.zarr", labels, (8, 8, 8))
    write_volume(data / "cube.zarr", RAW, (8, 8, 8))
    volume = annotated(raw="cube.zarr", truth="layers.zarr")
    expected = target_of(volume, data)
    assert_array_equal(expected[:, 0, 0], [0] + [1] * 10 + [0])
    for sections in (1, 2, 5):
        monkeypatch.setattr(opened_volume, "READ_SECTIONS", sections)
        assert_array_equal(target_of(volume, data), expected)


def test_listed_sections_alone_are_learned_from(data: Path) -> None:
    volume = described(annotated(annotated_sections=(3, 8)), data)
    assert volume.annotated_sections == (3, 8)
    assert load(volume, data)[0].raw.shape[0] == 2


def test_a_listed_section_counts_even_if_it_is_blank(data: Path) -> None:
    membranes = np.zeros(SHAPE, np.uint8)
    membranes[2, 4] = 1
    tifffile.imwrite(data / "membranes.tif", membranes)
    volume = annotated(truth="membranes.tif", truth_kind="membranes")
    assert len(target_of(volume, data)) == 1
    listed = volume.model_copy(update={"annotated_sections": (2, 5)})
    assert_array_equal(target_of(listed, data), membranes[[2, 5]])


def test_a_value_and_a_mask_say_where_nothing_is_annotated(data: Path) -> None:
    labels = two_neurites()
    labels[3, :5] = 99
    tifffile.imwrite(data / "labels.tif", labels.astype(np.uint16))
    mask = np.ones(SHAPE, np.uint8)
    mask[:, :, :2] = 0
    write_volume(data / "mask.zarr", mask, SIZE)
    found = target_of(annotated(truth="labels.tif", unlabelled=99, known="mask.zarr"), data)
    assert (found[0, :5] == X).all()
    assert_array_equal(found[0, 5], [X, X, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert_array_equal(found[1, 0], found[0, 5])


def test_an_unlabelled_value_that_does_not_occur_is_told(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    described(annotated(unlabelled=254), data)
    assert "v: no voxel has the value 254 that means 'not annotated'" in caplog.text
    caplog.clear()
    described(annotated(unlabelled=2), data)
    assert not caplog.text


def test_few_annotated_pixels_are_told(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    target_of(annotated(), data)
    assert "only 480 voxels are annotated" in caplog.text


def test_what_is_held_back_is_scored_and_not_learned_from(data: Path) -> None:
    volume = described(annotated(held_back=(8, 9, 0, 10, 4, 16)), data)
    training, held = load(volume, data)
    assert held is not None
    assert (training.target[2, :, 4:] == X).all()
    assert (training.target[2, :, :3] == 0).all()
    assert (training.target[2, :, 3] == X).all()  # a border there would tell of what is held back
    assert (training.target[:2] != X).all()
    assert_array_equal(held.raw, RAW[8:9])
    assert (held.target[0, :, :4] == X).all()
    assert_array_equal(held.target[0, 0, 4:], [0, 0, 1, 1, 1, 1] + [0] * 6)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((8, 13, 0, 10, 0, 16), "leaves"),
        ((8, 8, 0, 10, 0, 16), "empty"),
        ((4, 6, 0, 10, 0, 16), "nothing is annotated"),
        ((0, 12, 0, 10, 0, 16), "nothing is left"),
    ],
)
def test_impossible_parts_to_hold_back_are_refused(
    box: tuple[int, ...], said: str, data: Path
) -> None:
    with pytest.raises(InputError, match=f"v: .*{said}"):
        load(described(annotated(held_back=box), data), data)


def test_folds_halve_what_is_annotated(data: Path) -> None:
    volume = described(annotated(held_back=(8, 9, 0, 10, 0, 4)), data)
    first, second = volume.half(0), volume.half(1)
    assert (first.sections, first.annotated_sections) == ((0, 7), (3,))
    assert (second.sections, second.annotated_sections) == ((7, 12), (7, 8))
    assert first.held_back is None
    assert second.held_back is None
    assert_array_equal(read_pair(second, data).raw, RAW[7:9])
    assert_array_equal(read_pair(second, data).truth, two_neurites()[7:9])


def test_one_annotated_section_cannot_be_halved(data: Path) -> None:
    volume = described(annotated(sections=(0, 6)), data)
    with pytest.raises(InputError, match="two annotated sections or more, not 1"):
        volume.half(1)


def test_a_truth_may_end_before_the_stack(data: Path) -> None:
    tifffile.imwrite(data / "short.tif", two_neurites()[:9].astype(np.uint16))
    volume = annotated(truth="short.tif", sections=(2, 9))
    assert described(volume, data).annotated_sections == (3, 7, 8)
    with pytest.raises(InputError, match=r"\(9, 10, 16\); say which 'sections'"):
        described(annotated(truth="short.tif"), data)


def test_a_voxel_size_must_be_that_of_the_metadata(data: Path) -> None:
    assert described(annotated(voxel_size_nm=(50, 4, 4.001)), data).voxel_size_nm == SIZE
    with pytest.raises(InputError, match=r"voxel size 50, 4, 8 nm .* say 50, 4, 4 nm"):
        described(annotated(voxel_size_nm=(50, 4, 8)), data)


def test_a_volume_without_voxel_size_needs_one(data: Path) -> None:
    zarr.save_array(data / "bare.zarr", RAW)
    for raw in ("bare.zarr", "raw.tif"):
        with pytest.raises(InputError, match=r"voxel_size_nm: \[z, y, x\]"):
            described(annotated(raw=raw), data)
        assert described(annotated(raw=raw, voxel_size_nm=SIZE), data).voxel_size_nm == SIZE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sections": (0, 3)}, "no voxel of sections 0..3 is annotated"),
        ({"sections": (0, 13)}, r"sections 0..13 do not lie inside 0..12"),
        ({"annotated_sections": (3, 12)}, r"annotated section 12 does not lie inside 0..12"),
        ({"sections": (5, 9), "annotated_sections": (3,)}, "annotated section 3 does not lie"),
        ({"truth": "absent.zarr"}, "absent.zarr: does not exist"),
        ({"truth": "absent.tif"}, "absent.tif: no such file"),
        ({"raw": "labels.zarr"}, "has dtype uint64"),
        ({"known": "wide.tif"}, r"wide\.tif is \(12, 10, 20\)"),
        ({"truth": "grey.tif"}, "an annotation holds integers or bool, not float32"),
    ],
    ids=str,
)
def test_unusable_annotations_are_refused_in_a_sentence(
    changes: dict[str, Any], said: str, data: Path
) -> None:
    tifffile.imwrite(data / "wide.tif", np.ones((12, 10, 20), np.uint8))
    tifffile.imwrite(data / "grey.tif", RAW.astype(np.float32))
    with pytest.raises(InputError, match=said) as caught:
        described(annotated(**changes), data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "only"), [("cells", "cell"), ("membranes", "membrane")])
def test_an_annotation_of_one_class_is_refused(kind: str, only: str, data: Path) -> None:
    tifffile.imwrite(data / "ones.tif", np.ones(SHAPE, np.uint8))
    with pytest.raises(InputError, match=f"all that is annotated in .*ones.tif is {only};"):
        target_of(annotated(truth="ones.tif", truth_kind=kind), data)


def test_the_input_is_not_written_to(data: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        files = (p for p in data.rglob("*") if p.is_file())
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in files}

    before = state()
    load(described(annotated(), data), data)
    assert state() == before


def test_volumes_at_an_address_teach_the_same(data: Path) -> None:
    near = load(described(annotated(), data), data)[0]
    with web_server(data) as web:
        remote = annotated(raw=f"{web.url}/raw.zarr", truth=f"{web.url}/labels.zarr")
        far = load(described(remote, Path("elsewhere")), Path("elsewhere"))[0]
    assert_array_equal(near.raw, far.raw)
    assert_array_equal(near.target, far.target)


def test_an_address_that_cannot_be_read_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match=r"ftp://host/raw\.zarr: cannot be read from"):
        described(annotated(raw="ftp://host/raw.zarr"), data)

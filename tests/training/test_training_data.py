from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.contract import Box
from pipeline.errors import ConfigError, InputError
from pipeline.training.volumes import TrainingVolume
from workflows.train_boundaries import BoundaryTraining, read_training
from workflows.train_edges import read_edge_training
from workflows.training_data import AnnotatedVolume, described, load, read_pair, read_tiff

SHAPE = (6, 10, 12)
RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 256, SHAPE).astype(np.uint8)
MEMBRANES = RNG.integers(0, 2, SHAPE).astype(np.uint8) * 255


def annotated(**values: Any) -> AnnotatedVolume:
    return AnnotatedVolume.model_validate(
        {"name": "stack", "raw": "raw.tif", "truth": "truth.tif", "truth_kind": "membranes",
         "voxel_size_nm": (50, 4, 4), **values}
    )  # fmt: skip


def loaded(volume: AnnotatedVolume, data: Path) -> TrainingVolume:
    """What is learned from."""
    return load(described(volume, data), data)[0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "raw.tif", RAW)
    tifffile.imwrite(tmp_path / "truth.tif", MEMBRANES)
    return tmp_path


def test_the_two_halves_share_no_section_and_leave_none_out() -> None:
    for sections in ((0, 14), (3, 8), (0, 2)):
        halves = [annotated(sections=sections).half(fold).sections for fold in (0, 1)]
        (a, b), (c, d) = [h for h in halves if h]
        assert (a, d) == sections
        assert b == c
        assert a < b < d


def test_halves_of_unknown_sections_are_refused() -> None:
    with pytest.raises(InputError, match="sections"):
        annotated().half(0)


def test_sections_and_region_are_cut_out(data: Path) -> None:
    volume = annotated(sections=(1, 4), region=(2, 8, 3, 5))
    assert volume.box(SHAPE) == Box((1, 2, 3), (4, 8, 5))
    assert annotated().box(SHAPE) == Box((0, 0, 0), SHAPE)
    assert_array_equal(read_pair(described(volume, data), data).raw, RAW[1:4, 2:8, 3:5])


@pytest.mark.parametrize(
    "wrong",
    [{"sections": (0, 7)}, {"sections": (3, 3)}, {"sections": (-1, 3)},
     {"region": (0, 11, 0, 5)}, {"region": (0, 5, 0, 13)}, {"region": (5, 5, 0, 5)},
     {"region": (-3, 5, 0, 5)}, {"region": (6, 2, 0, 5)}],
    ids=str,
)  # fmt: skip
def test_what_lies_outside_the_stack_is_refused(wrong: dict[str, Any], data: Path) -> None:
    with pytest.raises(InputError, match=f"stack: {next(iter(wrong))}"):
        loaded(annotated(**wrong), data)


@pytest.mark.parametrize(("kind", "value"), [("membranes", 255), ("cells", 0)])
def test_masks_become_targets(kind: str, value: int, data: Path) -> None:
    volume = loaded(annotated(truth_kind=kind, sections=(2, 5)), data)
    assert_array_equal(volume.target, MEMBRANES[2:5] == value)
    assert volume.raw.dtype == np.float32
    assert volume.raw.min() == 0
    assert volume.raw.max() == 1
    low, high = np.percentile(RAW[2:5], [0.5, 99.5], method="inverted_cdf")
    expected = np.clip((RAW[2:5].astype(float) - low) / (high - low), 0, 1)
    assert_allclose(volume.raw, expected, atol=1e-6)


def test_labels_become_borders(data: Path) -> None:
    labels = np.ones(SHAPE, np.uint16)
    labels[:, :, 6:] = 2
    tifffile.imwrite(data / "truth.tif", labels)
    target = loaded(annotated(truth_kind="labels"), data).target
    assert_array_equal(np.flatnonzero(target[0, 0]), [5, 6])
    assert target.sum() == 2 * 6 * 10


@pytest.mark.parametrize("dtype", [">u2", ">f4", "<f4"])
def test_byte_order_does_not_matter(dtype: str, data: Path) -> None:
    tifffile.imwrite(data / "raw.tif", RAW.astype(dtype), byteorder=dtype[0])
    raw = read_pair(described(annotated(), data), data).raw
    assert raw.dtype.isnative
    assert_array_equal(raw, RAW)
    assert 0.3 < loaded(annotated(), data).raw.mean() < 0.7


@pytest.mark.parametrize("dtype", ["int16", "float64", "int32"])
def test_grey_values_of_another_type_are_refused(dtype: str, data: Path) -> None:
    tifffile.imwrite(data / "raw.tif", RAW.astype(dtype))
    with pytest.raises(InputError, match=rf"raw\.tif: has dtype {dtype}; convert"):
        loaded(annotated(), data)


def test_grey_values_that_cannot_be_normalised_are_refused_with_the_path(data: Path) -> None:
    tifffile.imwrite(data / "raw.tif", np.full(SHAPE, 7, np.uint8))
    with pytest.raises(InputError, match=r"raw\.tif: the volume is constant"):
        loaded(annotated(), data)
    holed = RAW.astype(np.float32)
    holed[3, 4, 5] = np.nan
    tifffile.imwrite(data / "raw.tif", holed)
    with pytest.raises(InputError, match=r"raw\.tif: .*NaN"):
        loaded(annotated(), data)


def test_truth_of_another_shape_is_refused_with_both(data: Path) -> None:
    tifffile.imwrite(data / "truth.tif", MEMBRANES[:, :9])
    with pytest.raises(InputError, match=r"stack.*\(6, 10, 12\).*\(6, 9, 12\)"):
        loaded(annotated(), data)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"II*\x00\x08\x00\x00\x00\xff\xff"])
def test_a_damaged_tiff_is_refused_with_its_path(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "raw.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"raw\.tif"):
        read_tiff(tmp_path / "raw.tif")


def test_a_truncated_tiff_is_refused_with_its_path(data: Path) -> None:
    tifffile.imwrite(data / "raw.tif", RAW, compression="zlib")
    content = (data / "raw.tif").read_bytes()
    (data / "raw.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"raw\.tif"):
        read_tiff(data / "raw.tif")


def test_a_missing_or_flat_tiff_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.tif: no such file"):
        read_tiff(tmp_path / "absent.tif")
    tifffile.imwrite(tmp_path / "flat.tif", RAW[0])
    with pytest.raises(InputError, match=r"flat\.tif: has 2 dimensions"):
        read_tiff(tmp_path / "flat.tif")


@pytest.mark.parametrize(
    ("voxel_size_nm", "separate", "isotropic"),
    [((8, 8, 8), False, True), ((8, 8, 8), True, False), ((15, 8, 8), False, True),
     ((16, 8, 8), False, False), ((50, 4, 4), False, False)],
)  # fmt: skip
def test_only_fine_connected_volumes_are_cut_along_three_axes(
    voxel_size_nm: tuple[float, float, float], separate: bool, isotropic: bool
) -> None:
    volume = annotated(voxel_size_nm=voxel_size_nm, separate_sections=separate)
    assert volume.isotropic is isotropic


VALID = """
name: small
licence: none
volumes:
  - {name: a, raw: raw.tif, truth: t.tif, truth_kind: cells, voxel_size_nm: [50, 4, 4]}
training: {steps: 3, learning_rate: 2e-3}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "training.yaml"
    path.write_text(text)
    return path


def test_a_training_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    config = read_training(written(tmp_path, VALID))
    assert isinstance(config, BoundaryTraining)
    assert config.volumes[0].voxel_size_nm == (50, 4, 4)
    assert config.training.learning_rate == 0.002
    assert config.training.batch == 4


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("steps: 3", "stepps: 3", "training.stepps"),
        ("steps: 3", "steps: 0", "training.steps = 0"),
        ("steps: 3", "crop: 36", "training.crop = 36"),
        ("truth_kind: cells", "truth_kind: cell", "volumes.0.truth_kind = 'cell'"),
        ("name: small", "title: small", "title"),
        ("{name: a,", "{name: a, zoom: 2,", "volumes.0.zoom"),
    ],
)
def test_a_wrong_key_or_value_is_named(old: str, new: str, named: str, tmp_path: Path) -> None:
    path = written(tmp_path, VALID.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        read_training(path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize("read", [read_training, read_edge_training])
@pytest.mark.parametrize(
    "text", ["", "3", "- a", "a: [1", "a: 2024-13-45", "name: x\nlicence: y\nvolumes: []\n"]
)
def test_broken_or_empty_training_files_are_refused(text: str, read: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.yaml"):
        read(written(tmp_path, text))


def test_a_missing_training_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        read_training(tmp_path / "absent.yaml")


CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_training_files_are_valid(path: Path) -> None:
    read = read_edge_training if path.stem.startswith("edges") else read_training
    config: Any = read(path)
    for volume in config.volumes:
        assert volume.licence
        if volume.sections is not None:  # else they are found on disk
            assert volume.half(0).sections

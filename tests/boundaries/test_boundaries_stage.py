from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from defective_sections import corrected
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.boundaries.batches import Batches
from pipeline.boundaries.model import BoundaryModel
from pipeline.boundaries.stage import STAGE, BoundariesConfig, compute, stacks, tiles
from pipeline.contract import Halo, Resources, Triple, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.errors import ModelError
from pipeline.grid import blocks, whole
from pipeline.held import HeldInputs

ISOTROPIC = (8.0, 8.0, 8.0)


def grey(shape: Triple, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def resources(network: nn.Module, shape: Triple, halo: int, stride: int = 1) -> Resources:
    model = BoundaryModel(network.eval(), {}, halo, stride)
    info = VolumeInfo(shape, ISOTROPIC, "uint8")
    none = Corrections.none(shape[0], 0, 255)
    return Resources(
        info, {"network": model, "device": "cpu", "batches": Batches("cpu")}, corrections=none
    )


def settings(precision: Any = "fp32", **values: Any) -> BoundariesConfig:
    """In float32, so that a test is the same wherever it runs."""
    return BoundariesConfig(precision=precision, **values)


def by_blocks(
    raw: NDArray[np.uint8],
    block_shape: Triple,
    config: BoundariesConfig,
    given: Resources,
    foreground: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    shape = given.volume.shape
    tissue = np.ones(shape, np.uint8) if foreground is None else foreground
    result = np.full(shape, 77, np.uint8)
    for block in blocks(shape, block_shape, STAGE.halo(config, given)):
        read = block.read.slices
        inputs = HeldInputs({"raw": raw[read], "foreground": tissue[read]})
        result[block.write.slices] = compute(block, inputs, config, given)["boundaries"]
    return result


def at_once(
    raw: NDArray[np.uint8],
    config: BoundariesConfig,
    given: Resources,
    foreground: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    return by_blocks(raw, given.volume.shape, config, given, foreground)


@pytest.mark.parametrize("planes", ["xy", "three"])
@pytest.mark.parametrize(
    ("block_shape", "augmentation", "precision"),
    [
        ((4, 8, 8), "max", "fp32"),
        ((4, 16, 24), "none", "bf16"),
        ((8, 8, 40), "none", "fp32"),
        ((4, 24, 8), "none", "fp32"),
    ],
)
def test_blocks_equal_the_whole_bit_for_bit(
    block_shape: Triple, augmentation: Any, precision: Any, planes: Any, tiny: Callable[..., Any]
) -> None:
    shape = (6, 13, 18)
    config = settings(precision, planes=planes, tile=(4, 8, 8), batch=3, augmentation=augmentation)
    given = resources(tiny(1), shape, halo=8, stride=8)
    raw = grey(shape)
    together = at_once(raw, config, given)
    assert together.std() > 5
    assert_array_equal(by_blocks(raw, block_shape, config, given), together)


@pytest.mark.parametrize("planes", ["xy", "three"])
@pytest.mark.parametrize("tile", [(1, 4, 4), (5, 8, 12), (3, 7, 64)])
def test_tiles_do_not_matter_where_the_halo_covers_the_field(
    tile: Triple, planes: Any, lopsided: Any
) -> None:
    shape = (6, 13, 17)
    given = resources(lopsided(4), shape, halo=2, stride=4)
    one_tile = settings(planes=planes, tile=(64, 64, 64))
    raw = grey(shape)
    small_tiles = at_once(raw, one_tile.model_copy(update={"tile": tile}), given)
    assert_array_equal(small_tiles, at_once(raw, one_tile, given))


def test_a_halo_below_the_field_is_noticed_by_that_test(lopsided: Any) -> None:
    shape = (1, 16, 16)
    given = resources(lopsided(), shape, halo=1)
    one_tile = settings(planes="xy", tile=(64, 64, 64))
    small = one_tile.model_copy(update={"tile": (1, 4, 4)})
    assert (at_once(grey(shape), small, given) != at_once(grey(shape), one_tile, given)).any()


@pytest.mark.parametrize("batch", [1, 2, 5, 256])
def test_sections_predicted_together_or_apart_are_the_same(batch: int, lopsided: Any) -> None:
    shape = (5, 8, 8)
    given = resources(lopsided(), shape, halo=2)
    single = at_once(grey(shape), settings(planes="three", tile=shape, batch=1), given)
    config = settings(planes="three", tile=shape, batch=batch)
    assert_array_equal(at_once(grey(shape), config, given), single)


@pytest.mark.parametrize("planes", ["xy", "three"])
@pytest.mark.parametrize("shape", [(1, 5, 7), (1, 1, 1), (3, 1, 9), (1, 8, 1), (2, 2, 70)])
def test_volumes_smaller_than_the_smallest_input_are_predicted(
    shape: Triple, planes: Any, tiny: Callable[..., Any]
) -> None:
    given = resources(tiny(2), shape, halo=16, stride=8)
    config = settings(planes=planes).resolved(given.volume)
    result = at_once(grey(shape), config, given)
    assert result.shape == shape
    assert result.dtype == np.uint8


def test_the_volume_goes_on_as_its_mirror_image(lopsided: Any) -> None:
    shape = (2, 9, 11)
    raw = grey(shape)
    config = settings(planes="xy", tile=(1, 4, 4), augmentation="none")
    found = at_once(raw, config, resources(lopsided(), shape, halo=2))
    wide = np.pad(raw, ((0, 0), (5, 5), (5, 5)), mode="reflect").astype(np.float32) / 255
    with torch.no_grad():
        p = torch.softmax(lopsided()(torch.from_numpy(wide)[:, None]), 1)[:, 1, 5:-5, 5:-5]
    assert_array_equal(found, np.rint(p.numpy() * 255))


class Grey(nn.Module):
    """P(boundary) equals the grey value (as a logit)."""

    def forward(self, sections: Tensor) -> Tensor:
        p = sections.clamp(1e-6, 1 - 1e-6)
        return torch.cat((torch.zeros_like(p), torch.log(p / (1 - p))), 1)


@pytest.mark.parametrize("planes", ["xy", "three"])
def test_every_voxel_keeps_its_place(planes: Any) -> None:
    shape = (5, 6, 7)
    raw = grey(shape)
    config = settings(planes=planes, tile=(2, 3, 4))
    result = at_once(raw, config, resources(Grey(), shape, halo=3, stride=2))
    assert_array_equal(result, raw)


class Sums(nn.Module):
    """P(boundary) is 0.2 in sections whose first side is 4, else 0.6; shapes tell the plane."""

    def forward(self, sections: Tensor) -> Tensor:
        p = 0.2 if sections.shape[2:] in ((4, 4), (4, 8), (8, 4)) else 0.6
        boundary = torch.full_like(sections, float(np.log(p / (1 - p))))
        return torch.cat((torch.zeros_like(boundary), boundary), 1)


@pytest.mark.parametrize(
    ("planes", "combine", "expected"),
    # Of a (4, 8, 8) volume the plane along z is 8 x 8, the others are 4 x 8.
    [
        ("xy", "mean", 153),
        ("three", "max", 153),
        ("three", "mean", round((0.6 + 0.2 + 0.2) / 3 * 255)),
    ],
)
def test_planes_are_combined_as_configured(planes: Any, combine: Any, expected: int) -> None:
    shape = (4, 8, 8)
    config = settings(planes=planes, combine_planes=combine, tile=shape)
    result = at_once(grey(shape), config, resources(Sums(), shape, halo=0))
    assert_array_equal(result, np.full(shape, expected))


class Constant(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.logit = torch.logit(torch.tensor(p, dtype=torch.float64)).float()

    def forward(self, sections: Tensor) -> Tensor:
        boundary = torch.ones_like(sections) * self.logit
        return torch.cat((torch.zeros_like(boundary), boundary), 1)


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.0, 0), (0.4 / 255, 0), (0.6 / 255, 1), (0.25, 64), (254.4 / 255, 254), (254.6 / 255, 255)],
)
def test_probabilities_are_rounded_to_the_nearest_of_255_steps(p: float, expected: int) -> None:
    shape = (1, 4, 4)
    config = settings(planes="xy", tile=shape)
    result = at_once(grey(shape), config, resources(Constant(p), shape, halo=0))
    assert_array_equal(result, np.full(shape, expected))


def test_nan_is_an_error_and_not_a_voxel_without_boundary() -> None:
    shape = (1, 4, 4)
    config = settings(planes="xy", tile=shape)
    with pytest.raises(ModelError, match="NaN"):
        at_once(grey(shape), config, resources(Constant(1.0), shape, halo=0))


def blob(shape: Triple) -> NDArray[np.uint8]:
    """Foreground in the middle of y and x; of some sections there is none at all."""
    z, y, x = np.indices(shape)
    centre = [n / 2 for n in shape[1:]]
    inside = ((y - centre[0]) / centre[0]) ** 2 + ((x - centre[1]) / centre[1]) ** 2 < 0.4
    return (inside & (z > 0) & (z != 3)).astype(np.uint8)


@pytest.mark.parametrize("planes", ["xy", "three"])
@pytest.mark.parametrize("block_shape", [(3, 4, 8), (6, 16, 20), (3, 8, 20)])
def test_background_is_zero_and_tissue_is_as_without_background(
    planes: Any, block_shape: Triple, lopsided: Any
) -> None:
    shape = (6, 13, 18)
    raw, foreground = grey(shape), blob(shape)
    config = settings(planes=planes, tile=(3, 4, 4), batch=2)
    given = resources(lopsided(), shape, halo=2)
    expected = np.where(foreground, at_once(raw, config, given), 0)
    assert_array_equal(by_blocks(raw, block_shape, config, given, foreground), expected)
    assert expected.any()


class Counting(nn.Module):
    """P(boundary) = 1/2; keeps how many sections it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sections = 0

    def forward(self, sections: Tensor) -> Tensor:
        self.sections += len(sections)
        return torch.zeros((len(sections), 2, *sections.shape[2:]))


@pytest.mark.parametrize(
    ("tissue", "planes", "sections"),
    [
        # tiles of 4 x 8 x 8 in a volume of 8 x 16 x 16: 4 along z, 8 along y, 8 along x
        (np.s_[:, :, :], "xy", 8 * 4),
        (np.s_[5, 9, 9], "xy", 1),
        (np.s_[1:3, :, :4], "xy", 2 * 2),
        (np.s_[5, 9, 9], "three", 3),
        (np.s_[2:7, 7:9, 0], "three", (5 + 2 + 2) * 2),
        (np.s_[:0], "three", 0),
    ],
)
def test_only_sections_of_tiles_that_hold_tissue_are_predicted(
    tissue: Any, planes: Any, sections: int
) -> None:
    shape = (8, 16, 16)
    foreground = np.zeros(shape, np.uint8)
    foreground[tissue] = 1
    network = Counting()
    config = settings(planes=planes, tile=(4, 8, 8), augmentation="none")
    found = at_once(grey(shape), config, resources(network, shape, halo=2), foreground)
    assert_array_equal(found, foreground * np.uint8(128))
    assert network.sections == sections


def test_a_block_of_background_reads_no_raw_data() -> None:
    shape = (1, 4, 4)
    inputs = HeldInputs({"foreground": np.zeros(shape, np.uint8)})
    config = settings(planes="xy", tile=shape)
    found = compute(whole(shape), inputs, config, resources(Counting(), shape, halo=0))
    assert not found["boundaries"].any()


@pytest.mark.parametrize("planes", ["xy", "three"])
@pytest.mark.parametrize("bad", [[3], [2, 3, 4], [0, 1, 6]], ids=str)
@pytest.mark.parametrize("block_shape", [(2, 8, 8), (4, 8, 24), (7, 16, 24)], ids=str)
def test_in_any_blocks_bad_sections_are_predicted_as_if_their_sources_stood_there(
    block_shape: Triple, bad: list[int], planes: Any, lopsided: Any
) -> None:
    shape = (7, 13, 18)
    config = settings(planes=planes, tile=(2, 8, 8), batch=3, augmentation="none")
    corrections = corrected(7, bad=bad)
    raw = grey(shape)
    raw[bad] = 0
    given = resources(lopsided(), shape, halo=2)
    expected = at_once(raw[corrections.source], config, given)
    bridged = replace(given, corrections=corrections)
    assert_array_equal(by_blocks(raw, block_shape, config, bridged), expected)
    assert (at_once(raw, config, given) != expected).any()


@pytest.mark.parametrize("planes", ["xy", "three"])
def test_sections_of_other_ranges_or_inverted_contrast_are_predicted_as_the_others(
    planes: Any, lopsided: Any
) -> None:
    shape = (6, 13, 18)
    config = settings(planes=planes, tile=(2, 8, 8), batch=2, augmentation="none")
    raw = grey(shape) // 4
    given = resources(lopsided(), shape, halo=2)
    none = Corrections.none(6, 0, 64)
    expected = at_once(raw, config, replace(given, corrections=none))
    # multiples and sums of powers of two: exact in float32
    gain, offset = np.array([1, 2, 3, 1, -1, -2]), np.array([0, 16, 7, 128, 64, 200])
    changed = (raw * gain[:, None, None] + offset[:, None, None]).astype(np.uint8)
    own = Corrections(offset * 1.0, 64.0 * gain + offset, none.source, none.place)
    assert_array_equal(by_blocks(changed, (4, 8, 8), config, replace(given, corrections=own)),
                       expected)  # fmt: skip
    assert (at_once(changed, config, given) != expected).any()


def test_inputs_are_not_mutated(lopsided: Any) -> None:
    shape = (3, 8, 8)
    raw = grey(shape)
    before = raw.copy()
    at_once(raw, settings(planes="three", tile=shape), resources(lopsided(), shape, halo=2))
    assert_array_equal(raw, before)


def test_sections_above_each_other_are_predicted_as_one_stack() -> None:
    shape, tile = (5, 8, 6), (2, 4, 4)
    flat, cubic = (BoundariesConfig(planes=planes, tile=tile) for planes in ("xy", "three"))
    (block,) = blocks(shape, shape, Halo())
    columns = [(box.begin, box.end) for box in stacks(block, flat)]
    assert columns == [
        ((0, 0, 0), (5, 4, 4)),
        ((0, 0, 4), (5, 4, 6)),
        ((0, 4, 0), (5, 8, 4)),
        ((0, 4, 4), (5, 8, 6)),
    ]
    assert stacks(block, cubic) == list(tiles(block, tile))
    assert len(stacks(block, cubic)) == 12


def test_a_block_that_cuts_tiles_is_refused() -> None:
    block = next(iter(blocks((1, 16, 16), (1, 12, 16))))
    with pytest.raises(AssertionError, match="not made of tiles"):
        list(tiles(block, (1, 8, 8)))


def test_halo_is_the_networks_and_along_z_only_with_three_planes(lopsided: Any) -> None:
    given = resources(lopsided(), (8, 8, 8), halo=24)
    assert STAGE.halo(BoundariesConfig(planes="xy"), given) == Halo((0, 24, 24), (0, 24, 24))
    assert STAGE.halo(BoundariesConfig(planes="three"), given) == Halo((24,) * 3, (24,) * 3)


def test_the_halo_reaches_the_sections_that_stand_in_the_place_of_others(lopsided: Any) -> None:
    given = replace(resources(lopsided(), (8, 8, 8), halo=24), corrections=corrected(8, bad=[2, 3]))
    planned = replace(given, corrections=None)
    for planes, z in (("xy", 0), ("three", 24)):
        config = BoundariesConfig(planes=planes)  # type: ignore[arg-type]
        assert STAGE.halo(config, given) == Halo.symmetric(z + 1, 24, 24)
        assert STAGE.halo(config, planned) == Halo.symmetric(z, 24, 24)


@pytest.mark.parametrize(
    ("voxel_size_nm", "planes", "tile"),
    [
        ((8, 8, 8), "three", (128, 256, 256)),
        ((11, 8, 8), "three", (128, 256, 256)),
        ((12, 8, 8), "xy", (1, 512, 512)),
        ((50, 4, 4), "xy", (1, 512, 512)),
    ],
)
def test_auto_is_decided_by_voxel_size(
    voxel_size_nm: tuple[float, float, float], planes: str, tile: Triple
) -> None:
    resolved = BoundariesConfig().resolved(VolumeInfo((9, 9, 9), voxel_size_nm, "uint8"))
    assert (resolved.planes, resolved.tile) == (planes, tile)


def test_what_is_set_stays_when_auto_is_decided() -> None:
    config = BoundariesConfig(planes="xy", tile=(2, 64, 64))
    assert config.resolved(VolumeInfo((9, 9, 9), ISOTROPIC, "uint8")) == config


@pytest.mark.parametrize("tile", [(0, 8, 8), (1, -8, 8), (1, 8, 10**6)])
def test_tiles_without_voxels_are_refused(tile: Triple) -> None:
    with pytest.raises(ValidationError, match="tile"):
        BoundariesConfig(tile=tile)

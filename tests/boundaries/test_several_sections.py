"""The stage with networks that see several sections."""

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
from torch import Tensor, nn

from pipeline.boundaries.batches import Batches
from pipeline.boundaries.model import BoundaryModel
from pipeline.boundaries.networks import NETWORKS
from pipeline.boundaries.stage import STAGE, BoundariesConfig, compute
from pipeline.contract import Halo, Resources, Triple, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.grid import blocks
from pipeline.held import HeldInputs

SECTIONS_NM = (40.0, 8.0, 8.0)


class Neighbours(nn.Module):
    """Another 5 x 5 filter for each of 2 c + 1 sections: field 2."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self.context = context
        generator = torch.Generator().manual_seed(5)
        sections = 2 * context + 1
        self.register_buffer("weight", torch.randn(1, sections, 5, 5, generator=generator) / 2)

    def forward(self, sections: Tensor) -> Tensor:
        assert sections.shape[1] == 2 * self.context + 1
        boundary = nn.functional.conv2d(sections - 0.5, self.weight, padding=2)
        return torch.cat((torch.zeros_like(boundary), boundary), 1)


def grey(shape: Triple, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def resources(
    network: nn.Module,
    shape: Triple,
    context: int,
    halo: int = 2,
    stride: int = 1,
    known_nm: tuple[float, float] | None = None,
) -> Resources:
    model = BoundaryModel(network.eval(), {}, halo, stride, known_nm, context_sections=context)
    info = VolumeInfo(shape, SECTIONS_NM, "uint8")
    none = Corrections.none(shape[0], 0, 255)
    return Resources(
        info, {"network": model, "device": "cpu", "batches": Batches("cpu")}, corrections=none
    )


def settings(**values: Any) -> BoundariesConfig:
    return BoundariesConfig(**{"precision": "fp32", "planes": "xy", **values})


def by_blocks(
    raw: NDArray[np.uint8],
    block_shape: Triple,
    config: BoundariesConfig,
    given: Resources,
    foreground: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    tissue = np.ones(raw.shape, np.uint8) if foreground is None else foreground
    result = np.full(raw.shape, 77, np.uint8)
    for block in blocks(raw.shape, block_shape, STAGE.halo(config, given)):
        read = block.read.slices
        inputs = HeldInputs({"raw": raw[read], "foreground": tissue[read]})
        result[block.write.slices] = compute(block, inputs, config, given)["boundaries"]
    return result


def reference(raw: NDArray[np.uint8], network: nn.Module, context: int) -> NDArray[np.float64]:
    """The whole volume, mirrored on all sides by numpy, a section at a time."""
    pads = ((context, context), (6, 6), (6, 6))
    wide = np.pad(raw, pads, mode="reflect").astype(np.float32) / np.float32(255)
    maps = []
    for z in range(len(raw)):
        window = torch.from_numpy(wide[z : z + 2 * context + 1])[None]
        with torch.no_grad():
            maps.append(torch.softmax(network(window), 1)[0, 1, 6:-6, 6:-6].numpy())
    return np.rint(np.stack(maps) * 255)


@pytest.mark.parametrize("context", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(5, 13, 17), (1, 9, 8), (2, 8, 9), (4, 11, 8)])
def test_a_section_is_predicted_from_those_around_it_mirrored_at_both_ends(
    context: int, shape: Triple
) -> None:
    network, raw = Neighbours(context), grey(shape)
    config = settings(tile=(2, 8, 8), augmentation="none", batch=2)
    found = by_blocks(raw, shape, config, resources(network, shape, context))
    assert np.abs(found - reference(raw, network, context)).max() <= 1
    assert found.std() > 20


def test_the_sections_come_in_their_order() -> None:
    """Each neighbour alone, told by a network that shows it."""
    shape, raw = (6, 8, 8), grey((6, 8, 8))
    for section in range(5):
        network = Neighbours(2)
        network.weight.zero_()  # type: ignore[operator]
        network.weight[0, section, 2, 2] = 1  # type: ignore[index]
        config = settings(tile=(2, 8, 8), augmentation="none")
        found = by_blocks(raw, shape, config, resources(network, shape, 2))
        shown = raw[2:4] if section == 2 else raw[section : section + 2]
        expected = 255 / (1 + np.exp(-(shown / 255 - 0.5)))
        assert np.abs(found[2:4] - expected).max() <= 1


def test_a_stack_that_begins_later_gives_the_map_that_begins_later(
    small: Callable[..., nn.Module],
) -> None:
    network, raw = small("hybrid_u_net"), grey((6, 16, 24))
    config = settings(tile=(1, 16, 24))
    whole = by_blocks(raw, raw.shape, config, resources(network, (6, 16, 24), 1, 8, 4))
    later = by_blocks(raw[1:], (5, 16, 24), config, resources(network, (5, 16, 24), 1, 8, 4))
    assert_array_equal(later[1:], whole[2:])
    assert (later[0] != whole[1]).any()  # its lower neighbour is a mirror image


@pytest.mark.parametrize("planes", ["xy", "three"])
@pytest.mark.parametrize(
    ("block_shape", "augmentation"),
    [((2, 8, 8), "max"), ((4, 16, 8), "none"), ((2, 16, 24), "none"), ((6, 8, 24), "mean")],
)
@pytest.mark.parametrize("context", [1, 3])
def test_tiles_and_blocks_equal_the_whole_bit_for_bit(
    context: int, block_shape: Triple, augmentation: Any, planes: Any
) -> None:
    shape = (6, 13, 18)
    raw, given = grey(shape), resources(Neighbours(context), shape, context, 2, 4)
    config = settings(planes=planes, tile=(2, 8, 8), batch=3, augmentation=augmentation)
    one_tile = config.model_copy(update={"tile": (64, 64, 64), "batch": 1})
    together = by_blocks(raw, shape, one_tile, given)
    assert together.std() > 5
    assert_array_equal(by_blocks(raw, block_shape, config, given), together)


def test_blocks_equal_the_whole_where_pixels_are_not_voxels() -> None:
    shape = (5, 26, 30)
    given = resources(Neighbours(1), shape, 1, 2, 4, known_nm=(12.0, 20.0))
    config = settings(tile=(2, 8, 8), augmentation="none")
    raw = grey(shape)
    assert STAGE.halo(config, given).above[1] > 2
    whole = by_blocks(raw, shape, config.model_copy(update={"tile": (64, 64, 64)}), given)
    assert_array_equal(by_blocks(raw, (2, 8, 16), config, given), whole)


@pytest.mark.parametrize("block_shape", [(2, 8, 8), (6, 8, 24)])
def test_sections_without_tissue_are_neighbours_but_are_not_predicted(block_shape: Triple) -> None:
    shape = (6, 13, 18)
    raw, foreground = grey(shape), np.ones(shape, np.uint8)
    foreground[2] = foreground[4, :, :8] = 0
    given = resources(Neighbours(1), shape, 1)
    config = settings(tile=(2, 8, 8), batch=2)
    expected = np.where(foreground, by_blocks(raw, shape, config, given), 0)
    assert_array_equal(by_blocks(raw, block_shape, config, given, foreground), expected)


@pytest.mark.parametrize(
    ("planes", "bad"), [("xy", [3]), ("xy", [2, 3, 4]), ("xy", [0, 1, 6]), ("three", [0, 3])]
)
@pytest.mark.parametrize("block_shape", [(2, 8, 8), (7, 16, 24)], ids=str)
def test_bad_neighbours_are_seen_as_what_stands_in_their_place(
    block_shape: Triple, bad: list[int], planes: Any
) -> None:
    shape = (7, 13, 18)
    config = settings(planes=planes, tile=(2, 8, 8), augmentation="none")
    corrections = corrected(7, bad=bad)
    raw = grey(shape)
    raw[bad] = 0
    given = resources(Neighbours(1), shape, 1)
    expected = by_blocks(raw[corrections.source], shape, config, given)
    bridged = replace(given, corrections=corrections)
    assert_array_equal(by_blocks(raw, block_shape, config, bridged), expected)
    assert (by_blocks(raw, shape, config, given) != expected).any()


def test_the_map_of_a_stack_in_reverse_order_is_that_of_the_stack_where_z_is_flipped() -> None:
    shape = (5, 8, 16)
    raw, given = grey(shape), resources(Neighbours(1), shape, 1)
    config = settings(tile=(2, 8, 8), augmentation_z="flip")
    straight = by_blocks(raw, shape, config, given)
    assert_array_equal(by_blocks(raw[::-1].copy(), shape, config, given)[::-1], straight)
    once = config.model_copy(update={"augmentation_z": "none"})
    assert (by_blocks(raw[::-1].copy(), shape, once, given)[::-1] != straight).any()
    assert (by_blocks(raw, shape, once, given) <= straight).all()


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 41), (3, 23, 7)])
def test_any_size_is_predicted(
    shape: Triple, architecture: str, small: Callable[..., nn.Module]
) -> None:
    context = int(architecture == "hybrid_u_net")
    given = resources(small(architecture), shape, context, 16, 8)
    config = settings(tile=(1, 16, 32), augmentation="none")
    found = by_blocks(grey(shape), shape, config, given)
    assert_array_equal(by_blocks(grey(shape), (1, 16, 32), config, given), found)
    assert found.std() > 0 or found.size == 1


def test_the_halo_holds_the_neighbours_along_every_axis_of_sections() -> None:
    given = resources(Neighbours(3), (9, 9, 9), 3, halo=2)
    assert STAGE.halo(settings(), given) == Halo.symmetric(3, 2, 2)
    assert STAGE.halo(settings(planes="three"), given) == Halo.symmetric(3, 3, 3)
    bad = replace(given, corrections=corrected(9, bad=[2, 3]))
    assert STAGE.halo(settings(), bad) == Halo.symmetric(4, 2, 2)


def test_each_section_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (8, 8, 8)
    made: list[int] = []
    normalise = Corrections.normalise

    def counting(self: Corrections, raw: Any, z: Any, axis: int = 0) -> NDArray[np.float32]:
        made.extend(z.tolist())
        return normalise(self, raw, z, axis)

    monkeypatch.setattr(Corrections, "normalise", counting)
    config = settings(tile=shape, augmentation="none", batch=3)
    by_blocks(grey(shape), shape, config, resources(Neighbours(2), shape, 2))
    assert sorted(made) == list(range(8))

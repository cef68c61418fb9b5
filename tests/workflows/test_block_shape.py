"""The write block fits into the memory of one worker, with what is read around it."""

from __future__ import annotations

import pytest

from pipeline.contract import Halo, Triple, VolumeInfo
from pipeline.errors import ResourceError
from workflows.blocks import BASE_BYTES, choose_block_shape, needed_bytes

SECTIONS_NM, CUBES_NM = (40.0, 4.0, 4.0), (8.0, 8.0, 8.0)
NONE = {"boundaries": Halo(), "superpixels": Halo(), "features": Halo()}
FLAT = {**NONE, "features": Halo((0, 11, 11), (1, 12, 12))}
WIDE = {**NONE, "superpixels": Halo.symmetric(67, 67, 67)}


def info(shape: Triple, voxel_size_nm: tuple[float, float, float]) -> VolumeInfo:
    return VolumeInfo(shape, voxel_size_nm, "uint8")


def test_the_halo_counts_as_much_as_the_block_itself() -> None:
    volume, tile = info((500, 500, 500), CUBES_NM), (64, 64, 64)
    needed = BASE_BYTES + 40 * 198**3
    assert choose_block_shape(volume, tile, WIDE, needed) == tile
    with pytest.raises(ResourceError, match=r"need about 0\.8 GiB"):
        choose_block_shape(volume, tile, WIDE, needed - 1)
    assert choose_block_shape(volume, tile, NONE, BASE_BYTES + 40 * 64**3) == tile


def test_a_halo_ends_at_the_border_of_the_volume() -> None:
    volume = info((64, 100, 500), CUBES_NM)
    assert needed_bytes((64, 64, 64), volume, WIDE) == BASE_BYTES + 40 * 64 * 100 * 198


def test_the_stage_that_needs_most_decides() -> None:
    volume = info((900, 900, 900), CUBES_NM)
    halos = {**WIDE, "boundaries": Halo.symmetric(160, 160, 160)}
    assert needed_bytes((64, 64, 64), volume, halos) == BASE_BYTES + 12 * 384**3


def test_blocks_of_sections_are_halved_until_they_fit() -> None:
    volume, tile = info((200, 4000, 4000), SECTIONS_NM), (1, 512, 512)
    assert choose_block_shape(volume, tile, FLAT) == (32, 512, 512)
    needed = BASE_BYTES + 40 * (8 + 1) * 535**2
    assert choose_block_shape(volume, tile, FLAT, needed) == (8, 512, 512)
    assert choose_block_shape(volume, tile, FLAT, needed - 1) == (4, 512, 512)
    with pytest.raises(ResourceError, match=r"smaller --set boundaries\.tile"):
        choose_block_shape(volume, tile, FLAT, BASE_BYTES)

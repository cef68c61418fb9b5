"""The write block fits into the memory of one worker, with what is read around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import Halo, Triple, VolumeInfo
from pipeline.errors import ConfigError, ResourceError
from workflows.blocks import (
    BASE_BYTES,
    NEEDS,
    NETWORK_BYTES,
    BlockMemory,
    check_tile,
    choose_block_shape,
)

SECTIONS_NM, CUBES_NM = (40.0, 4.0, 4.0), (8.0, 8.0, 8.0)
FLAT = {"boundaries": Halo.symmetric(0, 160, 160), "superpixels": Halo.symmetric(0, 131, 131)}
CUBIC = {
    "boundaries": Halo.symmetric(160, 160, 160),
    "superpixels": Halo.symmetric(67, 67, 67),
    "features": Halo((13, 13, 13), (14, 14, 14)),
}


def info(shape: Triple, voxel_size_nm: tuple[float, float, float] = CUBES_NM) -> VolumeInfo:
    return VolumeInfo(shape, voxel_size_nm, "uint8")


def test_a_stage_needs_memory_for_what_it_reads_with_its_halo() -> None:
    memory = BlockMemory(info((500, 500, 500)), (64, 64, 64), CUBIC)
    read, write = NEEDS["superpixels"].read, NEEDS["superpixels"].write
    assert memory.of_stage("superpixels", (64, 64, 64)) == read * 198**3 + write * 64**3


def test_a_halo_ends_at_the_border_of_the_volume() -> None:
    memory = BlockMemory(info((64, 100, 500)), (64, 64, 64), CUBIC)
    assert memory.read_voxels("superpixels", (64, 64, 64)) == 64 * 100 * 198


def test_grey_values_of_four_bytes_need_more() -> None:
    short = BlockMemory(info((500, 500, 500)), (64, 64, 64), CUBIC)
    wide = BlockMemory(VolumeInfo((500, 500, 500), CUBES_NM, "float32"), (64, 64, 64), CUBIC)
    more = wide.of_stage("boundaries", (64, 64, 64)) - short.of_stage("boundaries", (64, 64, 64))
    assert more == 3 * 384**3


def test_the_network_needs_memory_for_its_largest_section() -> None:
    flat = BlockMemory(info((90, 4000, 4000), SECTIONS_NM), (1, 512, 256), FLAT)
    assert flat.sections == [(1, 832, 576)]
    cubic = BlockMemory(info((900, 900, 900)), (64, 128, 256), CUBIC)
    assert cubic.sections == [(64, 448, 576), (128, 384, 576), (256, 384, 448)]
    assert cubic.section_pixels == 448 * 576
    two = BlockMemory(cubic.volume, cubic.tile, CUBIC, batch=2)
    more = two.of_stage("boundaries", (64, 128, 256)) - cubic.of_stage("boundaries", (64, 128, 256))
    assert more == NETWORK_BYTES * 448 * 576


def test_a_network_that_needs_more_for_a_pixel_needs_more_memory() -> None:
    volume, tile = info((90, 4000, 4000), SECTIONS_NM), (1, 512, 256)
    narrow = BlockMemory(volume, tile, FLAT)
    wide = BlockMemory(volume, tile, FLAT, network_bytes=NETWORK_BYTES + 1000)
    assert wide.needed((8, 512, 256)) - narrow.needed((8, 512, 256)) == 1000 * 832 * 576


def test_on_a_gpu_two_blocks_are_held_and_no_network() -> None:
    volume, tile = info((90, 4000, 4000), SECTIONS_NM), (1, 512, 256)
    on_cpu, on_gpu = (BlockMemory(volume, tile, FLAT, on_gpu=gpu) for gpu in (False, True))
    block = (8, 512, 256)
    network = NETWORK_BYTES * 832 * 576
    expected = 2 * (on_cpu.of_stage("boundaries", block) - network)
    assert on_gpu.of_stage("boundaries", block) == expected
    assert on_gpu.of_stage("graph", block) == on_cpu.of_stage("graph", block)


def test_a_network_of_several_sections_reads_more() -> None:
    volume, tile = info((90, 4000, 4000), SECTIONS_NM), (1, 512, 256)
    flat = BlockMemory(volume, tile, FLAT)
    reach = FLAT["boundaries"].above
    halos = {**FLAT, "boundaries": Halo.symmetric(1, *reach[1:])}
    three = BlockMemory(volume, tile, halos, context_sections=1)
    assert three.sections == flat.sections
    assert three.read_voxels("boundaries", (1, 512, 256)) == 3 * flat.read_voxels(
        "boundaries", (1, 512, 256)
    )


def test_the_stage_that_needs_most_decides() -> None:
    memory = BlockMemory(info((900, 900, 900)), (64, 64, 64), CUBIC)
    most = max(memory.of_stage(stage, (64, 64, 64)) for stage in NEEDS)
    assert memory.needed((64, 64, 64)) == BASE_BYTES + most


def test_without_a_limit_blocks_have_some_8_million_voxels() -> None:
    flat = BlockMemory(info((200, 4000, 4000), SECTIONS_NM), (1, 512, 512), FLAT)
    assert choose_block_shape(flat) == (32, 512, 512)
    cubic = BlockMemory(info((900, 900, 900)), (128, 256, 256), CUBIC)
    assert choose_block_shape(cubic) == (128, 256, 256)


def test_blocks_of_sections_are_halved_until_they_fit() -> None:
    memory = BlockMemory(info((200, 4000, 4000), SECTIONS_NM), (1, 512, 512), FLAT)
    needed = memory.needed((8, 512, 512))
    assert choose_block_shape(memory, needed) == (8, 512, 512)
    assert choose_block_shape(memory, needed - 1) == (4, 512, 512)


def test_a_tile_that_fits_is_proposed_where_none_of_the_blocks_does() -> None:
    volume = info((900, 900, 900))
    with pytest.raises(ResourceError, match=r"more than the 1\.0 GiB of --memory") as refused:
        choose_block_shape(BlockMemory(volume, (128, 256, 256), CUBIC), 1 << 30)
    proposed = str(refused.value).partition("boundaries.tile='[")[2].partition("]")[0]
    z, y, x = (int(n) for n in proposed.split(","))
    assert choose_block_shape(BlockMemory(volume, (z, y, x), CUBIC), 1 << 30) == (z, y, x)


def test_nothing_is_proposed_where_no_tile_would_do() -> None:
    with pytest.raises(ResourceError, match=r"raise it$"):
        choose_block_shape(BlockMemory(info((900, 900, 900)), (128, 256, 256), CUBIC), BASE_BYTES)


@given(
    depth=st.integers(1, 10_000),
    side=st.integers(1, 100_000),
    gibibytes=st.sampled_from([1, 2, 4]),
)
def test_no_block_needs_more_however_large_the_volume(
    depth: int, side: int, gibibytes: int
) -> None:
    memory = BlockMemory(info((depth, side, side), SECTIONS_NM), (1, 512, 512), FLAT)
    assert memory.needed(choose_block_shape(memory, gibibytes << 30)) <= gibibytes << 30


def test_blocks_are_made_of_whole_tiles() -> None:
    check_tile((1, 512, 512), (32, 512, 512), (90, 4000, 4000))
    check_tile((1, 512, 512), (32, 160, 160), (90, 150, 150))
    with pytest.raises(ConfigError, match=r"boundaries\.tile = \[1, 300, 512\] does not divide"):
        check_tile((1, 300, 512), (32, 512, 512), (90, 4000, 4000))

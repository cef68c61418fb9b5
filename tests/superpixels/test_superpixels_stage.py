"""Superpixels of whole volumes and of blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.contract import Resources, VolumeInfo
from pipeline.grid import blocks, whole
from pipeline.superpixels import STAGE
from pipeline.superpixels.geometry import SuperpixelsConfig

FLAT_NM = (40.0, 4.0, 4.0)
CUBIC_NM = (8.0, 8.0, 8.0)


def cells(shape, spacing, rng):
    """A boundary map of random convex cells, 0..255, blurred and noisy."""
    points = rng.uniform(0, shape, (int(np.prod(shape) / np.prod(spacing)), len(shape)))
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distance, _ = cKDTree(points).query(voxels, k=2)
    wall = np.exp(-((distance[..., 1] - distance[..., 0]) ** 2) / 4)
    noisy = wall + rng.normal(0, 0.05, shape)
    return np.round(np.clip(noisy, 0, 1) * 255).astype(np.uint8)


def run_whole(boundaries, config, voxel_size):
    resources = Resources(VolumeInfo(boundaries.shape, voxel_size, "uint8"))
    block = whole(boundaries.shape)
    return STAGE.compute(block, {"boundaries": boundaries}, config, resources)["superpixels"]


def run_blocks(boundaries, config, voxel_size, block_shape):
    resources = Resources(VolumeInfo(boundaries.shape, voxel_size, "uint8"))
    result = np.zeros(boundaries.shape, np.uint64)
    for block in blocks(boundaries.shape, block_shape, STAGE.halo(config, resources)):
        crop = {"boundaries": boundaries[block.read.slices]}
        result[block.write.slices] = STAGE.compute(block, crop, config, resources)["superpixels"]
    return result


def check_fragments(superpixels):
    """Every voxel has an id, every id is connected and holds its seed."""
    ids, dense = np.unique(superpixels, return_inverse=True)
    assert ids[0] > 0
    assert np.array_equal(superpixels.ravel()[(ids - 1).astype(np.int64)], ids)
    boxes = ndimage.find_objects(dense.reshape(superpixels.shape) + 1)
    for value, box in zip(ids, boxes, strict=True):
        assert ndimage.label(superpixels[box] == value)[1] == 1


def test_two_cells_get_the_ids_of_their_first_seed_voxels():
    boundaries = np.zeros((1, 7, 15), np.uint8)
    boundaries[:, :, 7] = 255
    config = SuperpixelsConfig(sigma_seeds_voxels=0, distance_cap_voxels=3, min_size_voxels=0)
    superpixels = run_whole(boundaries, config, FLAT_NM)
    assert (superpixels[:, :, :7] == 1 + 0).all()
    assert (superpixels[:, :, 8:] == 1 + 10).all()  # x = 10 is the first voxel 3 from the wall
    assert np.isin(superpixels[:, :, 7], [1, 11]).all()


@pytest.mark.parametrize("level", [0, 255])
def test_constant_map_is_cut_into_the_cells_of_the_seed_lattice(level):
    boundaries = np.full((2, 20, 18), level, np.uint8)
    config = SuperpixelsConfig(seed_spacing_voxels=8, min_size_voxels=0)
    superpixels = run_whole(boundaries, config, FLAT_NM)
    corners = [z * 360 + y * 18 + x for z in (0, 1) for y in (0, 8, 16) for x in (0, 8, 16)]
    assert np.array_equal(np.unique(superpixels), np.array(corners) + 1)
    assert (superpixels[0, 8:16, 8:16] == 1 + 8 * 18 + 8).all()


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM])
def test_fragments_of_noise_are_connected_and_hold_their_seed(voxel_size):
    rng = np.random.default_rng(1)
    boundaries = rng.integers(0, 256, (6, 40, 30), dtype=np.uint8)
    before = boundaries.copy()
    superpixels = run_whole(boundaries, SuperpixelsConfig(min_size_voxels=10), voxel_size)
    check_fragments(superpixels)
    assert np.bincount(np.unique(superpixels, return_inverse=True)[1].ravel()).min() >= 10
    assert np.array_equal(boundaries, before)


def test_in_2d_no_superpixel_spans_sections():
    boundaries = cells((4, 50, 50), (1, 12, 12), np.random.default_rng(2))
    superpixels = run_whole(boundaries, SuperpixelsConfig(), FLAT_NM)
    for lower, upper in itertools.pairwise(superpixels):
        assert not np.intersect1d(lower, upper).size


def test_blocks_give_the_superpixels_of_the_whole_in_2d():
    boundaries = cells((3, 200, 175), (1, 11, 11), np.random.default_rng(3))
    config = SuperpixelsConfig(
        distance_cap_voxels=5, sigma_seeds_voxels=1, seed_spacing_voxels=8, basin_voxels=32
    )
    expected = run_whole(boundaries, config, FLAT_NM)
    check_fragments(expected)
    assert len(np.unique(expected[0])) > 100
    assert np.array_equal(run_blocks(boundaries, config, FLAT_NM, (1, 64, 64)), expected)


@pytest.mark.parametrize("voxel_size", [CUBIC_NM, (16.0, 8.0, 8.0)], ids=["cubic", "mild"])
def test_blocks_give_the_superpixels_of_the_whole_in_3d(voxel_size):
    boundaries = cells((46, 80, 76), (4, 8, 8), np.random.default_rng(6))
    config = SuperpixelsConfig(
        distance_cap_voxels=3, sigma_seeds_voxels=0.8, seed_spacing_voxels=6, basin_voxels=18
    )
    expected = run_whole(boundaries, config, voxel_size)
    check_fragments(expected)
    assert len(np.unique(expected)) > 100
    assert np.array_equal(run_blocks(boundaries, config, voxel_size, (16, 30, 26)), expected)


def test_cells_wider_than_the_halo_are_cut_but_never_merged():
    # corridors that widen over their whole length: one far seed each
    boundaries = np.zeros((1, 120, 400), np.uint8)
    wall_of = np.zeros((120, 400), bool)
    for k in range(7):
        row = 8 + 17 * k + np.linspace(-6, 6, 400) * (-1) ** k
        wall_of |= np.abs(np.arange(120)[:, None] - row) <= 1.5
    boundaries[0][wall_of] = 255
    corridor, count = ndimage.label(~wall_of)
    assert count == 8
    config = SuperpixelsConfig(distance_cap_voxels=12, basin_voxels=4, min_size_voxels=25)
    pieces = run_blocks(boundaries, config, FLAT_NM, (1, 60, 40))[0]
    uncut = run_whole(boundaries, config, FLAT_NM)[0]
    for value in np.unique(pieces):
        assert len(np.unique(corridor[(pieces == value) & ~wall_of])) <= 1
    assert len(np.unique(pieces)) > len(np.unique(uncut))


def test_halo_is_zero_along_z_in_2d_and_scaled_by_the_voxel_size_in_3d():
    config = SuperpixelsConfig(distance_cap_voxels=10, sigma_seeds_voxels=2, basin_voxels=20)
    flat = STAGE.halo(config, Resources(VolumeInfo((9, 9, 9), FLAT_NM, "uint8")))
    mild = STAGE.halo(config, Resources(VolumeInfo((9, 9, 9), (16.0, 8.0, 8.0), "uint8")))
    assert flat.below == flat.above == (0, 36, 36)
    assert mild.below == mild.above == (5 + 3 + 10, 36, 36)


@pytest.mark.parametrize(("voxel_size", "mode"), [(FLAT_NM, "2d"), (CUBIC_NM, "3d")])
def test_mode_is_decided_by_the_voxel_size(voxel_size, mode):
    volume = VolumeInfo((9, 9, 9), voxel_size, "uint8")
    assert SuperpixelsConfig().resolved(volume).mode == mode
    assert SuperpixelsConfig(mode="3d").resolved(volume).mode == "3d"

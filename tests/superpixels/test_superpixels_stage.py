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


def run_whole(boundaries, config, voxel_size, foreground=None, threads=1):
    resources = Resources(VolumeInfo(boundaries.shape, voxel_size, "uint8"), threads=threads)
    foreground = np.ones_like(boundaries) if foreground is None else foreground
    inputs = {"boundaries": boundaries, "foreground": foreground}
    return STAGE.compute(whole(boundaries.shape), inputs, config, resources)["superpixels"]


def run_blocks(boundaries, config, voxel_size, block_shape, foreground=None):
    resources = Resources(VolumeInfo(boundaries.shape, voxel_size, "uint8"))
    foreground = np.ones_like(boundaries) if foreground is None else foreground
    result = np.zeros(boundaries.shape, np.uint64)
    for block in blocks(boundaries.shape, block_shape, STAGE.halo(config, resources)):
        crop = {
            "boundaries": boundaries[block.read.slices],
            "foreground": foreground[block.read.slices],
        }
        result[block.write.slices] = STAGE.compute(block, crop, config, resources)["superpixels"]
    return result


def check_fragments(superpixels, foreground=None):
    """Every foreground voxel has an id, every id is joined by faces and holds its seed."""
    foreground = np.ones(superpixels.shape, bool) if foreground is None else foreground != 0
    assert np.array_equal(superpixels > 0, foreground)
    ids, dense = np.unique(superpixels, return_inverse=True)
    boxes = ndimage.find_objects(dense.reshape(superpixels.shape) + 1)
    for value, box in zip(ids, boxes, strict=True):
        if value:
            assert superpixels.ravel()[int(value) - 1] == value
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


def masks(shape, rng):
    """Masks that are hard: noise, stripes that meet at corners, half of the volume."""
    noise = (rng.random(shape) < 0.7).astype(np.uint8)
    blobs = (ndimage.gaussian_filter(rng.random(shape), (0.5, 2, 2)) > 0.5).astype(np.uint8)
    checkers = (np.indices(shape).sum(0) // 3 % 2).astype(np.uint8)
    half = np.ones(shape, np.uint8)
    half[:, :, shape[2] // 2 :] = 0
    return {"noise": noise, "blobs": blobs, "checkers": checkers, "half": half}


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["sections", "cubes"])
@pytest.mark.parametrize("connectivity", ["faces", "full"])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["noise", "blobs", "checkers", "half"])
def test_superpixels_fill_the_foreground_and_are_connected(kind, smooth, connectivity, voxel_size):
    rng = np.random.default_rng(11)
    shape = (5, 36, 31)
    foreground = masks(shape, rng)[kind]
    config = SuperpixelsConfig(
        min_size_voxels=15, sigma_seeds_voxels=smooth, seed_connectivity=connectivity
    )
    for boundaries in (
        rng.integers(0, 256, shape, dtype=np.uint8),
        (rng.random(shape) < 0.1).astype(np.uint8) * 255,
        cells(shape, (2, 8, 8), rng),
    ):
        before = foreground.copy()
        superpixels = run_whole(boundaries, config, voxel_size, foreground)
        check_fragments(superpixels, foreground)
        assert np.array_equal(foreground, before)


def test_a_mask_of_a_line_keeps_its_two_sides_apart_and_the_seeds_away():
    boundaries = np.zeros((1, 9, 21), np.uint8)
    foreground = np.ones_like(boundaries)
    foreground[:, :, 10] = 0
    config = SuperpixelsConfig(sigma_seeds_voxels=0, distance_cap_voxels=32)
    superpixels = run_whole(boundaries, config, FLAT_NM, foreground)
    assert (superpixels[:, :, :10] == 1 + 0).all()
    assert (superpixels[:, :, 10] == 0).all()
    assert (superpixels[:, :, 11:] == 1 + 20).all()


def test_a_part_that_touches_a_stronger_one_by_a_corner_has_its_own_superpixel():
    foreground = np.zeros((1, 12, 12), np.uint8)
    foreground[:, :3, :3] = 1
    foreground[:, 3:, 3:] = 1
    config = SuperpixelsConfig(sigma_seeds_voxels=2, min_size_voxels=0)
    superpixels = run_whole(np.zeros_like(foreground), config, FLAT_NM, foreground)
    check_fragments(superpixels, foreground)
    small, large = superpixels[0, :3, :3], superpixels[0, 3:, 3:]
    assert not np.intersect1d(small, large).size


def test_small_superpixels_without_a_neighbour_in_the_foreground_stay():
    foreground = np.zeros((1, 9, 9), np.uint8)
    foreground[0, 1, 1:4] = 1
    foreground[0, 5:, :] = 1
    superpixels = run_whole(
        np.zeros_like(foreground), SuperpixelsConfig(min_size_voxels=20), FLAT_NM, foreground
    )
    assert len(np.unique(superpixels)) == 3


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM])
def test_all_background_has_no_superpixels(voxel_size):
    boundaries = cells((4, 30, 30), (1, 9, 9), np.random.default_rng(2))
    foreground = np.zeros_like(boundaries)
    assert not run_whole(boundaries, SuperpixelsConfig(), voxel_size, foreground).any()
    foreground[2] = 1
    superpixels = run_whole(boundaries, SuperpixelsConfig(), voxel_size, foreground)
    check_fragments(superpixels, foreground)


def test_without_small_ones_absorbed_superpixels_under_noise_are_connected_too():
    rng = np.random.default_rng(12)
    boundaries = rng.integers(0, 256, (3, 60, 60), dtype=np.uint8)
    for suppression in (False, True):
        config = SuperpixelsConfig(
            min_size_voxels=0, sigma_seeds_voxels=0.4, seed_suppression=suppression
        )
        check_fragments(run_whole(boundaries, config, FLAT_NM))


def test_threads_do_not_change_the_result():
    boundaries = cells((6, 60, 50), (1, 10, 10), np.random.default_rng(4))
    one = run_whole(boundaries, SuperpixelsConfig(), FLAT_NM)
    assert np.array_equal(run_whole(boundaries, SuperpixelsConfig(), FLAT_NM, threads=3), one)


def test_suppression_leaves_fewer_superpixels():
    boundaries = cells((2, 90, 90), (1, 20, 20), np.random.default_rng(5))
    many = run_whole(boundaries, SuperpixelsConfig(sigma_seeds_voxels=0.5), FLAT_NM)
    config = SuperpixelsConfig(sigma_seeds_voxels=0.5, seed_suppression=True)
    few = run_whole(boundaries, config, FLAT_NM)
    check_fragments(few)
    assert len(np.unique(few)) < len(np.unique(many))


@pytest.mark.parametrize("suppression", [False, True])
def test_blocks_give_the_superpixels_of_the_whole_under_a_mask_in_2d(suppression):
    rng = np.random.default_rng(13)
    boundaries = cells((2, 180, 170), (1, 11, 11), rng)
    foreground = masks(boundaries.shape, rng)["blobs"] | (boundaries < 40)
    foreground[:, 60:90, 50:140] = 0
    config = SuperpixelsConfig(
        distance_cap_voxels=5,
        seed_spacing_voxels=8,
        basin_voxels=32,
        seed_suppression=suppression,
    )
    expected = run_whole(boundaries, config, FLAT_NM, foreground)
    check_fragments(expected, foreground)
    assert len(np.unique(expected[0])) > 80
    found = run_blocks(boundaries, config, FLAT_NM, (1, 64, 64), foreground)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("suppression", [False, True])
def test_blocks_give_the_superpixels_of_the_whole_under_a_mask_in_3d(suppression):
    rng = np.random.default_rng(14)
    boundaries = cells((40, 60, 56), (6, 8, 8), rng)
    foreground = (ndimage.gaussian_filter(rng.random(boundaries.shape), 3) > 0.49).astype(np.uint8)
    config = SuperpixelsConfig(
        distance_cap_voxels=3,
        seed_spacing_voxels=6,
        basin_voxels=18,
        seed_suppression=suppression,
    )
    expected = run_whole(boundaries, config, CUBIC_NM, foreground)
    check_fragments(expected, foreground)
    assert len(np.unique(expected)) > 80
    found = run_blocks(boundaries, config, CUBIC_NM, (16, 30, 26), foreground)
    assert np.array_equal(found, expected)


def test_halo_is_zero_along_z_in_2d_and_scaled_by_the_voxel_size_in_3d():
    config = SuperpixelsConfig(distance_cap_voxels=10, sigma_seeds_voxels=2, basin_voxels=20)
    flat = STAGE.halo(config, Resources(VolumeInfo((9, 9, 9), FLAT_NM, "uint8")))
    mild = STAGE.halo(config, Resources(VolumeInfo((9, 9, 9), (16.0, 8.0, 8.0), "uint8")))
    assert flat.below == flat.above == (0, 36, 36)
    reaching = config.model_copy(update={"seed_suppression": True})
    wider = STAGE.halo(reaching, Resources(VolumeInfo((9, 9, 9), FLAT_NM, "uint8")))
    assert wider.below == wider.above == (0, 46, 46)
    assert mild.below == mild.above == (5 + 3 + 10, 36, 36)


@pytest.mark.parametrize(("voxel_size", "mode"), [(FLAT_NM, "2d"), (CUBIC_NM, "3d")])
def test_mode_is_decided_by_the_voxel_size(voxel_size, mode):
    volume = VolumeInfo((9, 9, 9), voxel_size, "uint8")
    assert SuperpixelsConfig().resolved(volume).mode == mode
    assert SuperpixelsConfig(mode="3d").resolved(volume).mode == "3d"

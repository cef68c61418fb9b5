"""Distance levels, seeds, watershed and size filter on arrays known by hand."""

from __future__ import annotations

import numpy as np

from pipeline.contract import Box, Halo, Resources, VolumeInfo
from pipeline.grid import block_at
from pipeline.superpixels import STAGE
from pipeline.superpixels.flooding import absorb_small, flood, heights
from pipeline.superpixels.geometry import Geometry, SuperpixelsConfig
from pipeline.superpixels.seeds import LEVELS_PER_VOXEL, distance_levels, find_seeds
from pipeline.superpixels.stage import exact_box


def test_distance_levels_are_the_capped_distance_in_in_plane_voxels():
    rng = np.random.default_rng(0)
    boundary = rng.random((5, 6, 7)) < 0.03
    boundary[2, 3, 3] = True
    at = np.argwhere(boundary)
    voxels = np.argwhere(np.ones(boundary.shape, bool))
    offset = (voxels[:, None] - at[None]) * np.array([2.5, 1, 1])
    slow = np.sqrt((offset**2).sum(2)).min(1).reshape(boundary.shape)
    levels = distance_levels(boundary, (10, 4, 4), (0, 0, 0), 4)
    expected = np.floor(np.minimum(slow, 4) * LEVELS_PER_VOXEL + 0.5)
    assert np.array_equal(levels, expected)


def test_without_boundary_every_distance_is_the_cap():
    levels = distance_levels(np.zeros((6, 6), bool), (4, 4), (1.6, 1.6), 5)
    assert (levels == 5 * LEVELS_PER_VOXEL).all()


def test_smoothed_levels_do_not_depend_on_where_the_array_begins():
    boundary = np.random.default_rng(5).random((90, 95)) < 0.01
    whole = distance_levels(boundary, (4, 4), (1.6, 1.6), 6)
    margin = 6 + 5
    for begin in range(1, 9):
        crop = distance_levels(boundary[begin:, begin + 3 :], (4, 4), (1.6, 1.6), 6)
        inner = (slice(margin, None), slice(margin, None))
        assert np.array_equal(crop[inner], whole[begin:, begin + 3 :][inner])


def test_a_plateau_with_a_higher_neighbour_is_no_seed():
    levels = np.array([[3, 3, 3, 5, 1, 2, 2, 1]], np.int32)
    seeds = find_seeds(levels, (0, 0), (64, 64), 2)
    assert seeds.markers.tolist() == [[0, 0, 0, 1, 0, 2, 2, 0]]
    assert seeds.first.tolist() == [3, 5]


def test_plateaus_are_cut_by_a_lattice_anchored_at_the_volume():
    levels = np.full((1, 8), 7, np.int32)
    seeds = find_seeds(levels, (0, 6), (4, 4), 2)
    assert seeds.markers.tolist() == [[1, 1, 2, 2, 2, 2, 3, 3]]
    assert seeds.first.tolist() == [0, 2, 6]


def test_connectivity_decides_whether_a_diagonal_neighbour_is_higher():
    levels = np.array([[2, 0], [0, 3]], np.int32)
    assert find_seeds(levels, (0, 0), (9, 9), 1).first.tolist() == [0, 3]
    assert find_seeds(levels, (0, 0), (9, 9), 2).first.tolist() == [3]


def test_heights_mix_boundary_and_inverted_distance_over_a_fixed_range():
    boundaries = np.array([[0, 255, 255]], np.uint8)
    levels = np.array([[32, 0, 16]], np.int32)
    height = heights(boundaries, levels, 32, 0.75)
    full = 255 * 32 * 1000
    assert height.tolist() == [[0, full, full * 3 // 4 + full // 8]]


def test_flooding_meets_on_the_ridge():
    height = np.array([[0, 1, 9, 2, 0, 0]])
    markers = np.array([[1, 0, 0, 0, 0, 2]], np.int32)
    assert flood(height, markers)[0, [0, 1, 3, 4, 5]].tolist() == [1, 1, 2, 2, 2]


def test_flooding_shares_a_plateau_evenly():
    markers = np.zeros((9, 41), np.int32)
    markers[4, 10], markers[4, 30] = 1, 2
    labels = flood(np.zeros((9, 41), np.int64), markers)
    assert (labels[:, :20] == 1).all()
    assert (labels[:, 21:] == 2).all()


def test_flooding_of_a_cropped_array_agrees_where_paths_lie_inside():
    rng = np.random.default_rng(6)
    height = rng.integers(0, 4, (80, 80))  # few levels: many ties
    markers = np.zeros((80, 80), np.int32)
    at = rng.integers(0, 80, (300, 2))
    markers[at[:, 0], at[:, 1]] = np.arange(1, 301)
    whole = flood(height, markers)
    for begin in (3, 4, 7, 10):
        crop = flood(height[begin:, begin:], markers[begin:, begin:])
        assert np.array_equal(crop[25:, 25:], whole[begin:, begin:][25:, 25:])


def test_small_labels_are_given_to_their_neighbours():
    labels = np.array([[1, 1, 1, 2, 3, 3, 3]], np.int32)
    height = np.array([[0, 0, 0, 5, 9, 0, 0]])
    result = absorb_small(labels, height, 2, [(False, False)] * 2)
    assert result.tolist() == [[1, 1, 1, 1, 3, 3, 3]]
    assert labels[0, 3] == 2


def test_labels_of_unknown_size_are_kept():
    labels = np.array([[1, 2, 2, 2, 3]], np.int32)
    result = absorb_small(labels, np.zeros((1, 5), np.int64), 2, [(False, False), (True, False)])
    assert result.tolist() == [[1, 2, 2, 2, 2]]


def test_without_a_larger_label_small_ones_stay():
    labels = np.array([[1, 2]], np.int32)
    result = absorb_small(labels, np.zeros((1, 2), np.int64), 9, [(False, False)] * 2)
    assert result.tolist() == [[1, 2]]


def test_levels_in_the_exact_box_of_a_block_are_those_of_the_whole():
    boundary = np.random.default_rng(8).random((3, 90, 90)) < 0.01
    config = SuperpixelsConfig(distance_cap_voxels=8, sigma_seeds_voxels=1, basin_voxels=5)
    volume = VolumeInfo(boundary.shape, (40.0, 4.0, 4.0), "uint8")
    geometry = Geometry.of(config, volume)
    block = block_at((1, 1, 1), boundary.shape, (1, 30, 30), STAGE.halo(config, Resources(volume)))
    exact = exact_box(block, geometry.margin)
    assert exact == Box((1, 25, 25), (2, 65, 65))
    parameters = (geometry.pitch[1:], geometry.sigma[1:], geometry.cap)
    whole = distance_levels(boundary[1], *parameters)
    crop = distance_levels(boundary[block.read.slices][0], *parameters)
    assert np.array_equal(crop[exact.within(block.read)[1:]], whole[exact.slices[1:]])


def test_nothing_is_trimmed_at_the_border_of_the_volume():
    block = block_at((0, 0, 2), (5, 50, 90), (5, 50, 30), Halo.symmetric(0, 20, 20))
    assert exact_box(block, (3, 9, 9)) == Box((0, 0, 49), (5, 50, 90))

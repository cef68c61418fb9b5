"""Distance levels, seeds, watershed and size filter on arrays known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.segmentation import watershed
from superpixel_references import reference_flood, reference_levels, reference_seeds

from pipeline.contract import Box, Halo, Resources, VolumeInfo
from pipeline.grid import block_at
from pipeline.superpixels import STAGE
from pipeline.superpixels.distance import LEVELS_PER_VOXEL, distance_levels, squared_distances
from pipeline.superpixels.flooding import HIGHEST, absorb_small, flood, heights
from pipeline.superpixels.framed import framed
from pipeline.superpixels.geometry import Geometry, SuperpixelsConfig
from pipeline.superpixels.seeds import NO_SEED, Seeds, find_seeds, suppress_weaker
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


@pytest.mark.parametrize(
    ("shape", "pitch", "cap"),
    [((40, 33), (4, 4), 40), ((9, 20, 17), (10, 4, 4), 33), ((12, 11, 13), (4, 5, 6), 400)],
    ids=["section", "coarse z", "far"],
)
@pytest.mark.parametrize("density", [0.2, 0.01, 0.0, 1.0])
def test_squared_distances_are_those_of_scipy_up_to_the_cap(shape, pitch, cap, density):
    boundary = np.random.default_rng(1).random(shape) < density
    squared = squared_distances(boundary, pitch, cap)
    slow = np.full(shape, cap**2)
    if boundary.any():
        slow = np.minimum(np.round(reference_levels(boundary, pitch, 0, 1e6, 4) ** 2), slow)
    assert np.array_equal(squared, slow)


def test_smoothing_is_that_of_a_gaussian_cut_at_three_standard_deviations():
    boundary = np.random.default_rng(2).random((8, 40, 37)) < 0.004
    parameters = (boundary, (8, 4, 4), (0.7, 1.4, 2.1), 9)
    slow = reference_levels(*parameters, LEVELS_PER_VOXEL)
    assert len(np.unique(np.round(slow))) > 50
    assert np.abs(distance_levels(*parameters) - slow).max() <= 0.5 + 1e-3


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


def random_levels(shape, seed, masked):
    """Few levels in patches, so that plateaus touch by faces, corners and cell borders."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 5, shape).astype(np.int32)
    return np.where(rng.random(shape) < masked, np.int32(NO_SEED), levels)


@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize(("shape", "origin"), [((30, 37), (5, 11)), ((8, 11, 9), (3, 1, 2))])
@pytest.mark.parametrize("masked", [0.0, 0.4])
def test_seeds_are_those_of_a_slow_search(shape, origin, connectivity, masked):
    connectivity = min(connectivity, len(shape))
    for seed in range(4):
        levels = random_levels(shape, seed, masked)
        before = levels.copy()
        seeds = find_seeds(levels, origin, (6,) * len(shape), connectivity)
        markers, first = reference_seeds(levels, origin, (6,) * len(shape), connectivity)
        assert seeds.first.tolist() == first
        assert np.array_equal(levels, before)
        if connectivity == 1:
            assert np.array_equal(seeds.markers, markers)
        else:
            assert ((seeds.markers == markers) | (seeds.markers == 0)).all()
            assert seeds.markers.ravel()[first].tolist() == list(range(1, len(first) + 1))


def test_of_a_seed_that_hangs_together_by_a_corner_the_part_of_its_first_voxel_is_marked():
    levels = np.array([[7, 7, 0], [0, 0, 7], [0, 0, 7]], np.int32)
    seeds = find_seeds(levels, (0, 0), (9, 9), 2)
    assert seeds.markers.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert find_seeds(levels, (0, 0), (9, 9), 1).first.tolist() == [0, 5]


def test_where_no_seed_may_lie_none_does():
    levels = np.array([[NO_SEED, NO_SEED, 4, 5, NO_SEED]], np.int32)
    seeds = find_seeds(levels, (0, 0), (9, 9), 2)
    assert seeds.markers.tolist() == [[0, 0, 0, 1, 0]]
    assert find_seeds(np.full((3, 3), NO_SEED, np.int32), (0, 0), (9, 9), 2).first.size == 0


def row_of_seeds(strengths):
    """One row of levels, a seed at every value that is not 0."""
    levels = np.array([strengths], np.int32)
    first = np.flatnonzero(levels)
    markers = np.zeros_like(levels)
    markers[0, first] = np.arange(1, len(first) + 1)
    return Seeds(markers, first), levels


def test_a_seed_is_dropped_if_a_stronger_one_is_closer_than_its_own_distance():
    two_voxels = 2 * LEVELS_PER_VOXEL
    strengths = [two_voxels + 1, 0, two_voxels + 2, 0, 0, two_voxels, 0, 0, 0, two_voxels]
    seeds, levels = row_of_seeds(strengths)
    kept = suppress_weaker(seeds, levels, (4, 4), 8)
    assert kept.first.tolist() == [2, 5, 9]
    assert kept.markers.tolist() == [[0, 0, 1, 0, 0, 2, 0, 0, 0, 3]]
    coarse = suppress_weaker(seeds, levels, (4, 8), 8)
    assert coarse.first.tolist() == [0, 2, 5, 9]


def test_of_equal_seeds_the_first_stays_and_a_dropped_seed_still_drops_others():
    strong = 3 * LEVELS_PER_VOXEL
    seeds, levels = row_of_seeds([strong, 0, strong, 0, strong])
    assert suppress_weaker(seeds, levels, (4, 4), 8).first.tolist() == [0]


@settings(deadline=None)  # the first call compiles
@given(seed=st.integers(0, 2**32 - 1))
def test_suppression_is_that_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    levels = np.where(rng.random((4, 9, 8)) < 0.2, rng.integers(1, 80, (4, 9, 8)), 0)
    levels = levels.astype(np.int32)
    first = np.flatnonzero(levels)
    markers = np.zeros(levels.shape, np.int32)
    markers.ravel()[first] = np.arange(1, len(first) + 1)
    pitch = np.array([10, 4, 5])
    place = np.argwhere(levels) * pitch / 4
    strength = levels.ravel()[first]
    expected = []
    for i, voxel in enumerate(first):
        near = np.linalg.norm(place - place[i], axis=1) < strength[i] / LEVELS_PER_VOXEL
        stronger = (strength > strength[i]) | ((strength == strength[i]) & (first < voxel))
        if not (near & stronger).any():
            expected.append(voxel)
    assert suppress_weaker(Seeds(markers, first), levels, pitch, 5).first.tolist() == expected


def test_heights_mix_boundary_and_inverted_distance_over_a_fixed_range():
    boundaries = np.array([[0, 255, 255, 51]], np.uint8)
    levels = np.array([[32, 0, 16, NO_SEED]], np.int32)
    height = heights(boundaries, levels, 32, 0.75)
    ridge = 3071  # 0.75 * 4095, rounded
    assert height.tolist() == [[0, HIGHEST, ridge + 512, ridge // 5 + 1024]]
    only_distance = heights(boundaries, levels, 32, 0.0)
    assert only_distance.tolist() == [[0, HIGHEST, HIGHEST // 2, HIGHEST]]


@pytest.mark.parametrize("shape", [(40, 37), (9, 12, 11)], ids=["section", "volume"])
@pytest.mark.parametrize("levels", [2, 5, 4096])
@pytest.mark.parametrize("masked", [0.0, 0.3])
def test_flooding_is_that_of_a_heap_ordered_by_height_and_age(shape, levels, masked):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        height = rng.integers(0, levels, shape).astype(np.uint16)
        at = rng.permutation(height.size)[: height.size // 40]
        markers = np.zeros(height.size, np.int32)
        markers[at] = rng.integers(1, len(at), len(at))
        markers = markers.reshape(shape)
        mask = rng.random(shape) >= masked
        before = height.copy(), markers.copy(), mask.copy()
        expected = reference_flood(height, markers, mask)
        assert np.array_equal(flood(height, markers, mask), expected)
        for array, old in zip((height, markers, mask), before, strict=True):
            assert np.array_equal(array, old)


@pytest.mark.parametrize("shape", [(90, 88), (17, 20, 19)], ids=["section", "volume"])
@pytest.mark.parametrize("masked", [0.0, 0.3])
def test_where_no_two_heights_are_equal_flooding_is_that_of_scikit_image(shape, masked):
    rng = np.random.default_rng(7)
    height = rng.permutation(int(np.prod(shape))).astype(np.uint16).reshape(shape)
    markers = np.where(rng.random(shape) < 0.01, rng.integers(1, 40, shape), 0).astype(np.int32)
    mask = rng.random(shape) >= masked
    order = height.astype(float)
    order[markers > 0] = np.arange(-np.count_nonzero(markers), 0)
    expected = watershed(order, np.where(mask, markers, 0), connectivity=1, mask=mask)
    assert np.array_equal(flood(height, markers, mask), expected)


def test_flooding_without_seeds_or_voxels_gives_nothing():
    assert not flood(np.zeros((3, 4), np.uint16), np.zeros((3, 4), np.int32)).any()
    assert flood(np.zeros((0, 4), np.uint16), np.zeros((0, 4), np.int32)).shape == (0, 4)


def test_the_mask_is_never_crossed():
    height = np.zeros((1, 7), np.uint16)
    markers = np.array([[1, 0, 0, 0, 0, 0, 2]], np.int32)
    mask = np.array([[True, True, True, False, True, False, True]])
    assert flood(height, markers, mask).tolist() == [[1, 1, 1, 0, 0, 0, 2]]


def test_flooding_meets_on_the_ridge():
    height = np.array([[0, 1, 9, 2, 0, 0]], np.uint16)
    markers = np.array([[1, 0, 0, 0, 0, 2]], np.int32)
    assert flood(height, markers)[0, [0, 1, 3, 4, 5]].tolist() == [1, 1, 2, 2, 2]


def test_flooding_shares_a_plateau_evenly():
    markers = np.zeros((9, 41), np.int32)
    markers[4, 10], markers[4, 30] = 1, 2
    labels = flood(np.zeros((9, 41), np.uint16), markers)
    assert (labels[:, :20] == 1).all()
    assert (labels[:, 21:] == 2).all()


def test_flooding_of_a_cropped_array_agrees_where_paths_lie_inside():
    rng = np.random.default_rng(6)
    height = rng.integers(0, 4, (80, 80)).astype(np.uint16)  # few levels: many ties
    markers = np.zeros((80, 80), np.int32)
    at = rng.integers(0, 80, (300, 2))
    markers[at[:, 0], at[:, 1]] = np.arange(1, 301)
    whole = flood(height, markers)
    for begin in (3, 4, 7, 10):
        crop = flood(height[begin:, begin:], markers[begin:, begin:])
        assert np.array_equal(crop[25:, 25:], whole[begin:, begin:][25:, 25:])


def test_small_labels_are_given_to_their_neighbours():
    labels = np.array([[1, 1, 1, 2, 3, 3, 3]], np.int32)
    height = np.array([[0, 0, 0, 5, 9, 0, 0]], np.uint16)
    result = absorb_small(labels, height, 2, [(False, False)] * 2)
    assert result.tolist() == [[1, 1, 1, 1, 3, 3, 3]]
    assert labels[0, 3] == 2


def test_labels_of_unknown_size_are_kept():
    labels = np.array([[1, 2, 2, 2, 3]], np.int32)
    result = absorb_small(labels, np.zeros((1, 5), np.uint16), 2, [(False, False), (True, False)])
    assert result.tolist() == [[1, 2, 2, 2, 2]]


def test_without_a_larger_label_small_ones_stay():
    labels = np.array([[1, 2]], np.int32)
    result = absorb_small(labels, np.zeros((1, 2), np.uint16), 9, [(False, False)] * 2)
    assert result.tolist() == [[1, 2]]


def test_the_background_stays_and_small_labels_do_not_grow_across_it():
    labels = np.array([[1, 1, 1, 0, 2, 0, 3, 4, 4, 4]], np.int32)
    result = absorb_small(labels, np.zeros((1, 10), np.uint16), 3, [(False, False)] * 2)
    assert result.tolist() == [[1, 1, 1, 0, 2, 0, 4, 4, 4, 4]]


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


def test_an_array_whose_voxels_do_not_fit_into_int32_is_refused_before_it_is_copied():
    huge = np.broadcast_to(np.uint8(0), (1 << 15, 1 << 16))
    with pytest.raises(AssertionError, match="2147483648 voxels are too many for one block"):
        framed(huge, 0)
    with pytest.raises(AssertionError, match="too many"):
        framed(huge[:-1], 0)  # the frame counts

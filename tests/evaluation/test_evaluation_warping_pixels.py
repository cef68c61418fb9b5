import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pipeline.evaluation.pixels import (
    mean_map_pixels,
    mean_pixels,
    pixel_errors,
    pixel_errors_of_labels,
    pixel_errors_of_map,
)
from pipeline.evaluation.warping import is_simple, warp, warping_error

FOUR = ndimage.generate_binary_structure(2, 1)
EIGHT = np.ones((3, 3), bool)

images = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7))
image_pairs = images.flatmap(lambda image: hnp.arrays(bool, (2, *image.shape)))


def picture(*rows):
    """Cells are dots, boundary is #."""
    return np.array([[pixel == "." for pixel in row] for row in rows])


def pieces(cell):
    """Number of cells, and of pieces of boundary with all that lies outside."""
    padded = np.pad(cell, 1)
    return ndimage.label(padded, FOUR)[1], ndimage.label(~padded, EIGHT)[1]


def slow_warp(truth, proposal):
    """Flip, row by row, what differs and keeps the numbers of pieces of its neighbourhood."""
    warped = np.pad(truth, 1)
    goal = np.pad(proposal, 1)
    flipped = True
    while flipped:
        flipped = False
        for y, x in np.argwhere(warped != goal):
            square = warped[y - 1 : y + 2, x - 1 : x + 2].copy()
            square[1, 1] = False
            cells = ndimage.label(square, FOUR)[0]
            touching = {n for n in (cells[0, 1], cells[1, 0], cells[1, 2], cells[2, 1]) if n}
            square = ~warped[y - 1 : y + 2, x - 1 : x + 2]
            square[1, 1] = False
            if len(touching) == 1 and ndimage.label(square, EIGHT)[1] == 1:
                warped[y, x] = goal[y, x]
                flipped = True
    return warped[1:-1, 1:-1]


TWO_CELLS = picture("...#...", "...#...", "...#...", "...#...")


def test_a_shifted_a_thicker_and_a_bent_boundary_cost_nothing():
    shifted = picture("..#....", "..#....", "..#....", "..#....")
    thicker = picture("..###..", "..###..", ".####..", "..###..")
    bent = picture("..#....", "..#....", "...#...", "....#..")
    for proposal in (shifted, thicker, bent):
        assert warping_error(TWO_CELLS, proposal) == 0


def test_a_gap_costs_its_length():
    gap = picture("...#...", ".......", ".......", "...#...")
    assert warping_error(TWO_CELLS, gap) >= 1
    assert warping_error(TWO_CELLS, picture("...#...", ".......", "...#...", "...#...")) == 1


def test_a_boundary_that_moved_past_its_own_width_is_not_followed():
    # Only pixels that differ may flip, and those of the column between do not.
    moved = picture(".#.....", ".#.....", ".#.....", ".#.....")
    assert warping_error(TWO_CELLS, moved) > 1


def test_a_false_boundary_costs_one_pixel_of_its_length_and_a_lost_cell_one_pixel():
    false = picture("...#.#.", "...#.#.", "...#.#.", "...#.#.")
    assert warping_error(TWO_CELLS, false) == 1
    lost = picture("...####", "...####", "...####", "...####")
    assert warping_error(TWO_CELLS, lost) == 1


def test_a_false_island_of_boundary_costs_all_its_pixels_and_a_missed_one_a_single_pixel():
    cell = np.ones((7, 7), bool)
    island = cell.copy()
    island[2:5, 2:5] = False
    assert warping_error(cell, island) == 9
    assert warping_error(island, cell) == 1


def test_simple_points_known_by_hand():
    assert is_simple(picture("...", "...", "###"))
    assert not is_simple(picture("...", "...", "..."))  # would make a hole
    assert not is_simple(picture("###", "#.#", "###"))  # would delete a cell
    assert not is_simple(picture("...", "###", "..."))  # would open a boundary
    assert not is_simple(picture("###", "...", "###"))  # would cut a cell
    assert is_simple(picture("###", "#..", "###"))
    # A cell that touches by a corner only is not connected.
    assert not is_simple(picture(".##", "#.#", "###"))


@settings(deadline=None)
@given(image_pairs)
def test_warping_keeps_the_topology_and_equals_the_slow_reference(pair):
    truth, proposal = pair
    warped = warp(truth, proposal)
    assert pieces(warped) == pieces(truth)
    np.testing.assert_array_equal(warped, slow_warp(truth, proposal))
    np.testing.assert_array_equal(warped[truth == proposal], truth[truth == proposal])


@settings(deadline=None)
@given(images)
def test_truth_itself_has_no_error(truth):
    assert warping_error(truth, truth) == 0
    if truth.any():
        assert set(pixel_errors(truth, truth)) == {0.0}


def test_pixel_errors_known_by_hand():
    # 28 pixels, 24 of them cell; the gap adds one cell pixel.
    gap = picture("...#...", ".......", "...#...", "...#...")
    scores = pixel_errors(gap, TWO_CELLS)
    assert scores.pixel_error == 1 / 28
    assert scores.pixel_f_error == pytest.approx(1 - 2 * 24 / (24 + 25))
    assert (scores.warping_error, scores.warping_pixels) == (1 / 28, 1)


def test_pixels_that_are_not_scored_count_neither_as_right_nor_as_wrong():
    gap = picture("...#...", ".......", "...#...", "...#...")
    scored = np.ones((4, 7), bool)
    scored[1] = False
    assert set(pixel_errors(gap, TWO_CELLS, scored)) == {0.0}
    assert pixel_errors(gap, TWO_CELLS, ~scored).pixel_error == 1 / 7


def test_a_section_without_cells_in_truth_has_no_errors_to_count():
    gap = picture("...#...", ".......", "...#...", "...#...")
    assert pixel_errors(gap, np.zeros_like(gap)) is None
    assert pixel_errors(gap, TWO_CELLS, np.zeros_like(gap)) is None


def test_errors_of_sections_are_averaged_one_kind_by_one():
    gap = picture("...#...", ".......", "...#...", "...#...")
    rows = [pixel_errors(gap, TWO_CELLS), pixel_errors(TWO_CELLS, TWO_CELLS)]
    assert (mean_pixels(rows).pixel_error, mean_pixels(rows).warping_pixels) == (1 / 56, 0.5)


def test_labels_are_scored_as_boundary_images_whatever_their_names():
    labels = np.where(TWO_CELLS, 1, 0)
    labels[:, 4:] = 2
    for names in ([0, 1, 2], [0, 900, 17]):
        assert pixel_errors_of_labels(np.array(names)[labels], TWO_CELLS).pixel_error == 0


def test_a_map_takes_the_least_error_over_thresholds():
    boundary = np.where(TWO_CELLS, 0.2, 0.7)
    boundary[1, 3] = 0.45
    thresholds = (0.1, 0.4, 0.6)
    errors = pixel_errors_of_map(boundary, TWO_CELLS, thresholds=thresholds)
    scores = mean_map_pixels([errors], thresholds)
    assert [row.threshold for row in scores.rows] == [0.1, 0.4, 0.6]
    assert [row.warping_pixels for row in scores.rows] == [4, 1, 0]
    assert [row.pixel_error for row in scores.rows] == [4 / 28, 1 / 28, 0]
    assert (scores.pixel_error, scores.pixel_f_error, scores.warping_error) == (0, 0, 0)

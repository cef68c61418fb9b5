"""Training targets against overlaps counted by hand."""

import numpy as np
import pytest

from pipeline.edges.targets import (
    cells_of_sections,
    contingency,
    difference_probability,
    edge_targets,
    overlaps,
    same_section,
)
from pipeline.errors import InputError

IDS = np.array([5, 9, 20, 31], np.uint64)
SUPERPIXELS = np.array([[[5, 5, 5, 5, 9, 9, 9, 9, 20, 20, 20, 20, 31, 31, 31, 31, 0]]], np.uint64)
#                        all 1       half 1 half 2  all 2        one 2, rest unlabelled
TRUTH = np.array([[[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0, 0, 2, 7]]], np.uint32)


def test_contingency_counts_voxels_and_leaves_out_the_mask():
    counts, labels = contingency(SUPERPIXELS, TRUTH, IDS)
    assert labels.tolist() == [0, 1, 2]
    assert counts.toarray().tolist() == [[0, 4, 0], [0, 2, 2], [0, 0, 4], [3, 0, 1]]


def test_fractions_ignore_unlabelled_voxels():
    result = overlaps(SUPERPIXELS, TRUTH, IDS)
    assert result.fractions.toarray().tolist() == [[1, 0], [0.5, 0.5], [0, 1], [0, 1]]
    assert result.labelled.tolist() == [1, 1, 1, 0.25]


def test_difference_is_the_chance_that_random_voxels_differ():
    uv = np.array([[0, 1], [0, 2], [1, 1], [2, 3]], np.uint64)
    d = difference_probability(uv, overlaps(SUPERPIXELS, TRUTH, IDS).fractions)
    assert d.tolist() == [0.5, 1.0, 0.5, 0.0]


def test_unclear_and_unlabelled_pairs_are_left_out():
    uv = np.array([[0, 1], [0, 2], [2, 3], [0, 3]], np.uint64)
    result = overlaps(SUPERPIXELS, TRUTH, IDS)
    label, keep = edge_targets(uv, result, min_overlap=0.5)
    assert keep.tolist() == [False, True, False, False]
    assert label[keep].tolist() == [1]
    label, keep = edge_targets(uv, result, min_overlap=0.2)
    assert keep.tolist() == [False, True, True, True]
    assert label[keep].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("shared", "label", "keep"), [(35, 1, True), (45, 1, False), (55, 0, False), (65, 0, True)]
)
def test_the_band_between_clear_labels_is_0_4_to_0_6(shared, label, keep):
    superpixels = np.repeat(np.array([1, 2], np.uint64), 100).reshape(1, 2, 100)
    truth = np.ones((1, 2, 100), np.uint32)
    truth[0, 1, shared:] = 2  # d = 1 - shared / 100
    result = edge_targets(
        np.array([[0, 1]], np.uint64), overlaps(superpixels, truth, np.array([1, 2], np.uint64))
    )
    assert (result[0].tolist(), result[1].tolist()) == ([label], [keep])


def test_a_superpixel_without_any_label_is_never_kept():
    truth = np.zeros_like(TRUTH)
    result = overlaps(SUPERPIXELS, truth, IDS)
    _, keep = edge_targets(np.array([[0, 1]], np.uint64), result, min_overlap=0)
    assert keep.tolist() == [False]


def test_a_superpixel_that_is_no_node_is_named():
    with pytest.raises(InputError, match="superpixel 20"):
        overlaps(SUPERPIXELS, TRUTH, IDS[[0, 1, 3]])


def test_shapes_must_agree():
    with pytest.raises(InputError, match="differ in shape"):
        overlaps(SUPERPIXELS, TRUTH[:, :, 1:], IDS)


def test_inputs_stay_as_they_were():
    superpixels, truth = SUPERPIXELS.copy(), TRUTH.copy()
    overlaps(superpixels, truth, IDS)
    assert (superpixels == SUPERPIXELS).all()
    assert (truth == TRUTH).all()


@pytest.mark.parametrize(
    ("limits", "keep"),
    [
        ({}, [True, False, False, True]),
        ({"cut_above": 0.5}, [True, False, True, True]),
        ({"join_below": 0.5}, [True, True, False, True]),
        ({"cut_above": 0.9, "join_below": 0.1}, [False, False, False, False]),
    ],
)
def test_the_limits_of_clear_labels_can_be_chosen(limits, keep):
    superpixels = np.repeat(np.arange(1, 6, dtype=np.uint64), 100).reshape(1, 5, 100)
    truth = np.ones((1, 5, 100), np.uint32)
    for row, shared in enumerate((20, 45, 55, 80)):
        truth[0, row, shared:] = 2  # of the last row, which is all 2, the share 1 - d is 1 - shared
    truth[0, 4] = 2
    uv = np.array([[0, 4], [1, 4], [2, 4], [3, 4]], np.uint64)
    shares = overlaps(superpixels, truth, np.arange(1, 6, dtype=np.uint64))
    assert edge_targets(uv, shares, **limits)[1].tolist() == keep


def test_cells_of_a_section_are_what_its_membranes_enclose():
    drawn = [
        "..#...#.",
        "..#..#..",
        "#####...",
        "........",
    ]
    membranes = np.array([[c == "#" for c in row] for row in drawn])
    both = np.stack([membranes, membranes])
    cells = cells_of_sections(both)
    assert cells.dtype == np.uint64
    assert cells[0].tolist() == [
        [1, 1, 0, 2, 2, 2, 0, 3],
        [1, 1, 0, 2, 2, 0, 3, 3],
        [0, 0, 0, 0, 0, 3, 3, 3],
        [3, 3, 3, 3, 3, 3, 3, 3],
    ]  # 2 and 3 touch by corners only
    np.testing.assert_array_equal(cells[1], np.where(cells[0] > 0, cells[0] + np.uint64(3), 0))


def test_small_cells_count_as_unlabelled_and_leave_no_gap_in_the_ids():
    membranes = np.zeros((2, 3, 7), bool)
    membranes[:, :, [1, 4]] = True  # columns of 3, 6 and 6 pixels
    cells = cells_of_sections(membranes, min_voxels=4)
    assert np.unique(cells[0]).tolist() == [0, 1, 2]
    assert np.unique(cells[1]).tolist() == [0, 3, 4]
    assert (cells[:, :, 0] == 0).all()


def test_pairs_are_of_one_section_if_both_boxes_lie_in_it():
    box = np.array([[0, 0, 0, 1, 4, 4], [0, 4, 4, 1, 8, 8], [1, 0, 0, 2, 4, 4]], np.int64)
    uv = np.array([[0, 1], [0, 2], [1, 2]], np.uint64)
    assert same_section(uv, box).tolist() == [True, False, False]


def test_superpixels_through_several_sections_cannot_learn_from_membranes():
    box = np.array([[0, 0, 0, 2, 4, 4], [0, 4, 4, 1, 8, 8]], np.int64)
    with pytest.raises(InputError, match="1 of 2 superpixels extend"):
        same_section(np.array([[0, 1]], np.uint64), box)

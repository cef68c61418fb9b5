import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pipeline.evaluation import contingency
from pipeline.evaluation.information import variation_of_information
from pipeline.evaluation.slabs import ArraySections
from pipeline.evaluation.worst import object_errors, worst_objects

stacks = hnp.arrays(np.uint16, (2, 2, 4, 5), elements=st.integers(0, 3))


def worst(truth, prediction, count=10, **options):
    table = contingency(truth, prediction)
    return worst_objects(table, ArraySections(prediction, truth), count=count, **options)


def test_a_split_known_by_hand():
    # Neuron 5 of 12 voxels: 9 in piece 1, 3 in piece 2, of 16 voxels in all.
    truth = np.array([[[5] * 12 + [6] * 4]])
    prediction = np.array([[[1] * 9 + [2] * 3 + [3] * 4]])
    (row,) = worst(truth, prediction)
    assert (row.kind, row.id, row.voxels, row.share, row.more_pieces) == ("split", 5, 12, 1, 0)
    assert [(piece.id, piece.voxels) for piece in row.pieces] == [(1, 9), (2, 3)]
    assert row.pieces[0].bits == pytest.approx(9 * math.log2(12 / 9) / 16)
    assert row.pieces[1].bits == pytest.approx(3 * math.log2(12 / 3) / 16)
    assert row.bits == pytest.approx(sum(piece.bits for piece in row.pieces))
    # The middle of the largest piece, and the voxel where the other touches it.
    assert [piece.at for piece in row.pieces] == [(0, 0, 4), (0, 0, 9)]


def test_a_merge_names_the_true_objects_that_were_joined():
    truth = np.array([[[5] * 6 + [6] * 2 + [7] * 8]])
    prediction = np.array([[[9] * 8 + [4] * 8]])
    (row,) = worst(truth, prediction, origin=(3, 0, 100))
    assert (row.kind, row.id, row.voxels) == ("merge", 9, 8)
    assert [piece.id for piece in row.pieces] == [5, 6]
    assert row.pieces[1].at == (3, 0, 106)


def test_the_contact_is_found_in_three_dimensions():
    truth = np.ones((5, 7, 7), int)
    prediction = np.ones((5, 7, 7), int)
    prediction[3:, 2:5, 2:5] = 2
    (row,) = worst(truth, prediction)
    assert prediction[row.pieces[1].at] == 2
    beside = ndimage.binary_dilation(prediction == 1)
    assert beside[row.pieces[1].at]


def test_a_piece_that_touches_nothing_is_shown_at_its_middle():
    truth = np.array([[[5, 5, 5, 5, 0, 5, 5, 5, 0]]])
    prediction = np.array([[[1, 1, 1, 1, 0, 2, 2, 2, 0]]])
    (row,) = worst(truth, prediction)
    assert row.pieces[1].at == (0, 0, 6)


def test_the_worst_come_first_and_only_as_many_as_asked():
    truth = np.array([[[5] * 8 + [6] * 4 + [7] * 4]])
    prediction = np.array([[[1] * 4 + [2] * 4 + [3] * 8]])
    rows = worst(truth, prediction)
    # Both carry half a bit: splits come first.
    assert [(row.kind, row.id, row.bits) for row in rows] == [("split", 5, 0.5), ("merge", 3, 0.5)]
    assert worst(truth, prediction, count=1) == rows[:1]


def test_small_pieces_are_counted_but_not_listed():
    truth = np.ones((1, 1, 9), int)
    prediction = np.array([[[1, 1, 1, 2, 2, 3, 4, 5, 6]]])
    (row,) = worst(truth, prediction, most_pieces=3)
    assert [piece.id for piece in row.pieces] == [1, 2, 3]
    assert row.more_pieces == 3


def test_what_is_not_scored_is_in_no_row():
    truth = np.array([[[5] * 8]])
    prediction = np.array([[[1] * 4 + [2] * 4]])
    scored = np.array([[[False] * 4 + [True] * 4]])
    table = contingency(truth[scored], prediction[scored])
    assert worst_objects(table, ArraySections(prediction, truth, scored), count=3) == []


@settings(deadline=None)
@given(stacks)
def test_bits_of_objects_add_up_to_the_variation_of_information(pair):
    truth, prediction = pair
    table = contingency(truth, prediction)
    voi = variation_of_information(table)
    for kind, whole in (("split", voi.split), ("merge", voi.merge)):
        assert object_errors(table, kind).bits.sum() == pytest.approx(whole, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(stacks)
def test_rows_hold_what_a_count_of_the_arrays_gives(pair):
    truth, prediction = pair
    rows = worst(truth, prediction, count=100)
    assert [row.bits for row in rows] == sorted((row.bits for row in rows), reverse=True)
    for row in rows:
        owner, other = (truth, prediction) if row.kind == "split" else (prediction, truth)
        body = (owner == row.id) & (truth > 0)
        assert row.voxels == body.sum()
        assert sum(p.bits for p in row.pieces) == pytest.approx(row.bits, abs=1e-12)
        for piece in row.pieces:
            assert piece.voxels == np.sum(body & (other == piece.id))
            assert body[piece.at]
            assert other[piece.at] == piece.id
    for kind in ("split", "merge"):
        shares = [row.share for row in rows if row.kind == kind]
        assert not shares or sum(shares) == pytest.approx(1)


@settings(deadline=None, max_examples=50)
@given(stacks, st.permutations(range(1, 4)))
def test_errors_of_objects_merge_over_blocks_and_follow_their_names(pair, names):
    truth, prediction = pair
    whole = contingency(truth, prediction)
    blocks = contingency(truth[:1], prediction[:1]).merge(contingency(truth[1:], prediction[1:]))
    renamed = contingency(np.array([0, *names])[truth], prediction)
    errors, parts, others = (object_errors(table, "split") for table in (whole, blocks, renamed))
    np.testing.assert_array_equal(errors.bits, parts.bits)
    by_name = dict(zip(others.ids.tolist(), others.bits.tolist(), strict=True))
    for name, bits in zip(errors.ids.tolist(), errors.bits.tolist(), strict=True):
        assert by_name[names[name - 1]] == pytest.approx(bits, abs=1e-12)

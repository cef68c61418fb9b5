import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.errors import InputError
from pipeline.evaluation import Contingency, contingency

LARGEST = 2**64 - 1
volumes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 4)),
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 4)),
    )
)


def rows(table: Contingency) -> list[tuple[int, int, int]]:
    return list(
        zip(table.truth.tolist(), table.prediction.tolist(), table.counts.tolist(), strict=True)
    )


def reference_rows(truth, prediction, ignore=(0,)):
    counts: dict[tuple[int, int], int] = {}
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t not in ignore:
            counts[t, p] = counts.get((t, p), 0) + 1
    return [(t, p, n) for (t, p), n in sorted(counts.items())]


def test_pairs_are_counted_across_interrupted_runs():
    truth = np.array([[1, 1, 2], [0, 1, 2]])
    prediction = np.array([[5, 6, 6], [6, 5, 0]])
    assert rows(contingency(truth, prediction)) == [(1, 5, 2), (1, 6, 1), (2, 0, 1), (2, 6, 1)]


def test_the_largest_ids_are_told_apart():
    truth = np.array([LARGEST, LARGEST - 1, LARGEST], np.uint64)
    prediction = np.array([LARGEST, LARGEST, 0], np.uint64)
    assert rows(contingency(truth, prediction)) == [
        (LARGEST - 1, LARGEST, 1),
        (LARGEST, 0, 1),
        (LARGEST, LARGEST, 1),
    ]


@settings(deadline=None)
@given(volumes)
def test_equals_a_count_voxel_by_voxel(pair):
    assert rows(contingency(*pair)) == reference_rows(*pair)


@settings(deadline=None)
@given(volumes, st.sets(st.integers(0, 4)))
def test_only_ignored_true_ids_are_left_out(pair, ignored):
    assert rows(contingency(*pair, ignore_truth=ignored)) == reference_rows(*pair, ignored)


@settings(deadline=None)
@given(volumes, st.integers(0, 2), st.integers(0, 6))
def test_merged_parts_equal_the_whole_in_either_order(pair, axis, at):
    first, second = (
        contingency(*parts)
        for parts in zip(*(np.split(a, [min(at, a.shape[axis])], axis) for a in pair), strict=True)
    )
    whole = rows(contingency(*pair))
    assert rows(first.merge(second)) == whole
    assert rows(second.merge(first)) == whole


@settings(deadline=None)
@given(volumes)
def test_sizes_are_the_sums_of_the_table(pair):
    truth, prediction = pair
    table = contingency(truth, prediction, ignore_truth=())
    assert table.truth_sizes.tolist() == np.unique(truth, return_counts=True)[1].tolist()
    assert table.prediction_sizes.tolist() == np.unique(prediction, return_counts=True)[1].tolist()
    assert table.total == truth.size


def test_rows_of_predicted_ids_can_be_left_out():
    table = contingency(np.array([1, 1, 2]), np.array([0, 3, 3]))
    assert rows(table.without_prediction((0,))) == [(1, 3, 1), (2, 3, 1)]


def test_strided_arrays_are_counted_and_left_unchanged():
    truth = np.arange(24, dtype=np.int16).reshape(2, 3, 4)[:, ::-1, ::2]
    before = truth.copy()
    assert rows(contingency(truth, truth)) == [(i, i, 1) for i in sorted(truth.ravel()) if i]
    assert np.array_equal(truth, before)


def test_nothing_but_ignored_ids_gives_an_empty_table():
    assert rows(contingency(np.zeros(3, int), np.arange(3))) == []
    assert contingency(np.zeros((0, 2), int), np.zeros((0, 2), int)).total == 0


def test_shapes_that_differ_are_quoted():
    with pytest.raises(InputError, match=r"\(3, 2\).*\(2, 3\)"):
        contingency(np.zeros((2, 3), int), np.zeros((3, 2), int))


@pytest.mark.parametrize("swap", [False, True])
def test_probabilities_are_not_ids(swap):
    pair = [np.zeros(3, int), np.zeros(3, np.float32)]
    with pytest.raises(InputError, match="float32"):
        contingency(*(pair[::-1] if swap else pair))


def test_negative_ids_are_refused():
    with pytest.raises(InputError, match="-4"):
        contingency(np.array([1, -4]), np.array([1, 1]))

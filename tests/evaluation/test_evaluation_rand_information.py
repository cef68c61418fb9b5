import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import metrics

from pipeline.evaluation import Contingency, contingency
from pipeline.evaluation.information import cremi_score, entropy, variation_of_information
from pipeline.evaluation.rand import adapted_rand, rand_index

pairs = st.integers(2, 40).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.int64, size, elements=st.integers(0, 4)),
        hnp.arrays(np.int64, size, elements=st.integers(0, 4)),
    )
)


def reference_pair_counts(truth, prediction):
    """Pairs joined by both, by prediction, by truth, and treated alike; all pairs."""
    both = predicted = true = alike = every = 0
    for (t, p), (u, q) in itertools.combinations(zip(truth, prediction, strict=True), 2):
        if t and u:
            both += t == u and p == q
            predicted += p == q
            true += t == u
            alike += (t == u) == (p == q)
            every += 1
    return both, predicted, true, alike, every


def test_adapted_rand_of_a_false_merge_known_by_hand():
    # Pairs: truth joins 3 + 1, the prediction all 10, both 4.
    scores = adapted_rand(contingency(np.array([1, 1, 1, 2, 2]), np.full(5, 9)))
    assert scores.precision == pytest.approx(0.4)
    assert scores.recall == 1
    assert scores.error == pytest.approx(1 - 2 * 0.4 / 1.4)


def test_adapted_rand_of_a_false_split_lowers_recall_only():
    scores = adapted_rand(contingency(np.full(4, 1), np.array([1, 1, 2, 2])))
    assert (scores.precision, scores.recall) == (1, pytest.approx(1 / 3))


def test_predicted_zero_is_a_segment_like_any_other():
    truth = np.array([1, 1, 2, 2, 0])
    with_zero = contingency(truth, np.array([0, 0, 0, 5, 5]))
    renamed = contingency(truth, np.array([7, 7, 7, 5, 5]))
    assert adapted_rand(with_zero) == adapted_rand(renamed)
    assert adapted_rand(with_zero).precision == pytest.approx(1 / 3)


@settings(deadline=None)
@given(pairs)
def test_rand_scores_equal_a_count_of_all_pairs(pair):
    both, predicted, true, alike, every = reference_pair_counts(*pair)
    table = contingency(*pair)
    scores = adapted_rand(table)
    assert scores.precision == (both / predicted if predicted else 1)
    assert scores.recall == (both / true if true else 1)
    assert rand_index(table) == (alike / every if every else 1)


@settings(deadline=None)
@given(pairs)
def test_adapted_rand_agrees_with_scikit_image(pair):
    truth, prediction = pair
    table = contingency(truth, prediction)
    assume(table.truth_sizes.max(initial=0) > 1 and table.prediction_sizes.max() > 1)
    scores = adapted_rand(table)
    error, *sides = metrics.adapted_rand_error(truth, prediction)
    assert scores.error == pytest.approx(error, abs=1e-12)
    # scikit-image 0.26 returns the two sides in the opposite order to its documentation.
    assert sorted([scores.precision, scores.recall]) == pytest.approx(sorted(sides), abs=1e-12)


@settings(deadline=None)
@given(pairs)
def test_variation_of_information_agrees_with_scikit_image(pair):
    truth, prediction = pair
    kept = truth > 0
    assume(kept.any())
    voi = variation_of_information(contingency(truth, prediction))
    expected = metrics.variation_of_information(truth[kept], prediction[kept])
    assert (voi.split, voi.merge) == pytest.approx(tuple(expected), abs=1e-12)


def test_scores_agree_with_elf():
    elf = pytest.importorskip("elf.evaluation")
    rng = np.random.default_rng(3)
    truth, prediction = rng.integers(0, 9, (2, 6, 40, 40))
    table = contingency(truth, prediction)
    split, merge, error, cremi = elf.cremi_score(prediction, truth, ignore_gt=[0])
    voi = variation_of_information(table)
    assert (voi.split, voi.merge) == pytest.approx((split, merge), abs=1e-9)
    # elf counts a voxel as a pair with itself, hence the tolerance.
    assert adapted_rand(table).error == pytest.approx(error, abs=1e-3)
    assert cremi_score(table) == pytest.approx(cremi, rel=1e-3)


def test_halving_an_object_costs_one_bit_of_split():
    voi = variation_of_information(contingency(np.ones(8, int), np.repeat([3, 4], 4)))
    assert (voi.split, voi.merge) == (1, 0)


def test_joining_four_equal_objects_costs_two_bits_of_merge():
    voi = variation_of_information(contingency(np.repeat([1, 2, 3, 4], 4), np.ones(16, int)))
    assert (voi.split, voi.merge) == (0, 2)


def test_cremi_score_is_the_geometric_mean():
    table = contingency(np.array([1, 1, 2, 2]), np.ones(4, int))
    # One bit of merge; precision 2 / 6, recall 1, so the error is 1 / 2.
    assert cremi_score(table) == pytest.approx(math.sqrt(0.5))


@settings(deadline=None)
@given(pairs, st.permutations(range(5)), st.permutations(range(1, 5)))
def test_renaming_ids_changes_no_bit_of_any_score(pair, predicted_names, true_names):
    truth, prediction = pair
    table = contingency(truth, prediction)
    renamed = contingency(
        np.array([0, *true_names])[truth], np.array(predicted_names)[prediction] * 10**9
    )
    for score in (adapted_rand, rand_index, variation_of_information, cremi_score):
        assert score(renamed) == score(table)


@settings(deadline=None)
@given(pairs)
def test_truth_against_itself_is_perfect(pair):
    truth, _ = pair
    table = contingency(truth, truth)
    assert (adapted_rand(table).error, rand_index(table)) == (0, 1)
    assert variation_of_information(table).total == 0


def test_petavoxel_counts_do_not_overflow():
    ids = np.array([1, 2], np.uint64)
    table = Contingency(ids, np.array([5, 5], np.uint64), np.full(2, 2**49, np.uint64))
    assert adapted_rand(table).precision == pytest.approx(0.5, abs=1e-12)
    assert variation_of_information(table).merge == 1


def test_entropy_of_shares_known_by_hand():
    assert entropy(np.array([4, 2, 2], np.uint64), 8) == 1.5

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment
from sklearn import metrics

from pipeline.evaluation import contingency
from pipeline.evaluation.instance import (
    PERCENTS,
    aggregated_jaccard,
    average_precision,
    instance_scores,
    overlaps,
    ranked_average_precision,
)

pairs = st.integers(1, 40).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.int64, size, elements=st.integers(0, 4)),
        hnp.arrays(np.int64, size, elements=st.integers(0, 4)),
    )
)


def table(truth, prediction):
    return contingency(np.asarray(truth), np.asarray(prediction), ignore_truth=())


def reference_matches(truth, prediction, percent):
    """Predicted ids with a partner, by optimal assignment of the pairs that reach the IoU."""
    true, predicted = (np.unique(ids[ids > 0]) for ids in (truth, prediction))
    reach = np.zeros((true.size, predicted.size))
    for i, t in enumerate(true):
        for j, p in enumerate(predicted):
            both = np.sum((truth == t) & (prediction == p))
            reach[i, j] = 100 * both >= percent * np.sum((truth == t) | (prediction == p))
    rows, columns = linear_sum_assignment(-reach)
    return true.size, predicted.size, predicted[columns[reach[rows, columns] > 0]]


def test_scores_known_by_hand():
    # a (4 voxels) is found with IoU 3 / 4, b (3) is missed by an object beside it (2 voxels of
    # background and 1 of b: IoU 1 / 5), c (2) exactly.
    truth = [1, 1, 1, 1, 2, 2, 2, 0, 0, 3, 3]
    prediction = [5, 5, 5, 0, 0, 0, 6, 6, 6, 7, 7]
    scores = instance_scores(table(truth, prediction))
    assert (scores.ap_50, scores.ap_75) == (2 / 4, 2 / 4)
    # IoU .5 .. .75: 2 of 3 are found; above: 1 of 3.
    assert scores.mean_ap == pytest.approx((6 * 2 / 4 + 4 * 1 / 5) / 10)
    assert scores.aji == 6 / 11
    assert (scores.sq, scores.rq) == (1.75 / 2, 4 / 6)
    assert scores.pq == scores.sq * scores.rq
    # By size: two of 3 voxels, one of them right, then c: 1/3 * 1/2 + 1/3 * 2/3.
    assert scores.ranked_ap_50 == pytest.approx(1 / 6 + 2 / 9)


def test_a_prediction_that_nobody_takes_and_a_missed_object_add_to_the_union_of_aji():
    # 1 takes 5 (IoU 2/3); 2 overlaps nothing; 6 and 7 are taken by nobody.
    found = overlaps(table([1, 1, 1, 2, 2, 0, 0], [5, 5, 6, 0, 0, 7, 7]))
    assert aggregated_jaccard(found) == 2 / (3 + 2 + 1 + 2)


def test_of_two_halves_one_matches_at_an_iou_of_one_half_and_none_for_panoptic_quality():
    for truth, prediction in (([1, 1, 2, 2], [9] * 4), ([9] * 4, [1, 1, 2, 2])):
        scores = instance_scores(table(truth, prediction))
        assert scores.ap_50 == 1 / 2
        assert (scores.ap_75, scores.pq) == (0, 0)


def test_nothing_to_find_and_nothing_found_is_perfect_and_anything_found_is_not():
    empty = instance_scores(table([0, 0], [0, 0]))
    assert set(vars(empty).values()) == {1.0}
    assert set(vars(instance_scores(table([0, 0], [0, 3]))).values()) == {0.0}
    assert set(vars(instance_scores(table([0, 3], [0, 0]))).values()) == {0.0}


@settings(deadline=None)
@given(pairs)
def test_matches_equal_an_optimal_assignment(pair):
    truth, prediction = pair
    found = overlaps(table(truth, prediction))
    for percent in PERCENTS:
        true, predicted, matched = reference_matches(truth, prediction, percent)
        objects = true + predicted - matched.size
        expected = matched.size / objects if objects else 1
        assert average_precision(found, percent) == expected


@settings(deadline=None)
@given(pairs, st.sampled_from([55, 75, 95]))
def test_the_ranked_precision_agrees_with_scikit_learn(pair, percent):
    truth, prediction = pair
    true, predicted, matched = reference_matches(truth, prediction, percent)
    names, sizes = np.unique(prediction[prediction > 0], return_counts=True)
    found = ranked_average_precision(overlaps(table(truth, prediction)), percent)
    if not matched.size:
        assert found == (not true and not predicted)
    else:
        area = metrics.average_precision_score(np.isin(names, matched), sizes)
        assert found == pytest.approx(area * matched.size / true, abs=1e-12)


def test_scores_agree_with_elf():
    elf = pytest.importorskip("elf.evaluation")
    rng = np.random.default_rng(5)
    truth = np.kron(np.arange(36).reshape(6, 6), np.ones((8, 8), int))
    prediction = np.where(rng.random(truth.shape) < 0.12, 0, np.roll(truth, 1, axis=1))
    prediction[prediction == 7] = 8
    scores = instance_scores(table(truth, prediction))
    mean, single = elf.mean_segmentation_accuracy(prediction, truth, return_accuracies=True)
    assert scores.mean_ap == pytest.approx(mean, abs=1e-12)
    assert 0 < scores.mean_ap < scores.ap_50 < 1
    # Panoptic quality wants more than one half.
    above_50 = elf.matching(prediction, truth, threshold=np.nextafter(0.5, 1))
    assert (scores.ap_50, scores.ap_75) == pytest.approx((single[0], single[5]), abs=1e-12)
    assert scores.rq == pytest.approx(above_50["f1"], abs=1e-12)


@settings(deadline=None)
@given(pairs, st.integers(0, 40), st.permutations(range(1, 5)), st.permutations(range(1, 5)))
def test_blocks_merge_and_names_do_not_matter(pair, cut, true_names, predicted_names):
    truth, prediction = pair
    whole = instance_scores(table(truth, prediction))
    blocks = table(truth[:cut], prediction[:cut]).merge(table(truth[cut:], prediction[cut:]))
    assert instance_scores(blocks) == whole
    renamed = instance_scores(
        table(np.array([0, *true_names])[truth], np.array([0, *predicted_names])[prediction])
    )
    for name, value in vars(whole).items():
        if name != "aji":  # which of two equal partners is taken depends on the names there
            assert getattr(renamed, name) == value

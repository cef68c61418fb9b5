"""Calibrated probabilities: known values, laws, and errors counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.forests import Forest
from pipeline.forests.calibration import (
    BINS,
    MIN_ROWS,
    cross_calibrated,
    fit_calibration,
    reliability,
    with_calibration,
)


def drawn(n, truth, seed=0):
    """Votes over 0..1, and labels that are cut with the probability truth(vote)."""
    rng = np.random.default_rng(seed)
    votes = rng.random(n)
    return votes, rng.random(n) < truth(votes)


def test_the_map_finds_the_curve_that_the_labels_were_drawn_from():
    votes, labels = drawn(50_000, lambda v: v**2)
    asked = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(fit_calibration(votes, labels)(asked), asked**2, atol=0.03)


def test_the_knots_are_the_shares_of_equally_filled_bins():
    votes = np.arange(BINS * 10) / (BINS * 10)
    labels = np.arange(BINS * 10) % 10 < np.arange(BINS * 10) // 10 * 10 // BINS  # rises by bin
    found = fit_calibration(votes, labels)
    cuts = labels.reshape(BINS, 10).sum(axis=1)
    assert (np.diff(cuts) >= 0).all()
    expected = np.unique((cuts + 0.5) / 11)  # half a cut and half a join are added
    np.testing.assert_allclose(found.y[1:-1], expected, rtol=1e-6)
    assert (found.x[0], found.x[-1]) == (0, 1)


def test_beyond_the_outer_bins_the_lines_go_on_but_never_reach_0_or_1():
    n = BINS * 100
    votes = np.arange(n) / n
    steep = np.arange(n) % 100 < np.clip(np.arange(n) // 100 * 10 - 20, 0, 100)
    found = fit_calibration(votes, steep)
    assert found.y[0] == pytest.approx(found.y[1] / 2)
    assert found.y[-1] == pytest.approx((1 + found.y[-2]) / 2)
    flat = np.arange(n) % 100 < 40 + np.arange(n) // 100
    found = fit_calibration(votes, flat)
    for end, inner, next_one in ((0, 1, 2), (-1, -2, -3)):
        slope = (found.y[next_one] - found.y[inner]) / (found.x[next_one] - found.x[inner])
        on = found.y[inner] + slope * (found.x[end] - found.x[inner])
        assert found.y[end] == pytest.approx(on, abs=1e-5)


def test_votes_of_one_value_all_get_the_observed_share():
    found = fit_calibration(np.full(200, 0.25), np.arange(200) < 50)
    assert found(np.array([0.0, 0.25, 1.0])) == pytest.approx([0.25] * 3, abs=0.02)


def test_bins_whose_share_falls_are_pooled_to_their_mean():
    n = BINS * 20
    votes = np.arange(n) / n
    rising = np.arange(n) % 20 < np.arange(n) // 20 * 20 // BINS
    swapped = rising.copy()
    swapped[100:120], swapped[120:140] = rising[120:140], rising[100:120]
    found = fit_calibration(votes, swapped)
    pooled = (rising[100:140].sum() + 1) / 42
    at = np.argmin(np.abs(found.x - votes[100:140].mean()))
    assert found.x[at] == pytest.approx(votes[100:140].mean())
    assert found.y[at] == pytest.approx(pooled)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 2000), st.integers(1, 50), st.floats(0.05, 0.95))
def test_any_map_is_monotone_within_0_1_and_fits_a_forest(seed, n, distinct, share):
    rng = np.random.default_rng(seed)
    votes = rng.integers(0, distinct + 1, n) / distinct
    labels = rng.random(n) < share
    weights = rng.uniform(0.1, 3, n)
    found = fit_calibration(votes, labels, weights)
    with_calibration(LEAF, found)  # refuses knots that do not rise or leave 0..1
    p_cut = found(np.linspace(0, 1, 101))
    assert (np.diff(p_cut) >= 0).all()
    if len(found.x):
        assert p_cut[0] > 0
        assert p_cut[-1] < 1
    if len(np.unique(found.y)) > 1:
        assert (np.diff(found.y) > 0).all()  # the rank of votes is kept


LEAF = Forest(
    children_left=np.array([-1], np.int32),
    children_right=np.array([-1], np.int32),
    feature=np.array([-1], np.int16),
    threshold=np.zeros(1, np.float32),
    value=np.zeros(1, np.float32),
    tree_offsets=np.array([0, 1], np.int32),
    feature_names=(),
)


def test_few_rows_or_one_class_leave_the_votes_as_they_are():
    for votes, labels in (
        drawn(MIN_ROWS - 1, lambda v: v),
        (np.linspace(0, 1, 500), np.ones(500, bool)),
        (np.linspace(0, 1, 500), np.zeros(500, bool)),
    ):
        found = fit_calibration(votes, labels)
        assert len(found.x) == 0
        np.testing.assert_array_equal(found(votes), votes.astype(np.float32))


def test_a_row_counts_as_often_as_its_weight_says():
    votes, labels = drawn(4000, lambda v: v)
    weighted = fit_calibration(votes, labels, np.where(labels, 3.0, 1.0))
    # Odds times three: p = 3 v / (3 v + 1 - v).
    asked = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(weighted(asked), 3 * asked / (1 + 2 * asked), atol=0.06)


def test_all_weights_alike_change_nothing():
    votes, labels = drawn(1000, lambda v: v)
    plain, doubled = (
        fit_calibration(votes, labels),
        fit_calibration(votes, labels, np.full(1000, 2)),
    )
    np.testing.assert_allclose(plain.y, doubled.y, rtol=1e-6)


def test_no_row_is_calibrated_by_its_own_label():
    votes, labels = drawn(1000, lambda v: v)
    folds = np.arange(1000) * 5 // 1000
    before = cross_calibrated(votes, labels, folds)
    for fold in range(5):
        turned = np.where(folds == fold, ~labels, labels)
        after = cross_calibrated(votes, turned, folds)
        np.testing.assert_array_equal(after[folds == fold], before[folds == fold])
        assert (after[folds != fold] != before[folds != fold]).any()


def test_each_fold_takes_the_map_of_the_others():
    votes, labels = drawn(900, lambda v: v)
    folds = np.arange(900) % 3
    found = cross_calibrated(votes, labels, folds)
    for fold in range(3):
        others = fit_calibration(votes[folds != fold], labels[folds != fold])
        np.testing.assert_array_equal(found[folds == fold], others(votes[folds == fold]))


def test_noise_stays_noise_after_cross_calibration():
    rng = np.random.default_rng(0)
    votes, labels = rng.random(3000), rng.random(3000) < 0.5
    p_cut = cross_calibrated(votes, labels, np.arange(3000) % 5)
    assert np.abs(p_cut - 0.5).max() < 0.3
    assert reliability(p_cut, labels).error < 0.05


def test_reliability_and_expected_calibration_error_by_hand():
    p_cut = np.array([0.0, 0.1, 0.3, 0.3, 0.3, 1.0])
    labels = np.array([0, 1, 0, 0, 1, 1])
    found = reliability(p_cut, labels, bins=4)
    assert found.count.tolist() == [2, 3, 0, 1]
    np.testing.assert_allclose(found.predicted, [0.05, 0.3, np.nan, 1])
    np.testing.assert_allclose(found.observed, [0.5, 1 / 3, np.nan, 1])
    assert found.error == pytest.approx((2 * 0.45 + 3 * (1 / 3 - 0.3) + 0) / 6)


def test_a_perfectly_calibrated_table_has_no_error():
    assert reliability(np.repeat([0.25, 0.75], 4), [0, 0, 0, 1, 1, 1, 1, 0]).error == 0


def test_no_rows_have_no_error():
    assert reliability(np.zeros(0), np.zeros(0)).error == 0

"""Trees on binned columns, against exhaustive search, and against scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from pipeline.forests import Growth, learn_forest, predict
from pipeline.forests.growing import BINS, best_bin, bin_limits, binned, most_nodes


def test_few_values_are_told_apart_by_limits_between_them():
    column = np.array([3, 1, 1, 7, 3], np.float32)
    assert bin_limits(column).tolist() == [2, 5]
    assert binned(column[:, None])[0].tolist() == [[1, 0, 0, 2, 1]]


def test_neighbouring_floats_are_told_apart():
    low = np.float32(1)
    column = np.array([low, np.nextafter(low, np.float32(2))], np.float32)
    assert binned(column[:, None])[0].tolist() == [[0, 1]]


def test_a_constant_column_has_one_bin():
    bins, limits = binned(np.full((9, 1), 4, np.float32))
    assert bins.tolist() == [[0] * 9]
    assert len(limits[0]) == 0


def test_many_values_fill_the_bins_equally():
    column = np.random.default_rng(0).exponential(size=20_000).astype(np.float32)
    bins, limits = binned(column[:, None])
    assert len(limits[0]) == BINS - 1
    count = np.bincount(bins[0], minlength=BINS)
    assert count.min() > 0.9 * 20_000 / BINS
    assert count.max() < 1.1 * 20_000 / BINS


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(1, 600))
def test_a_value_lies_in_a_bin_or_below_exactly_if_it_is_within_the_limit(seed, n, distinct):
    rng = np.random.default_rng(seed)
    column = (rng.integers(0, distinct, n) / np.float32(7)).astype(np.float32)
    bins, limits = binned(column[:, None])
    assert (np.diff(limits[0]) > 0).all()
    for place, limit in enumerate(limits[0]):
        np.testing.assert_array_equal(bins[0] <= place, column <= limit)


def gini_gain(histogram, place):
    """Weighted fall of the impurity 1 - sum p^2, halved, if bins up to a place go left."""

    def impurity(side):
        total = side.sum()
        return total * (1 - ((side / total) ** 2).sum())

    left, right = histogram[: place + 1].sum(axis=0), histogram[place + 1 :].sum(axis=0)
    return impurity(left + right) - impurity(left) - impurity(right)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 4))
def test_the_best_bin_is_that_of_an_exhaustive_search(seed, bins, min_leaf):
    rng = np.random.default_rng(seed)
    count = rng.integers(0, 4, bins)
    histogram = rng.random((bins, 2)) * count[:, None] + 1e-3 * (count[:, None] > 0)
    gain, place, filled = best_bin(histogram, count, min_leaf)
    allowed = [
        b
        for b in range(bins - 1)
        if count[: b + 1].sum() >= min_leaf and count[b + 1 :].sum() >= min_leaf
    ]
    assert filled == (count > 0).sum()
    if not allowed:
        assert gain < 0
        return
    best = max(gini_gain(histogram, b) for b in allowed)
    assert gain == pytest.approx(best, abs=1e-9)
    assert gini_gain(histogram, place) == pytest.approx(best, abs=1e-9)


def test_a_split_lies_in_the_middle_of_the_empty_bins_beside_it():
    histogram, count = np.zeros((10, 2)), np.zeros(10, np.int64)
    histogram[1], histogram[7], count[[1, 7]] = (5, 0), (0, 5), 5
    assert best_bin(histogram, count, 1) == (pytest.approx(5), 3, 2)


def test_a_tree_on_all_columns_decides_as_the_best_cuts_do():
    grid = np.array(list(itertools.product(range(8), range(8))) * 5, np.float32)
    cut = (grid[:, 0] > 4) ^ (grid[:, 1] > 2)
    growth = Growth(30, 4, 1, max_features=1.0, balanced=False)
    learned = learn_forest(grid, cut, ("y", "x"), growth, seed=0)
    assert ((predict(learned.forest, grid, ("y", "x")) > 0.5) == cut).all()


def test_leaves_and_nodes_stay_within_their_limits():
    rng = np.random.default_rng(0)
    features = rng.random((300, 4)).astype(np.float32)
    cut = rng.random(300) < 0.5
    for depth, leaf in ((3, 1), (20, 1), (20, 25), (1, 150)):
        learned = learn_forest(features, cut, tuple("abcd"), Growth(5, depth, leaf), seed=1)
        forest = learned.forest
        assert forest.depth <= depth
        sizes = np.diff(forest.tree_offsets)
        assert (sizes <= most_nodes(300, depth, leaf)).all()
        for tree in range(5):
            rows = features[learned.seen[tree]]
            place = np.full(len(rows), forest.tree_offsets[tree])
            for _ in range(depth):
                inner = forest.feature[place] >= 0
                value = rows[np.arange(len(rows)), np.maximum(forest.feature[place], 0)]
                left = value <= forest.threshold[place]
                child = np.where(left, forest.children_left[place], forest.children_right[place])
                place = np.where(inner, child, place)
            assert np.unique(place, return_counts=True)[1].min() >= min(leaf, len(rows))


def test_values_are_the_shares_of_cuts_among_the_rows_seen():
    rng = np.random.default_rng(3)
    features = rng.integers(0, 2, (200, 1)).astype(np.float32)
    cut = rng.random(200) < np.where(features[:, 0] > 0, 0.8, 0.3)
    growth = Growth(1, 1, 1, balanced=False, max_features=1.0)
    learned = learn_forest(features, cut, ("a",), growth, seed=5)
    draws = np.random.default_rng((5, 0)).integers(0, 200, 200)
    for value in (0, 1):
        expected = cut[draws][features[draws, 0] == value].mean()
        found = predict(learned.forest, np.array([[value]], np.float32), ("a",))[0]
        assert found == pytest.approx(expected, abs=1e-6)


def test_it_learns_as_well_as_scikit_learn():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6000, 10)).astype(np.float32)
    score = features[:, 0] + features[:, 1] * features[:, 2] + rng.normal(size=6000)
    cut = score > 0.5
    train, test = slice(0, 3000), slice(3000, None)
    names = tuple("abcdefghij")
    learned = learn_forest(features[train], cut[train], names, Growth(40, 8, 10), seed=0)
    peer = RandomForestClassifier(
        40, max_depth=8, min_samples_leaf=10, class_weight="balanced", random_state=0
    ).fit(features[train], cut[train])
    ours = roc_auc_score(cut[test], predict(learned.forest, features[test], names))
    theirs = roc_auc_score(cut[test], peer.predict_proba(features[test])[:, 1])
    assert ours > theirs - 0.01
    assert ours > 0.8
    assert np.corrcoef(learned.importance, peer.feature_importances_)[0, 1] > 0.95

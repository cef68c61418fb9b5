"""A forest of plain arrays decides exactly as scikit-learn's."""

from dataclasses import replace

import numpy as np
import pytest
from scikit_forest import as_arrays
from sklearn.ensemble import RandomForestClassifier

from pipeline.errors import InputError, ModelError
from pipeline.forests import Forest, Growth, count_votes, fit_forest, learn_forest, predict
from pipeline.forests.model import ARRAYS
from pipeline.forests.prediction import TASK_ROWS

NAMES = ("a", "b", "c")


def noisy_rows(rows, seed=0):
    """Features rounded to sixteenths, so that rows often lie exactly on thresholds."""
    rng = np.random.default_rng(seed)
    features = (rng.integers(-40, 40, (rows, 3)) / 16).astype(np.float32)
    return features, features[:, 0] + features[:, 1] ** 2 + rng.normal(size=rows) > 1


def stump(threshold=0.5):
    return Forest(
        children_left=np.array([1, -1, -1], np.int32),
        children_right=np.array([2, -1, -1], np.int32),
        feature=np.array([1, -1, -1], np.int16),
        threshold=np.array([threshold, 0, 0], np.float32),
        value=np.array([0.5, 0.25, 0.75], np.float32),
        tree_offsets=np.array([0, 3], np.int32),
        feature_names=NAMES,
    )


@pytest.mark.parametrize("min_leaf", [1, 20])
def test_predictions_equal_those_of_scikit_learn(min_leaf):
    features, cut = noisy_rows(3000)
    model = RandomForestClassifier(12, min_samples_leaf=min_leaf, random_state=3).fit(features, cut)
    unseen = np.concatenate([features, noisy_rows(9000, seed=1)[0]])
    expected = model.predict_proba(unseen)[:, 1]
    assert expected.std() > 0.1
    np.testing.assert_allclose(predict(as_arrays(model, NAMES), unseen, NAMES), expected, atol=1e-6)


def test_thresholds_that_float32_cannot_hold_decide_the_same():
    below = np.float32(4.1)
    features = np.array([below, np.nextafter(below, np.float32(9))] * 20, np.float32)[:, None]
    model = RandomForestClassifier(3, random_state=0).fit(features, features[:, 0] > below)
    thresholds = np.concatenate([tree.tree_.threshold for tree in model.estimators_])
    assert (thresholds != thresholds.astype(np.float32)).any()
    p_cut = predict(as_arrays(model, ("a",)), features, ("a",))
    np.testing.assert_array_equal(p_cut, np.tile(np.float32([0, 1]), 20))


def test_a_value_on_the_threshold_goes_left():
    rows = np.array([[9, 0.5, 9], [9, 0.500001, 9], [9, -3, 9]], np.float32)
    assert predict(stump(), rows, NAMES).tolist() == [0.25, 0.75, 0.25]


def test_prediction_is_the_mean_over_trees_of_different_depth():
    one = stump()
    leaf = replace(
        one,
        children_left=np.array([1, -1, -1, -1], np.int32),
        children_right=np.array([2, -1, -1, -1], np.int32),
        feature=np.array([1, -1, -1, -1], np.int16),
        threshold=np.array([0.5, 0, 0, 0], np.float32),
        value=np.array([0.5, 0.25, 0.75, 1.0], np.float32),
        tree_offsets=np.array([0, 3, 4], np.int32),
    )
    rows = np.array([[0, 0, 0], [0, 1, 0]], np.float32)
    assert predict(leaf, rows, NAMES).tolist() == [0.625, 0.875]


def test_no_rows_give_no_probabilities():
    assert predict(stump(), np.zeros((0, 3), np.float32), NAMES).shape == (0,)


def test_missing_columns_are_all_named():
    with pytest.raises(ModelError, match=r"not there: a, c$"):
        predict(stump(), np.zeros((1, 3), np.float32), ("x", "b", "y"))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_columns_are_found_by_name_in_any_order_and_others_are_not_looked_at(order):
    features, cut = noisy_rows(500)
    forest, _ = fitted(features, cut)
    table = np.full((500, 5), np.nan, np.float32)
    names = ["before", "x", "x", "x", "after"]
    for place, column in enumerate(order, 1):
        table[:, place] = features[:, column]
        names[place] = NAMES[column]
    np.testing.assert_array_equal(predict(forest, table, names), predict(forest, features, NAMES))


def test_a_table_in_columns_or_in_double_precision_gives_the_same():
    features, cut = noisy_rows(300)
    forest, _ = fitted(features, cut)
    expected = predict(forest, features, NAMES)
    for table in (np.asfortranarray(features), features.astype(np.float64)):
        np.testing.assert_array_equal(predict(forest, table, NAMES), expected)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, TASK_ROWS + 1, 3 * TASK_ROWS])
def test_any_number_of_rows_and_threads_gives_what_rows_alone_give(rows):
    features, cut = noisy_rows(rows + 200, seed=rows)
    forest, _ = fitted(features[-200:], cut[-200:], trees=7)
    one = predict(forest, features[:rows], NAMES)
    np.testing.assert_array_equal(predict(forest, features[:rows], NAMES, threads=3), one)
    sample = np.unique(np.linspace(0, rows - 1, 40).astype(int))
    np.testing.assert_array_equal(one[sample], [alone(forest, features[r]) for r in sample])


def alone(forest, row):
    """P(cut) of one row, walked down tree by tree."""
    total = 0.0
    for root in forest.tree_offsets[:-1]:
        node = root
        while forest.feature[node] >= 0:
            left = row[forest.feature[node]] <= forest.threshold[node]
            node = forest.children_left[node] if left else forest.children_right[node]
        total += float(forest.value[node])
    return np.float32(total / forest.trees)


def test_a_forest_without_any_split_needs_no_column():
    leaf = Forest(
        children_left=np.array([-1], np.int32),
        children_right=np.array([-1], np.int32),
        feature=np.array([-1], np.int16),
        threshold=np.zeros(1, np.float32),
        value=np.array([0.25], np.float32),
        tree_offsets=np.array([0, 1], np.int32),
        feature_names=(),
    )
    assert predict(leaf, np.zeros((2, 0), np.float32), ()).tolist() == [0.25, 0.25]


def test_trees_that_are_skipped_do_not_vote():
    one, two = stump(), replace(stump(), value=np.array([0.5, 0, 1], np.float32))
    both = replace(
        one,
        **{
            name: np.concatenate([getattr(one, name), getattr(two, name)])
            for name in ("feature", "threshold", "value")
        },
        children_left=np.array([1, -1, -1, 4, -1, -1], np.int32),
        children_right=np.array([2, -1, -1, 5, -1, -1], np.int32),
        tree_offsets=np.array([0, 3, 6], np.int32),
    )
    skip = np.array([[False, True, False, True], [False, False, True, True]])
    mean, votes = count_votes(both, np.zeros((4, 3), np.float32), NAMES, skip=skip)
    assert mean.tolist() == [0.125, 0, 0.25, 0.5]
    assert votes.tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize("shape", [(2, 4), (1, 3), (1, 5)])
def test_skip_of_other_shape_is_refused(shape):
    with pytest.raises(InputError, match="for 1 trees and 4 rows"):
        count_votes(stump(), np.zeros((4, 3), np.float32), NAMES, skip=np.zeros(shape, bool))


def test_a_feature_that_is_nan_is_named():
    rows = np.zeros((10, 3), np.float32)
    rows[7, 2] = np.nan
    with pytest.raises(InputError, match="feature c is NaN"):
        predict(stump(), rows, NAMES)


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_every_value_that_is_not_finite_is_seen_wherever_it_lies(value):
    for row in (0, 99):
        for column, name in enumerate(NAMES):
            rows = np.full((100, 3), np.finfo(np.float32).max, np.float32)
            rows[row, column] = value
            with pytest.raises(InputError, match=f"feature {name} is NaN or infinite"):
                predict(stump(), rows, NAMES)


def fitted(features, cut, **changes):
    settings = {"trees": 30, "max_depth": 6, "min_leaf": 5, "seed": 1, "threads": 1} | changes
    return fit_forest(features, cut, NAMES[: features.shape[1]], **settings)


def test_out_of_bag_probability_does_not_know_the_labels():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(800, 3)).astype(np.float32)
    cut = rng.random(800) < 0.5
    forest, unseen = fitted(features, cut, max_depth=20, min_leaf=1)
    accuracy_unseen = ((unseen > 0.5) == cut).mean()
    accuracy_seen = ((predict(forest, features, NAMES) > 0.5) == cut).mean()
    assert accuracy_seen > 0.95
    assert 0.4 < accuracy_unseen < 0.6


def test_rows_that_every_tree_saw_are_undecided():
    features, cut = noisy_rows(200)
    _, unseen = fitted(features, cut, trees=1)
    assert 0.5 < (unseen == 0.5).mean() < 0.8  # one bootstrap sample holds 63 % of the rows
    assert np.isfinite(unseen).all()


def test_rare_cuts_weigh_as_much_as_frequent_joins():
    cut = np.arange(1000) < 50
    features = np.zeros((1000, 1), np.float32)  # nothing to learn
    forest, _ = fitted(features, cut)
    assert predict(forest, features, ("a",))[0] == pytest.approx(0.5, abs=0.1)


def test_the_same_seed_gives_the_same_forest():
    features, cut = noisy_rows(500)
    one, other, third = (fitted(features, cut, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one.threshold, other.threshold)
    assert not np.array_equal(one.threshold, third.threshold)


def test_depth_and_leaf_limits_are_kept():
    features, cut = noisy_rows(500)
    assert fitted(features, cut, max_depth=3)[0].depth == 3


def test_one_class_cannot_be_learnt():
    features, _ = noisy_rows(20)
    with pytest.raises(InputError, match="all 20 training rows are joined"):
        fitted(features, np.zeros(20, bool))


def test_infinite_training_features_are_named():
    features, cut = noisy_rows(20)
    features[3, 1] = np.inf
    with pytest.raises(InputError, match="infinite values: b"):
        fitted(features, cut)


def test_out_of_bag_votes_are_those_of_the_trees_that_did_not_see_a_row():
    features, cut = noisy_rows(150)
    learned = learn_forest(features, cut, NAMES, Growth(9, 5, 2, max_samples=0.4), seed=2)
    assert learned.seen.shape == (9, 150)
    assert (learned.seen.sum(axis=1) <= 60).all()  # 0.4 of the rows, some drawn twice
    assert (learned.seen.sum(axis=1) > 40).all()
    for row in range(0, 150, 10):
        unseen = [one_tree(learned.forest, t) for t in np.flatnonzero(~learned.seen[:, row])]
        expected = np.mean([alone(tree, features[row]) for tree in unseen])
        assert learned.out_of_bag[row] == pytest.approx(expected, abs=1e-6)


def one_tree(forest, tree):
    """A forest of one tree of another forest."""
    first, end = forest.tree_offsets[tree : tree + 2]
    own = {name: getattr(forest, name)[first:end] for name in ARRAYS if name != "tree_offsets"}
    for name in ("children_left", "children_right"):
        own[name] = np.where(own[name] < 0, -1, own[name] - first).astype(np.int32)
    return replace(forest, **own, tree_offsets=np.array([0, end - first], np.int32))


def test_importance_tells_the_column_that_decides():
    rng = np.random.default_rng(0)
    features = rng.random((600, 3)).astype(np.float32)
    learned = learn_forest(features, features[:, 1] > 0.5, NAMES, Growth(20, 4, 5), seed=0)
    assert learned.importance.sum() == pytest.approx(1)
    assert learned.importance.argmax() == 1
    assert learned.importance[1] > 0.7


def test_without_balance_rare_cuts_stay_rare():
    cut = np.arange(1000) < 50
    features = np.zeros((1000, 1), np.float32)
    learned = learn_forest(features, cut, ("a",), Growth(20, 3, 5, balanced=False), seed=0)
    assert predict(learned.forest, features, ("a",))[0] == pytest.approx(0.05, abs=0.02)


def test_rows_of_more_weight_decide_where_rows_disagree():
    cut = np.arange(400) % 2 == 0
    features = np.zeros((400, 1), np.float32)
    weights = np.where(cut, 3.0, 1.0)
    growth = Growth(20, 3, 5, balanced=False)
    learned = learn_forest(features, cut, ("a",), growth, seed=0, weights=weights)
    assert predict(learned.forest, features, ("a",))[0] == pytest.approx(0.75, abs=0.05)


def test_threads_do_not_change_a_fit():
    features, cut = noisy_rows(400)
    one, two = (
        learn_forest(features, cut, NAMES, Growth(6, 5, 3), seed=4, threads=n) for n in (1, 2)
    )
    assert np.array_equal(one.forest.threshold, two.forest.threshold)
    assert np.array_equal(one.out_of_bag, two.out_of_bag)
    assert np.array_equal(one.importance, two.importance)

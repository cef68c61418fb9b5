"""A forest of plain arrays decides exactly as scikit-learn's."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from pipeline.errors import InputError, ModelError
from pipeline.forests import Forest, fit_forest, predict
from pipeline.forests.fitting import as_arrays

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
    np.testing.assert_allclose(
        predict(as_arrays(model, NAMES, {}), unseen, NAMES), expected, atol=1e-6
    )


def test_thresholds_that_float32_cannot_hold_decide_the_same():
    below = np.float32(4.1)
    features = np.array([below, np.nextafter(below, np.float32(9))] * 20, np.float32)[:, None]
    model = RandomForestClassifier(3, random_state=0).fit(features, features[:, 0] > below)
    thresholds = np.concatenate([tree.tree_.threshold for tree in model.estimators_])
    assert (thresholds != thresholds.astype(np.float32)).any()
    p_cut = predict(as_arrays(model, ("a",), {}), features, ("a",))
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


def test_other_features_are_named():
    with pytest.raises(ModelError, match=r"missing: b; unexpected: bb, d"):
        predict(stump(), np.zeros((1, 4), np.float32), ("a", "bb", "c", "d"))


def test_features_in_another_order_are_refused():
    with pytest.raises(ModelError, match="another order"):
        predict(stump(), np.zeros((1, 3), np.float32), ("b", "a", "c"))


def test_a_feature_that_is_nan_is_named():
    rows = np.zeros((10, 3), np.float32)
    rows[7, 2] = np.nan
    with pytest.raises(InputError, match="feature c is NaN"):
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

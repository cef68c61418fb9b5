import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.errors import InputError
from pipeline.evaluation import (
    OF_ALL,
    contingency,
    evaluate_families,
    evaluate_families_of_map,
    families_as_markdown,
)
from pipeline.evaluation.foreground import snemi3d_error
from pipeline.evaluation.instance import instance_scores
from pipeline.evaluation.semantic import semantic_scores

pairs = st.integers(2, 40).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.int64, size, elements=st.integers(0, 4)),
        hnp.arrays(np.int64, size, elements=st.integers(0, 4)),
    )
)


def slow_snemi3d_error(truth, prediction):
    """Ordered pairs of voxels, each with itself too; unlabelled voxels get ids of their own."""
    kept = truth > 0
    true = truth[kept]
    predicted = np.where(prediction == 0, -1 - np.arange(truth.size), prediction)[kept]
    joined_truth = true[:, None] == true[None]
    joined = predicted[:, None] == predicted[None]
    precision, recall = (
        (joined & joined_truth).sum() / side.sum() for side in (joined, joined_truth)
    )
    return 1 - 2 * precision * recall / (precision + recall)


@settings(deadline=None)
@given(pairs)
def test_the_error_of_snemi3d_equals_a_count_of_all_pairs(pair):
    truth, prediction = pair
    assume(truth.any())
    expected = slow_snemi3d_error(truth, prediction)
    assert snemi3d_error(contingency(truth, prediction)) == pytest.approx(expected, abs=1e-12)


def test_unlabelled_voxels_are_objects_of_their_own_for_snemi3d():
    # Truth joins 16 ordered pairs, the prediction 4 + 1 + 1, all of them right.
    table = contingency(np.ones(4, int), np.array([7, 7, 0, 0]))
    assert snemi3d_error(table) == pytest.approx(1 - 2 * 6 / (16 + 6))


def tissue():
    """Two sections of two neurons with a membrane between; the prediction cuts one."""
    truth = np.zeros((2, 6, 9), np.uint64)
    truth[:, :, :4], truth[:, :, 5:] = 5, 8
    prediction = truth.copy()
    prediction[1, 3:, :4] = 6
    return prediction, truth


def test_families_score_the_whole_volume_with_its_background():
    prediction, truth = tissue()
    scores = evaluate_families(prediction, truth, OF_ALL)
    table = contingency(truth, prediction, ignore_truth=())
    assert scores.instance == instance_scores(table)
    assert scores.semantic == semantic_scores(table.foreground())
    assert scores.semantic.macro.f1 == 1
    assert scores.challenges.snemi3d_error == snemi3d_error(contingency(truth, prediction))
    assert scores.challenges.isbi.pixel_error == 4 / 54 / 2
    assert scores.classes is scores.worst is scores.scored_voxels is None


def test_only_what_was_asked_for_becomes_keys():
    prediction, truth = tissue()
    assert evaluate_families(prediction, truth, ()).as_dict() == {}
    scored = truth != 8
    scores = evaluate_families(prediction, truth, ["classes"], scored=scored, worst=3)
    kept = json.loads(json.dumps(scores.as_dict()))
    assert list(kept) == ["scored_voxels", "classes", "worst"]
    assert kept["scored_voxels"] == scored.sum()
    assert list(kept["classes"]["classes"]) == ["0", "5", "6"]
    (row,) = kept["worst"]
    assert (row["kind"], row["id"], row["pieces"][1]["at"]) == ("split", 5, [1, 4, 1])


def test_what_is_not_scored_changes_no_family():
    prediction, truth = tissue()
    scored = np.ones(truth.shape, bool)
    scored[1] = False
    other = prediction.copy()
    other[1] = 3
    assert evaluate_families(prediction, truth, OF_ALL, scored=scored) == evaluate_families(
        other, truth, OF_ALL, scored=scored
    )


def test_tables_for_people_hold_the_numbers():
    prediction, truth = tissue()
    text = families_as_markdown(evaluate_families(prediction, truth, OF_ALL, worst=5))
    assert "| AP-50 | 0.6667 |" in text
    assert "| mean of classes | 1.0000 |" in text
    assert "| SNEMI3D's error | " in text
    assert "| split | 5 | 48 | " in text
    assert "| 100.0% | 5 (36, " in text
    assert "; 6 (12, " in text
    assert all(line.startswith("|") for line in text.splitlines() if line)


def test_a_mask_has_no_objects():
    prediction, truth = tissue()
    mask = (truth > 0).astype(np.uint8)
    scores = evaluate_families(prediction, mask, ["semantic", "challenges"], truth_kind="mask")
    assert scores.challenges.snemi3d_error is None
    assert scores.semantic.accuracy == 1
    for wrong in ({"families": ["instance"]}, {"families": [], "worst": 2}):
        with pytest.raises(InputError, match="mask"):
            evaluate_families(prediction, mask, truth_kind="mask", **wrong)


def test_a_map_is_scored_by_the_challenges_alone():
    _, truth = tissue()
    probability = np.where(truth == 0, 0.9, 0.1)
    scores = evaluate_families_of_map(probability, truth, ["challenges"], truth_kind="labels")
    assert scores.challenges.isbi.warping_error == 0
    assert "warping error (best threshold) | 0 |" in families_as_markdown(scores)
    with pytest.raises(InputError, match="no objects"):
        evaluate_families_of_map(probability, truth, ["instance"], truth_kind="labels")


def test_an_unknown_family_is_named_with_those_there_are():
    prediction, truth = tissue()
    with pytest.raises(InputError, match=r"'instances' is unknown; there are instance, semantic"):
        evaluate_families(prediction, truth, ["instances"])

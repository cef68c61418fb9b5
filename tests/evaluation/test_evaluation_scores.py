import json

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation import (
    MapScores,
    Scores,
    as_json,
    as_markdown,
    contingency,
    evaluate_labels,
    evaluate_map,
)
from pipeline.evaluation.scores import score_objects


def two_neurons() -> np.ndarray:
    """Two sections; a membrane column between neurites 5 and 8."""
    truth = np.zeros((2, 4, 9), np.uint64)
    truth[:, :, :4], truth[:, :, 5:] = 5, 8
    return truth


def test_truth_against_itself_is_perfect_in_3d_and_by_section():
    truth = two_neurons()
    scores = evaluate_labels(truth * 3, truth)
    for part in (scores.volume, scores.section_objects):
        assert (part.arand_error, part.voi_split, part.voi_merge, part.cremi) == (0, 0, 0, 0)
        assert (part.objects_truth, part.objects_prediction) == (2, 2)
    assert (scores.section_boundary.v_rand, scores.section_boundary.v_info) == (1, 1)


def test_a_neuron_cut_between_sections_is_an_error_in_3d_only():
    truth = two_neurons()
    prediction = truth.copy()
    prediction[1] += np.uint64(10) * (truth[1] > 0)
    scores = evaluate_labels(prediction, truth)
    assert (scores.volume.voi_split, scores.volume.voi_merge) == (1, 0)
    assert scores.volume.objects_prediction == 4
    assert scores.section_objects.voi_split == 0
    assert scores.section_boundary.v_rand == 1


def test_the_volume_is_scored_as_one_table():
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 4, (2, 5, 12, 12))
    scores = evaluate_labels(prediction, truth)
    assert scores.volume == score_objects(contingency(truth, prediction))
    errors = [row.objects.arand_error for row in scores.sections]
    assert scores.section_objects.arand_error == pytest.approx(np.mean(errors))
    v_rand = [row.boundary.v_rand for row in scores.sections]
    assert scores.section_boundary.v_rand == pytest.approx(np.mean(v_rand))
    assert len(set(errors)) == len(set(v_rand)) == 5


def test_empty_sections_of_truth_are_left_out_and_the_others_keep_their_number():
    truth = np.concatenate([np.zeros((1, 4, 9), np.uint64), two_neurons()])
    scores = evaluate_labels(truth, truth)
    assert [row.section for row in scores.sections] == [1, 2]
    assert scores.section_boundary.v_rand == 1


def test_a_membrane_mask_is_scored_by_section_only():
    truth = two_neurons()
    scores = evaluate_labels(truth, np.where(truth > 0, 255, 0), truth_kind="mask")
    assert scores.volume is None
    assert scores.section_objects is None
    assert scores.section_boundary.v_rand == 1
    assert "| adapted Rand error | – | – |" in as_markdown(scores)


def test_a_perfect_map_scores_1_and_an_empty_one_merges_all():
    truth = two_neurons()
    scores = evaluate_map((truth == 0).astype(np.float32), truth, truth_kind="labels")
    assert scores.best_v_rand.v_rand == scores.best_v_info.v_info == 1
    assert len(scores.rows) == 11
    blank = evaluate_map(np.zeros(truth.shape, np.uint8), truth, truth_kind="labels")
    assert blank.best_v_rand.v_rand == pytest.approx(2 / 3)


def test_json_can_be_read_back():
    truth = two_neurons()
    labels = evaluate_labels(truth, truth, voxel_size_nm=(50, 4, 4))
    assert Scores.model_validate_json(as_json(labels)) == labels
    assert json.loads(as_json(labels))["voxel_size_nm"] == [50, 4, 4]
    of_map = evaluate_map((truth == 0) * 1.0, truth, truth_kind="labels")
    assert MapScores.model_validate_json(as_json(of_map)) == of_map


def test_markdown_shows_both_columns_and_a_row_a_threshold():
    truth = two_neurons()
    merged = np.ones_like(truth)
    lines = as_markdown(evaluate_labels(merged, truth)).splitlines()
    assert lines[:2] == ["| score | 3D | mean of sections |", "| --- | ---: | ---: |"]
    assert "| VOI merge (bits) | 1 | 1 |" in lines
    assert "| V_rand | – | 0.6667 |" in lines
    rows = as_markdown(
        evaluate_map((truth == 0) * 1.0, truth, truth_kind="labels", thresholds=[0.5])
    ).splitlines()
    assert rows[2] == "| 0.5 | 1.0000 | 1.0000 | 1.0000 | 1.0000 | 1.0000 | 1.0000 |"
    assert rows[0] == "| threshold | V_rand | split | merge | V_info | split | merge |"


def test_shapes_that_differ_are_quoted():
    with pytest.raises(InputError, match=r"\(1, 4, 9\).*\(2, 4, 9\)"):
        evaluate_labels(two_neurons()[:1], two_neurons())
    with pytest.raises(InputError, match=r"\(1, 4, 9\).*\(2, 4, 9\)"):
        evaluate_map(np.zeros((1, 4, 9)), two_neurons(), truth_kind="labels")


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (two_neurons(), two_neurons() * 0, "no foreground"),
        (two_neurons().astype(np.float32), two_neurons(), "prediction has dtype float32"),
        (two_neurons(), two_neurons().astype(np.float64), "ground truth has dtype float64"),
        (two_neurons()[0], two_neurons()[0], "z, y, x"),
    ],
)
def test_arrays_that_cannot_be_scored_are_refused(prediction, truth, message):
    with pytest.raises(InputError, match=message):
        evaluate_labels(prediction, truth)


def test_a_voxel_size_must_be_positive():
    with pytest.raises(InputError, match="voxel size"):
        evaluate_labels(two_neurons(), two_neurons(), voxel_size_nm=(50, 0, 4))


def test_inputs_stay_unchanged():
    truth = two_neurons()
    prediction = truth.copy()
    evaluate_labels(prediction, truth)
    assert np.array_equal(prediction, two_neurons())
    assert np.array_equal(truth, two_neurons())

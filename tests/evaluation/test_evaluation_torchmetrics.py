"""Scores against torchmetrics, where it has the metric."""

import math

import numpy as np
import pytest
import torch

from pipeline.evaluation import contingency
from pipeline.evaluation.information import entropy, variation_of_information
from pipeline.evaluation.instance import instance_scores
from pipeline.evaluation.rand import rand_index
from pipeline.evaluation.semantic import semantic_scores

pytest.importorskip("torchmetrics")
from torchmetrics import functional
from torchmetrics.functional import classification, clustering, detection, segmentation

SHAPE = (3, 24, 24)
EXACT = 1e-6
"""torchmetrics computes in float32."""


def objects(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth of square objects with background, and a prediction with splits, merges and noise."""
    rng = np.random.default_rng(seed)
    truth = np.kron(np.arange(48).reshape(3, 4, 4) % 13, np.ones((1, 6, 6), int))
    prediction = np.roll(truth, 1, axis=2)
    prediction[prediction == 7] = 8
    prediction[0, 12:] += 20 * (prediction[0, 12:] > 0)
    return np.where(rng.random(SHAPE) < 0.1, 0, prediction), truth


@pytest.mark.parametrize("seed", range(3))
def test_panoptic_quality_agrees(seed: int) -> None:
    prediction, truth = objects(seed)
    # Category 1 are objects; background is category 0, stuff without instances.
    pair = [np.stack([ids > 0, ids], axis=-1).astype(int) for ids in (prediction, truth)]
    found = detection.panoptic_quality(
        *(torch.from_numpy(ids.reshape(1, -1, 1, 2)) for ids in pair),
        things={1},
        stuffs={0},
        return_sq_and_rq=True,
        return_per_class=True,
    )
    scores = instance_scores(contingency(truth, prediction, ignore_truth=()))
    # Things come before stuff.
    expected = found.reshape(2, 3)[0].tolist()
    assert (scores.pq, scores.sq, scores.rq) == pytest.approx(expected, abs=EXACT)
    assert 0 < scores.pq < 1


@pytest.mark.parametrize("seed", range(3))
def test_the_rand_index_agrees(seed: int) -> None:
    prediction, truth = objects(seed)
    expected = clustering.rand_score(*flat(prediction, truth))
    table = contingency(truth, prediction, ignore_truth=())
    assert rand_index(table) == pytest.approx(float(expected), abs=EXACT)


@pytest.mark.parametrize("seed", range(3))
def test_variation_of_information_follows_from_mutual_information(seed: int) -> None:
    prediction, truth = objects(seed)
    predicted, true = flat(prediction, truth)

    def bits(first: torch.Tensor, second: torch.Tensor) -> float:
        return float(clustering.mutual_info_score(first, second)) / math.log(2)

    voi = variation_of_information(contingency(truth, prediction, ignore_truth=()))
    shared = bits(predicted, true)
    # What a labelling tells about itself is its entropy.
    assert voi.split == pytest.approx(bits(predicted, predicted) - shared, abs=1e-5)
    assert voi.merge == pytest.approx(bits(true, true) - shared, abs=1e-5)
    sizes = np.unique(truth, return_counts=True)[1].astype(np.uint64)
    assert entropy(sizes, truth.size) == pytest.approx(bits(true, true), abs=1e-5)


@pytest.mark.parametrize("classes", [2, 5, 6])
def test_scores_of_classes_agree(classes: int) -> None:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, SHAPE)
    prediction = np.where(rng.random(SHAPE) < 0.3, rng.integers(0, classes, SHAPE), truth)
    scores = semantic_scores(contingency(truth, prediction, ignore_truth=()))
    pair = flat(prediction, truth)
    for name, metric in (
        ("precision", classification.multiclass_precision),
        ("recall", classification.multiclass_recall),
        ("f1", classification.multiclass_f1_score),
        ("jaccard", classification.multiclass_jaccard_index),
    ):
        each = [getattr(scores.classes[n], name) for n in range(classes)]
        expected = metric(*pair, num_classes=classes, average="none")
        assert each == pytest.approx(expected.tolist(), abs=EXACT)
        mean = metric(*pair, num_classes=classes, average="macro")
        assert getattr(scores.macro, name) == pytest.approx(float(mean), abs=EXACT)
    accuracy = classification.multiclass_accuracy(*pair, num_classes=classes, average="micro")
    assert scores.accuracy == pytest.approx(float(accuracy), abs=EXACT)


def test_accuracy_of_one_class_against_the_rest_agrees() -> None:
    prediction, truth = (ids % 4 for ids in objects(1))
    scores = semantic_scores(contingency(truth, prediction, ignore_truth=()))
    for name, score in scores.classes.items():
        pair = flat(prediction == name, truth == name)
        expected = functional.accuracy(*pair, task="binary")
        assert score.accuracy == pytest.approx(float(expected), abs=EXACT)


def test_dice_agrees() -> None:
    prediction, truth = (ids % 3 for ids in objects(2))
    scores = semantic_scores(contingency(truth, prediction, ignore_truth=()))
    expected = segmentation.dice_score(
        *(torch.from_numpy(ids[None]) for ids in (prediction, truth)),
        num_classes=3,
        average="none",
        input_format="index",
    )
    found = [scores.classes[n].f1 for n in range(3)]
    assert found == pytest.approx(expected.ravel().tolist(), abs=EXACT)


def flat(prediction: np.ndarray, truth: np.ndarray) -> list[torch.Tensor]:
    """As torchmetrics takes them."""
    return [torch.from_numpy(ids.astype(np.int64).ravel()) for ids in (prediction, truth)]

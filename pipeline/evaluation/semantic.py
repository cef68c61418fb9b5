"""Scores of classes, voxel by voxel: precision, recall, Dice, Jaccard and their kin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError
from pipeline.evaluation.contingency import Contingency
from pipeline.evaluation.foreground import require_foreground

MOST_CLASSES = 256
"""More values than this are ids of objects, not classes."""


@dataclass(frozen=True)
class ClassScore:
    """Scores of a class against all others together, or their mean over classes.

    With TP, FP, FN, TN the voxels that truth and prediction both give the class, only the
    prediction, only truth, neither.

    Parameters
    ----------
    accuracy
        (TP + TN) / all, 0..1.
    precision
        TP / (TP + FP), 0..1; 0 where the class is never predicted.
    recall
        TP / (TP + FN), 0..1; 0 where the class is not in truth.
    f1
        2 TP / (2 TP + FP + FN), 0..1: the Dice coefficient.
    jaccard
        TP / (TP + FP + FN), 0..1: intersection over union.
    conformity
        1 - (FP + FN) / TP, at most 1; ``None`` where TP is 0, for it is minus infinity then.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    jaccard: float
    conformity: float | None


@dataclass(frozen=True)
class SemanticScores:
    """Scores of classes.

    Parameters
    ----------
    accuracy
        Share of all voxels with the right class, 0..1.
    macro
        Mean over the classes, each counting alike; its conformity is ``None`` if one is.
    classes
        By class, ascending: every value of truth or prediction among the scored voxels.
    """

    accuracy: float
    macro: ClassScore
    classes: dict[int, ClassScore]


def semantic_scores(table: Contingency) -> SemanticScores:
    """Score classes from their confusion matrix.

    Parameters
    ----------
    table
        Counts of pairs of classes. Class 0 is a class like any other, so count it
        (``ignore_truth=()``) unless it means not annotated; merge tables over blocks first.
        ``Contingency.foreground`` makes the binary table of ids.

    Raises
    ------
    InputError
        If the table is empty or has more than 256 classes.

    References
    ----------
    Chang et al. 2009, NeuroImage 47:122 (conformity).
    """
    require_foreground(table.counts)
    names = np.union1d(table.truth, table.prediction)
    if names.size > MOST_CLASSES:
        raise InputError(
            f"there are {names.size} values, but at most {MOST_CLASSES} classes are scored; "
            "ids of objects are scored by the other families"
        )
    scores = {int(name): _score(table, name) for name in names}
    right = int(table.counts[table.truth == table.prediction].sum(dtype=np.uint64))
    return SemanticScores(right / table.total, _macro(list(scores.values())), scores)


def _score(table: Contingency, name: np.uint64) -> ClassScore:
    true, predicted = table.truth == name, table.prediction == name
    both, only_predicted, only_true = (
        int(table.counts[rows].sum(dtype=np.uint64))
        for rows in (true & predicted, predicted & ~true, true & ~predicted)
    )
    wrong = only_predicted + only_true
    return ClassScore(
        accuracy=(table.total - wrong) / table.total,
        precision=both / (both + only_predicted) if both else 0.0,
        recall=both / (both + only_true) if both else 0.0,
        f1=2 * both / (2 * both + wrong),
        jaccard=both / (both + wrong),
        conformity=1 - wrong / both if both else None,
    )


def _macro(scores: list[ClassScore]) -> ClassScore:
    conformities = [score.conformity for score in scores if score.conformity is not None]
    return ClassScore(
        accuracy=_mean([score.accuracy for score in scores]),
        precision=_mean([score.precision for score in scores]),
        recall=_mean([score.recall for score in scores]),
        f1=_mean([score.f1 for score in scores]),
        jaccard=_mean([score.jaccard for score in scores]),
        conformity=_mean(conformities) if len(conformities) == len(scores) else None,
    )


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)

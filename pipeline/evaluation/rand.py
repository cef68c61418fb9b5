"""Scores that count pairs of voxels: Rand index and adapted Rand error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Contingency


@dataclass(frozen=True)
class AdaptedRand:
    """Adapted Rand error and its two sides, all 0..1.

    Parameters
    ----------
    error
        1 - F-score of precision and recall; 0 is perfect.
    precision
        Of the pairs of voxels that the prediction joins, the share that truth joins;
        false merges lower it.
    recall
        Of the pairs of voxels that truth joins, the share that the prediction joins;
        false splits lower it.
    """

    error: float
    precision: float
    recall: float


def adapted_rand(table: Contingency) -> AdaptedRand:
    """Adapted Rand error of SNEMI3D and CREMI, in pairs of two different voxels.

    As ``skimage.metrics.adapted_rand_error`` does: voxels whose true id is 0 are left out (by
    ``contingency``), and the predicted id 0 is a segment like any other, so unlabelled voxels
    of the prediction count as one object. Sums are exact integers. (scikit-image 0.26 returns
    precision and recall in the opposite order to its documentation, which is followed here.)

    Parameters
    ----------
    table
        Counts of pairs of ids, without the true ids that are not scored.

    Returns
    -------
    scores
        A share of no pairs at all (every object is one voxel) is 1: nothing is wrong.

    References
    ----------
    Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142.
    """
    both = ordered_pairs(table.counts)
    predicted = ordered_pairs(table.prediction_sizes)
    true = ordered_pairs(table.truth_sizes)
    return AdaptedRand(
        error=1 - ratio(2 * both, predicted + true),
        precision=ratio(both, predicted),
        recall=ratio(both, true),
    )


def rand_index(table: Contingency) -> float:
    """Share of all pairs of different voxels that truth and prediction treat alike, 0..1.

    Parameters
    ----------
    table
        Counts of pairs of ids, without the true ids that are not scored; the predicted id 0
        is a segment like any other.

    Returns
    -------
    index
        1 is perfect; 1 as well where there are fewer than two voxels.

    References
    ----------
    Rand 1971, Journal of the American Statistical Association 66:846.
    """
    both = ordered_pairs(table.counts)
    predicted = ordered_pairs(table.prediction_sizes)
    true = ordered_pairs(table.truth_sizes)
    every = table.total * (table.total - 1)
    return ratio(every - predicted - true + 2 * both, every)


def ordered_pairs(sizes: NDArray[np.uint64]) -> int:
    """Ordered pairs of two different voxels inside the segments: sum of n (n - 1), exact."""
    return sum_of_squares(sizes) - int(sizes.sum(dtype=np.uint64))


def sum_of_squares(sizes: NDArray[np.uint64]) -> int:
    """Sum of n^2 as a Python integer, which does not overflow."""
    whole: NDArray[Any] = sizes.astype(object)
    return int(whole @ whole) if sizes.size else 0


def ratio(part: float, whole: float) -> float:
    """``part / whole``; nothing out of nothing is 1."""
    return part / whole if whole else 1.0

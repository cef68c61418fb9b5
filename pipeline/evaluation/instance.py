"""Scores of objects found one by one: average precision, aggregated Jaccard, panoptic quality."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Contingency
from pipeline.evaluation.rand import ratio

PERCENTS = tuple(range(50, 100, 5))
"""Thresholds of intersection over union, in percent, over which mAP is the mean."""


@dataclass(frozen=True)
class InstanceScores:
    """Scores of objects, all 0..1, 1 = perfect.

    Parameters
    ----------
    ap_50, ap_75
        TP / (TP + FP + FN) where a match has an intersection over union (IoU) of at least
        .5 or .75: average precision of predictions that carry no confidence.
    mean_ap
        Mean of it over IoU .5, .55 .. .95.
    ranked_ap_50, ranked_ap_75, ranked_mean_ap
        The same thresholds, but the area under precision over recall while predictions are
        taken in order of size, the largest first (equals at once).
    aji
        Aggregated Jaccard index.
    pq, sq, rq
        Panoptic quality = segmentation quality (mean IoU of matches) times recognition
        quality (F1 of matches); a match has an IoU above .5.
    """

    ap_50: float
    ap_75: float
    mean_ap: float
    ranked_ap_50: float
    ranked_ap_75: float
    ranked_mean_ap: float
    aji: float
    pq: float
    sq: float
    rq: float


@dataclass(frozen=True)
class Overlaps:
    """Pairs of a true and a predicted object that share voxels; objects are numbered from 0.

    Parameters
    ----------
    true, predicted
        (n,) int, index of the object.
    shared, union
        (n,) uint64, voxels in both, in either.
    true_sizes, predicted_sizes
        uint64, voxels of every object, background beneath it included.
    """

    true: NDArray[np.intp]
    predicted: NDArray[np.intp]
    shared: NDArray[np.uint64]
    union: NDArray[np.uint64]
    true_sizes: NDArray[np.uint64]
    predicted_sizes: NDArray[np.uint64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of every pair, 0..1."""
        return self.shared / self.union


def overlaps(table: Contingency) -> Overlaps:
    """The objects of a table and where they overlap.

    Parameters
    ----------
    table
        Counts of pairs of ids with background (``ignore_truth=()``): id 0 on either side is
        no object, but its voxels count in the sizes of the objects they lie in.
    """
    true = table.without_truth((0,))
    predicted = table.without_prediction((0,))
    true_ids, predicted_ids = np.unique(true.truth), np.unique(predicted.prediction)
    pairs = true.without_prediction((0,))
    i = np.searchsorted(true_ids, pairs.truth)
    j = np.searchsorted(predicted_ids, pairs.prediction)
    true_sizes, predicted_sizes = true.truth_sizes, predicted.prediction_sizes
    union = true_sizes[i] + predicted_sizes[j] - pairs.counts
    return Overlaps(i, j, pairs.counts, union, true_sizes, predicted_sizes)


def instance_scores(table: Contingency) -> InstanceScores:
    """All scores of objects; ``table`` as for ``overlaps``; 1 where there are no objects at all.

    References
    ----------
    Lin et al. 2014, ECCV (average precision over IoU); Kumar et al. 2017, IEEE Transactions on
    Medical Imaging 36:1550 (AJI); Kirillov et al. 2019, CVPR (PQ).
    """
    found = overlaps(table)
    plain = {percent: average_precision(found, percent) for percent in PERCENTS}
    ranked = {percent: ranked_average_precision(found, percent) for percent in PERCENTS}
    sq, rq = panoptic_quality(found)
    return InstanceScores(
        ap_50=plain[50],
        ap_75=plain[75],
        mean_ap=math.fsum(plain.values()) / len(plain),
        ranked_ap_50=ranked[50],
        ranked_ap_75=ranked[75],
        ranked_mean_ap=math.fsum(ranked.values()) / len(ranked),
        aji=aggregated_jaccard(found),
        pq=sq * rq,
        sq=sq,
        rq=rq,
    )


def average_precision(found: Overlaps, percent: int) -> float:
    """TP / (TP + FP + FN) where matches have an IoU of at least ``percent``, 50..100."""
    matches = _matches(found, percent).size
    return ratio(matches, found.true_sizes.size + found.predicted_sizes.size - matches)


def ranked_average_precision(found: Overlaps, percent: int) -> float:
    """Area under precision over recall, the predictions taken by size.

    Sum over sizes, descending, of precision so far times the recall that the predictions of
    this size add; not interpolated.

    Parameters
    ----------
    found
        From ``overlaps``.
    percent
        IoU of a match at least, 50..100.
    """
    if not found.true_sizes.size:
        return float(not found.predicted_sizes.size)
    right = np.zeros(found.predicted_sizes.size, np.int64)
    right[found.predicted[_matches(found, percent)]] = 1
    order = np.argsort(found.predicted_sizes, kind="stable")[::-1]
    last = np.append(np.diff(found.predicted_sizes[order]) != 0, True)[: order.size]
    hits = np.cumsum(right[order])[last]
    taken = np.arange(1, order.size + 1)[last]
    gains = np.diff(hits, prepend=0) / found.true_sizes.size
    return math.fsum((gains * hits / taken).tolist())


def aggregated_jaccard(found: Overlaps) -> float:
    """Aggregated Jaccard index.

    Every true object takes the predicted one with the highest IoU (of equals the one that
    shares most, then the lowest id). The intersections of these pairs are added up and divided
    by their unions plus the predictions that nobody took; a true object without overlap
    adds its size. As in the paper, a prediction may be taken several times.
    """
    order = np.lexsort((found.predicted, -found.shared.astype(np.int64), -found.iou, found.true))
    true, first = np.unique(found.true[order], return_index=True)
    best = order[first]
    missed, spare = np.ones(found.true_sizes.size, bool), np.ones(found.predicted_sizes.size, bool)
    missed[true] = False
    spare[found.predicted[best]] = False
    union = _total(found.union[best]) + _total(found.true_sizes[missed])
    return ratio(_total(found.shared[best]), union + _total(found.predicted_sizes[spare]))


def panoptic_quality(found: Overlaps) -> tuple[float, float]:
    """Segmentation and recognition quality; their product is the panoptic quality."""
    matched = found.iou[2 * found.shared > found.union]
    objects = found.true_sizes.size + found.predicted_sizes.size
    if not matched.size:
        return float(not objects), float(not objects)
    return math.fsum(matched.tolist()) / matched.size, 2 * matched.size / objects


def _matches(found: Overlaps, percent: int) -> NDArray[np.intp]:
    """Rows of the pairs that match, each object at most once.

    Above an IoU of one half no object has two partners. At exactly one half it has two only if
    they are its halves, which have no other partner: the first of them is taken.
    """
    rows = np.flatnonzero(np.uint64(100) * found.shared >= np.uint64(percent) * found.union)
    rows = rows[np.unique(found.predicted[rows], return_index=True)[1]]
    return rows[np.unique(found.true[rows], return_index=True)[1]]


def _total(sizes: NDArray[np.uint64]) -> int:
    return int(sizes.sum(dtype=np.uint64))

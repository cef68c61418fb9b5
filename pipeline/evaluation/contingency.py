"""How many voxels every pair of a true and a predicted id shares: a sparse table that merges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.evaluation.merging import merge_all

COUNTED = 1 << 20
"""Voxels that are counted at once: arrays of that size stay in the processor's cache."""


@dataclass(frozen=True)
class Contingency:
    """Voxel counts of the pairs of ids that occur, sorted by (truth, prediction).

    All scores of this folder that compare ids need no more than this table, so a volume is
    scored block by block: make one table a block, merge them, finalise once. The merged table
    is the same, row for row, as that of the whole volume.

    Parameters
    ----------
    truth
        (n,) uint64, id in the ground truth.
    prediction
        (n,) uint64, id in the prediction.
    counts
        (n,) uint64, voxels that carry both ids, > 0.
    """

    truth: NDArray[np.uint64]
    prediction: NDArray[np.uint64]
    counts: NDArray[np.uint64]

    @property
    def total(self) -> int:
        """Number of voxels in the table."""
        return int(self.counts.sum(dtype=np.uint64))

    @property
    def truth_sizes(self) -> NDArray[np.uint64]:
        """(number of true ids,) uint64, voxels of every true id, ascending by id."""
        return _sizes(self.truth, self.counts)

    @property
    def prediction_sizes(self) -> NDArray[np.uint64]:
        """(number of predicted ids,) uint64, voxels of every predicted id, ascending by id."""
        order = np.argsort(self.prediction, kind="stable")
        return _sizes(self.prediction[order], self.counts[order])

    def merge(self, other: Contingency) -> Contingency:
        """The table of the voxels of both; exact, associative and commutative."""
        return _collapse(
            np.concatenate([self.truth, other.truth]),
            np.concatenate([self.prediction, other.prediction]),
            np.concatenate([self.counts, other.counts]),
        )

    def without_truth(self, ids: Iterable[int]) -> Contingency:
        """The table without the voxels whose true id is among ``ids``."""
        return self._rows(~np.isin(self.truth, _id_list(ids)))

    def without_prediction(self, ids: Iterable[int]) -> Contingency:
        """The table without the voxels whose predicted id is among ``ids``."""
        return self._rows(~np.isin(self.prediction, _id_list(ids)))

    def foreground(self) -> Contingency:
        """The table of two classes: 0, and 1 for every other id."""
        return _collapse(
            (self.truth != 0).astype(np.uint64),
            (self.prediction != 0).astype(np.uint64),
            self.counts,
        )

    def _rows(self, keep: NDArray[np.bool_]) -> Contingency:
        return Contingency(self.truth[keep], self.prediction[keep], self.counts[keep])


def contingency(
    truth: NDArray[Any], prediction: NDArray[Any], *, ignore_truth: Iterable[int] = (0,)
) -> Contingency:
    """Count the voxels of every pair of ids.

    Runs of equal pairs are counted first and only then sorted, so time and memory follow the
    number of runs along the last axis, not the number of voxels or the size of the ids. Large
    arrays are counted in pieces whose tables are merged.

    Parameters
    ----------
    truth, prediction
        Any equal shape; any integer dtype without negative values; ids up to 2^64 - 1.
    ignore_truth
        True ids whose voxels are left out; 0, the unlabelled voxels, by default.

    Returns
    -------
    table
        Sorted by (truth, prediction); empty where nothing is left.

    Raises
    ------
    InputError
        If the shapes differ, or an array does not hold ids (float dtype, negative values).

    Examples
    --------
    >>> table = contingency(np.array([0, 1, 1, 2]), np.array([7, 7, 8, 8]))
    >>> table.truth, table.prediction, table.counts
    (array([1, 1, 2], dtype=uint64), array([7, 8, 8], dtype=uint64), array([1, 1, 1], dtype=uint64))
    """
    require_labels(truth, "ground truth")
    require_labels(prediction, "prediction")
    require_same_shape(truth, prediction)
    flat_truth, flat_prediction = truth.ravel(), prediction.ravel()
    pieces = (slice(begin, begin + COUNTED) for begin in range(0, max(truth.size, 1), COUNTED))
    table = merge_all(_count(flat_truth[piece], flat_prediction[piece]) for piece in pieces)
    return table.without_truth(ignore_truth)


def _count(truth: NDArray[Any], prediction: NDArray[Any]) -> Contingency:
    """The table of flat arrays, by their runs."""
    starts = _run_starts(truth, prediction)
    return _collapse(
        truth[starts].astype(np.uint64),
        prediction[starts].astype(np.uint64),
        np.diff(starts, append=truth.size).astype(np.uint64),
    )


def require_labels(labels: NDArray[Any], what: str) -> None:
    """Raise ``InputError`` unless the array holds ids: integers (or booleans) >= 0."""
    if labels.dtype.kind not in "bui":
        raise InputError(
            f"the {what} has dtype {labels.dtype}, but ids must be integers; "
            "a probability map is scored with evaluate_map"
        )
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise InputError(
            f"the {what} holds negative ids, the smallest is {labels.min()}; "
            "ids start at 0, which means unlabelled"
        )


def require_same_shape(truth: NDArray[Any], prediction: NDArray[Any]) -> None:
    """Raise ``InputError``, with both shapes, unless they are equal."""
    if truth.shape != prediction.shape:
        raise InputError(
            f"the prediction has shape {prediction.shape}, but the ground truth {truth.shape}; "
            "crop both to the same voxels"
        )


def _run_starts(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.intp]:
    """Where a new pair of values begins along two flat arrays."""
    if first.size == 0:
        return np.empty(0, np.intp)
    changes = first[1:] != first[:-1]
    changes |= second[1:] != second[:-1]
    return np.concatenate([np.zeros(1, np.intp), np.flatnonzero(changes) + 1])


def _collapse(
    truth: NDArray[np.uint64], prediction: NDArray[np.uint64], counts: NDArray[np.uint64]
) -> Contingency:
    """Sort the pairs and add the counts of equal ones."""
    order = np.lexsort((prediction, truth))
    truth, prediction, counts = truth[order], prediction[order], counts[order]
    starts = _run_starts(truth, prediction)
    if starts.size == 0:
        return Contingency(truth, prediction, counts)
    return Contingency(truth[starts], prediction[starts], np.add.reduceat(counts, starts))


def _sizes(ids: NDArray[np.uint64], counts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sum of the counts of every id; ``ids`` sorted."""
    return _collapse(ids, np.zeros_like(ids), counts).counts


def _id_list(ids: Iterable[int]) -> NDArray[np.uint64]:
    return np.array(list(ids), dtype=np.uint64)

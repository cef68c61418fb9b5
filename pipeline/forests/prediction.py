"""P(cut) by a forest of plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, ModelError
from pipeline.forests.calibration import calibration_of
from pipeline.forests.model import LEAF, Forest
from pipeline.forests.traversal import depths_of, first_not_finite, sum_leaf_values

TASK_ROWS = 16384
"""Rows that one thread takes at a time."""


def predict(
    forest: Forest,
    features: NDArray[np.float32],
    names: Sequence[str],
    *,
    threads: int = 1,
) -> NDArray[np.float32]:
    """P(cut) of every row: the mean over trees of the row's leaf, calibrated.

    Parameters
    ----------
    forest
        Checked by its own creation.
    features
        (n, f) float32; the columns that the forest was fitted on are finite.
    names
        f column names, among them the forest's, in any order; other columns are not looked at.
    threads
        Of the computation; the result does not depend on it.

    Returns
    -------
    p_cut
        (n,) float32, 0..1.

    Raises
    ------
    ModelError
        If columns are missing that the forest was fitted on; lists them.
    InputError
        If a feature is NaN or infinite; names the column.
    """
    votes, _ = count_votes(forest, features, names, threads=threads)
    return calibration_of(forest)(votes)


def count_votes(
    forest: Forest,
    features: NDArray[np.float32],
    names: Sequence[str],
    *,
    threads: int = 1,
    skip: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Mean over trees of the value of each row's leaf, before any calibration.

    Parameters and errors are those of ``predict``, and:

    Parameters
    ----------
    skip
        (trees, n) bool, trees that do not vote on a row; None: all vote.

    Returns
    -------
    mean
        (n,) float32, 0..1; 0.5 where no tree votes.
    votes
        (n,) int32, trees that voted.
    """
    columns = _columns(forest, names)
    if features.ndim != 2 or features.shape[1] != len(names):
        raise InputError(f"features of shape {features.shape} for {len(names)} names")
    if skip is not None and skip.shape != (forest.trees, len(features)):
        raise InputError(
            f"skip of shape {skip.shape} for {forest.trees} trees and {len(features)} rows"
        )
    trees = _Trees.of(forest, columns)
    total, votes = np.zeros(len(features)), np.zeros(len(features), np.int32)

    def add(start: int) -> None:
        part = slice(start, start + TASK_ROWS)
        rows = np.ascontiguousarray(features[part], np.float32)
        bad = first_not_finite(rows.view(np.uint32), columns)
        if bad >= 0:
            raise InputError(f"feature {forest.feature_names[bad]} is NaN or infinite")
        left_out = np.zeros((0, 0), bool) if skip is None else np.ascontiguousarray(skip[:, part])
        trees.add(rows, left_out, total[part], votes[part])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, range(0, len(features), TASK_ROWS)))
    mean = np.where(votes > 0, total / np.maximum(votes, 1), 0.5)
    return np.clip(mean, 0, 1).astype(np.float32), votes


@dataclass(frozen=True, eq=False)
class _Trees:
    """A forest laid out for ``sum_leaf_values``."""

    forest: Forest
    column: NDArray[np.int32]
    children: NDArray[np.int32]
    roots: NDArray[np.int32]
    depths: NDArray[np.int32]

    @classmethod
    def of(cls, forest: Forest, columns: NDArray[np.int32]) -> _Trees:
        itself = np.arange(len(forest.feature), dtype=np.int32)
        leaf = forest.feature == LEAF
        left, right = (
            np.where(leaf, itself, side) for side in (forest.children_left, forest.children_right)
        )
        roots = np.ascontiguousarray(forest.tree_offsets[:-1])
        return cls(
            forest,
            np.append(columns, np.int32(0))[forest.feature],  # a leaf's -1 takes the last
            np.stack([left, right], axis=1).ravel(),
            roots,
            depths_of(roots, left, right, leaf),
        )

    def add(
        self,
        rows: NDArray[np.float32],
        skip: NDArray[np.bool_],
        total: NDArray[np.float64],
        votes: NDArray[np.int32],
    ) -> None:
        sum_leaf_values(
            rows,
            self.column,
            self.forest.threshold,
            self.children,
            self.forest.value,
            self.roots,
            self.depths,
            skip,
            total,
            votes,
        )


def _columns(forest: Forest, names: Sequence[str]) -> NDArray[np.int32]:
    """Where each of the forest's columns lies in a table."""
    place = {name: column for column, name in enumerate(names)}
    missing = [name for name in forest.feature_names if name not in place]
    if missing:
        raise ModelError(
            f"the forest was fitted on features that are not there: {', '.join(missing)}"
        )
    return np.array([place[name] for name in forest.feature_names], np.int32)

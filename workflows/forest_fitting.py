"""Fit one forest on rows of several parts, and judge each row by what did not learn from it.

No row is judged by what it taught, nor by its neighbours, which resemble it. Out of bag would
not do: trees that did not see an edge saw the same membrane one section further. On other
volumes the lifted edges were then far too sure of themselves.

1. Every part is cut into five places, fifths of its rows in the order of their superpixels,
   which rise along z.
2. A row's *vote* is that of a forest that learned from the other places only; its *P(cut)* is
   the vote put through a calibration fitted on the votes of other places.
3. These P(cut) are what the report judges and what the lifted edges are made from.
4. The forest that is kept learned from all places; it carries the calibration of all votes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.forests import Forest, Learned, learn_forest, predict
from pipeline.forests.calibration import (
    Calibration,
    cross_calibrated,
    fit_calibration,
    with_calibration,
)
from workflows.column_families import columns_of, family_loss
from workflows.edge_training import EdgeTraining, ForestConfig
from workflows.machine import available_cores

PLACES = 5


@dataclass(frozen=True, eq=False)
class Rows:
    """Edges of one part, regular or lifted.

    Parameters
    ----------
    features
        (n, f) float32.
    label
        (n,) uint8, 1 = cut.
    keep
        (n,) bool, whether the label is clear enough to learn from.
    across
        (n,) bool, whether an edge connects different sections.
    weight
        Of each row.
    """

    features: NDArray[np.float32]
    label: NDArray[np.uint8]
    keep: NDArray[np.bool_]
    across: NDArray[np.bool_]
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is said of the rows that a forest learned from.

    Parameters
    ----------
    votes
        (n,) float32, of forests of the other places, before calibration.
    p_cut
        (n,) float32, the votes calibrated by the rows of other places.
    out_of_bag
        (n,) float32, votes of those trees of the kept forest that did not see the row.
    label
        (n,) uint8, 1 = cut.
    across
        (n,) bool.
    names
        f columns.
    importance
        (f,) impurity that splits on each column took away; sums to 1.
    family_loss
        Family -> rise of the out-of-bag log loss if the family's columns are shuffled.
    """

    votes: NDArray[np.float32]
    p_cut: NDArray[np.float32]
    out_of_bag: NDArray[np.float32]
    label: NDArray[np.uint8]
    across: NDArray[np.bool_]
    names: tuple[str, ...]
    importance: NDArray[np.float64]
    family_loss: dict[str, float]


@dataclass(frozen=True, eq=False)
class Fitted:
    """One forest, and P(cut) of all rows that were given.

    Parameters
    ----------
    forest
        With its calibration.
    p_cut
        (n,) float32 a part, as the module says.
    evidence
        On the rows learned from.
    rows, clear
        Number of rows given, and of those with a clear label.
    """

    forest: Forest
    p_cut: list[NDArray[np.float32]]
    evidence: Evidence
    rows: int
    clear: int


def fit_rows(
    rows: Sequence[Rows],
    names: Sequence[str],
    size: ForestConfig,
    config: EdgeTraining,
    *,
    families: Sequence[str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Fitted:
    """One forest on rows of several parts.

    Parameters
    ----------
    rows
        One item a part.
    names
        Columns of the features.
    size
        Of the forest.
    config
        For ``seed`` and ``calibrate``.
    families
        Families of columns to learn from; None = all.
    metadata
        JSON to be stored with the forest.

    Returns
    -------
    fitted
        Forest, P(cut) of all rows, evidence.

    Raises
    ------
    InputError
        If too few rows are clear, or all of one class.
    """
    columns = columns_of(names, families)
    kept = [names[c] for c in columns]
    chosen = _chosen(rows, size.max_rows, config.seed)
    _check_enough(rows, config.min_clear_edges)
    features = np.concatenate([_table(r.features, c, columns) for r, c in _pairs(rows, chosen)])
    label = np.concatenate([r.label[c] for r, c in _pairs(rows, chosen)])
    weight = np.concatenate([np.full(len(c), r.weight) for r, c in _pairs(rows, chosen)])
    learned = learn_forest(
        features,
        label,
        kept,
        size.growth,
        seed=config.seed,
        threads=available_cores(),
        weights=weight,
    )
    forest = learned.forest
    places = [_places(len(r.label)) for r in rows]
    of_all = votes_of_other_places(
        rows,
        chosen,
        places,
        (features, label, weight),
        learned,
        names=names,
        size=size,
        seed=config.seed,
    )
    votes = np.concatenate([v[c] for v, c in zip(of_all, chosen, strict=True)])
    p_cut, calibration = votes, None
    if config.calibrate:
        own = np.concatenate([p[c] for p, c in zip(places, chosen, strict=True)])
        p_cut = cross_calibrated(votes, label, own, weight)
        calibration = fit_calibration(votes, label, weight)
        forest = with_calibration(forest, calibration)
    forest = replace(forest, metadata=metadata or {})
    evidence = Evidence(
        votes=votes,
        p_cut=p_cut,
        out_of_bag=learned.out_of_bag,
        label=label,
        across=np.concatenate([r.across[c] for r, c in _pairs(rows, chosen)]),
        names=tuple(kept),
        importance=learned.importance,
        family_loss=family_loss(learned, features, label, config.seed),
    )
    return Fitted(
        forest,
        _p_cut_of_all(chosen, of_all, p_cut, calibration),
        evidence,
        sum(len(r.label) for r in rows),
        sum(int(r.keep.sum()) for r in rows),
    )


def _check_enough(rows: Sequence[Rows], least: int) -> None:
    cuts, joins = (sum(int((r.label == v)[r.keep].sum()) for r in rows) for v in (1, 0))
    if cuts + joins < least or not (cuts and joins):
        raise InputError(
            f"only {cuts + joins} edges are clear ({cuts} cuts, {joins} joins), too few to fit a "
            f"forest ({least} of both kinds, min_clear_edges); annotate more sections, or keep the "
            "shipped forests"
        )


def _chosen(rows: Sequence[Rows], limit: int, seed: int) -> list[NDArray[np.int64]]:
    """Rows of each part to learn from: the clear ones, thinned at random to the limit."""
    clear = [np.flatnonzero(r.keep) for r in rows]
    total = sum(map(len, clear))
    if total <= limit:
        return clear
    drawn = np.zeros(total, bool)
    drawn[np.random.default_rng(seed).choice(total, limit, replace=False)] = True
    ends = np.cumsum([len(c) for c in clear])[:-1]
    return [c[d] for c, d in zip(clear, np.split(drawn, ends), strict=True)]


def _pairs(
    rows: Sequence[Rows], chosen: Sequence[NDArray[np.int64]]
) -> list[tuple[Rows, NDArray[np.int64]]]:
    return list(zip(rows, chosen, strict=True))


def _table(
    features: NDArray[np.float32], rows: NDArray[np.int64], columns: list[int]
) -> NDArray[np.float32]:
    """Some rows of some columns; a copy."""
    some: NDArray[np.float32] = features[rows]
    return some if len(columns) == features.shape[1] else some[:, columns]


def _places(rows: int) -> NDArray[np.int64]:
    """Place of every row of a part."""
    return np.arange(rows) * PLACES // max(rows, 1)


def votes_of_other_places(
    rows: Sequence[Rows],
    chosen: Sequence[NDArray[np.int64]],
    places: Sequence[NDArray[np.int64]],
    taught: tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]],
    learned: Learned,
    *,
    names: Sequence[str],
    size: ForestConfig,
    seed: int,
) -> list[NDArray[np.float32]]:
    """Vote on every row by a forest that learned from the other places of all parts.

    Parameters
    ----------
    rows
        One item a part.
    chosen
        Rows of each part that are learned from.
    places
        (n,) place of every row of each part.
    taught
        Features, labels and weights of the chosen rows of all parts.
    learned
        The forest of all places; it also votes, as well as it can, on a place without which
        only one class is left.
    names
        Columns of the rows, of which the forest may use some.
    size, seed
        Of the forests.

    Returns
    -------
    votes
        (n,) float32 a part, not calibrated.
    """
    features, label, weight = taught
    own = np.concatenate([p[c] for p, c in zip(places, chosen, strict=True)])
    votes = [np.empty(len(p), np.float32) for p in places]
    for place in range(PLACES):
        others = np.flatnonzero(own != place)
        forest = learned.forest
        if 0 < np.count_nonzero(label[others]) < len(others):
            forest = learn_forest(
                features[others],
                label[others],
                learned.forest.feature_names,
                size.growth,
                seed=seed + 1 + place,
                threads=available_cores(),
                weights=weight[others],
            ).forest
        for one, here, result in zip(rows, places, votes, strict=True):
            inside = np.flatnonzero(here == place)
            result[inside] = predict(forest, one.features[inside], names, threads=available_cores())
    return votes


def _p_cut_of_all(
    chosen: Sequence[NDArray[np.int64]],
    votes: Sequence[NDArray[np.float32]],
    p_cut: NDArray[np.float32],
    calibration: Calibration | None,
) -> list[NDArray[np.float32]]:
    """P(cut) of the rows learned from as given, of the others by the map of all votes."""
    ends = np.cumsum([len(c) for c in chosen])[:-1]
    result = []
    for of_part, learned, known in zip(votes, chosen, np.split(p_cut, ends), strict=True):
        p = of_part if calibration is None else calibration(of_part)
        p[learned] = known
        result.append(p)
    return result

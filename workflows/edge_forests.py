"""Fit the forests of regular and lifted edges on parts that are already computed.

Fitting takes seconds where the parts took minutes, so that columns or whole families can be
left out and the loss be measured (``families``).

No row is ever judged by what it taught:

1. A row's *vote* is the mean over the trees that did not see it (out of bag).
2. Its *P(cut)* is that vote put through a calibration that was fitted on the rows of the other
   four of five folds. Folds are fifths of each part's rows in the order of their superpixels,
   which rise along z: neighbouring edges resemble each other, and stay in one fold.
3. These P(cut) are what the report judges and what the lifted edges are made from. The
   calibration that a forest carries is fitted on the votes of all rows; rows that no tree
   learned from get their P(cut) from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import parse_config
from pipeline.errors import ConfigError, InputError
from pipeline.forests import Forest, Learned, count_votes, learn_forest, predict
from pipeline.forests.calibration import cross_calibrated, fit_calibration, with_calibration
from pipeline.lifted.problem import LiftedProblem, compute_lifted_problem
from workflows.blockwise import available_cores
from workflows.edge_parts import Part, feature_names, targets_of
from workflows.edge_training import EdgeTraining, ForestConfig

FOLDS = 5
CLIP = 1e-3


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
    """What a forest says out of bag of the rows that it learned from.

    Parameters
    ----------
    votes
        (n,) float32, out of bag, before calibration.
    p_cut
        (n,) float32, calibrated by the rows of other folds.
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


@dataclass(frozen=True, eq=False)
class Forests:
    """All forests of a training.

    Parameters
    ----------
    edges
        Of regular edges; if split, of those within sections.
    across
        Of regular edges across sections; None: ``edges`` takes them all.
    lifted
        Of lifted edges.
    config
        They were fitted with it.
    """

    edges: Fitted
    across: Fitted | None
    lifted: Fitted
    config: EdgeTraining

    def tables(self, part: Part) -> dict[str, Any]:
        """Nodes, edges and lifted edges of a part that none of the forests learned from.

        The tables are those that the multicut reads, with ``p_cut`` of both kinds of edges.
        """
        features = part.edges["features"]
        p_cut = predict(self.edges.forest, features, part.feature_names, threads=available_cores())
        if self.across is not None:
            across = np.flatnonzero(part.edges["across_sections"])
            p_cut[across] = predict(self.across.forest, features[across], part.feature_names)
        problem = lifted_problem(part, p_cut, self.config)
        p_lifted = predict(
            self.lifted.forest, problem.features, problem.names, threads=available_cores()
        )
        return {
            "nodes": part.tables["nodes"],
            "edges": {**part.edges, "p_cut": p_cut},
            "lifted": {"uv": problem.uv, "features": problem.features, "p_cut": p_lifted},
        }


def family_of(column: str) -> str:
    """Family of a column, which its name begins with.

    >>> family_of("boundary_gaussian_1.6/q90"), family_of("paths/cost")
    ('boundary', 'paths')
    """
    return column.split("/", maxsplit=1)[0].split("_", maxsplit=1)[0]


def columns_of(names: Sequence[str], families: Sequence[str] | None) -> list[int]:
    """Columns that belong to the families, in their order; all for None.

    Raises
    ------
    ConfigError
        If a family has no column.
    """
    known = [family_of(name) for name in names]
    for family in families or ():
        if family not in known:
            raise ConfigError(
                f"no feature belongs to the family {family!r}, only to "
                f"{', '.join(dict.fromkeys(known))}"
            )
    return [n for n, family in enumerate(known) if families is None or family in families]


def fit_forests(
    parts: Sequence[Part],
    config: EdgeTraining,
    *,
    families: Sequence[str] | None = None,
    lifted_families: Sequence[str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Forests:
    """The forests of regular edges, then of the lifted edges made from their P(cut).

    Parameters
    ----------
    parts
        Of volumes of one kind.
    config
        Sizes of the forests, limits of clear labels, seed; its volumes do not matter here.
    families, lifted_families
        Families of columns to learn from; None = all.
    metadata
        JSON to be stored with each forest.

    Returns
    -------
    forests
        And P(cut) of all edges of the parts.

    Raises
    ------
    ConfigError
        If the parts have different columns, or a family has none.
    InputError
        If there is nothing to learn from.
    """
    rows = [_edge_rows(part, config) for part in parts]
    names = feature_names(parts)
    kinds = _split(rows) if config.split_across else [rows]
    fitted = [
        fit_rows(kind, names, config.edges, config, families=families, metadata=metadata)
        for kind in kinds
    ]
    p_cut = _together(rows, fitted)
    problems = [lifted_problem(part, p, config) for part, p in zip(parts, p_cut, strict=True)]
    lifted = fit_rows(
        [_lifted_rows(part, q, config) for part, q in zip(parts, problems, strict=True)],
        problems[0].names,
        config.lifted,
        config.model_copy(update={"seed": config.seed + 1}),
        families=lifted_families,
        metadata=metadata,
    )
    return Forests(fitted[0], fitted[1] if len(fitted) == 2 else None, lifted, config)


def _edge_rows(part: Part, config: EdgeTraining) -> Rows:
    label, keep = targets_of(part, part.edges["uv"], config.limits)
    edges = part.edges
    return Rows(edges["features"], label, keep, edges["across_sections"], part.weight)


def _lifted_rows(part: Part, problem: LiftedProblem, config: EdgeTraining) -> Rows:
    label, keep = targets_of(part, problem.uv, config.limits)
    z = part.tables["nodes"]["box"][:, [0, 3]]
    u, v = problem.uv.astype(np.int64).T
    across = (z[u] != z[v]).any(axis=1) & part.volume.flat_sections
    return Rows(problem.features, label, keep, across, part.weight)


def _split(rows: Sequence[Rows]) -> list[list[Rows]]:
    """Rows within sections, and rows across sections."""
    kinds = []
    for across in (False, True):
        chosen = [np.flatnonzero(r.across == across) for r in rows]
        if not any(r.keep[c].any() for r, c in zip(rows, chosen, strict=True)):
            raise InputError(
                "split_across: there is no clear edge "
                f"{'across' if across else 'within'} sections to learn from"
            )
        kinds.append(
            [
                replace(
                    r,
                    features=r.features[c],
                    label=r.label[c],
                    keep=r.keep[c],
                    across=r.across[c],
                )
                for r, c in zip(rows, chosen, strict=True)
            ]
        )
    return kinds


def _together(rows: Sequence[Rows], fitted: Sequence[Fitted]) -> list[NDArray[np.float32]]:
    """P(cut) of all edges of each part, from one forest or from both."""
    if len(fitted) == 1:
        return fitted[0].p_cut
    result = []
    for number, r in enumerate(rows):
        p_cut = np.empty(len(r.label), np.float32)
        for across, one in zip((False, True), fitted, strict=True):
            p_cut[r.across == across] = one.p_cut[number]
        result.append(p_cut)
    return result


def lifted_problem(part: Part, p_cut: NDArray[np.float32], config: EdgeTraining) -> LiftedProblem:
    """Lifted edges of a part, from P(cut) of its regular edges.

    Parameters
    ----------
    part
        With the tables of its graph.
    p_cut
        (m,) float32, 0..1; of trees that did not learn from the edge.
    config
        For the pipeline's section ``lifted``.

    Returns
    -------
    problem
        Pairs and features.
    """
    section: Any = parse_config(config.pipeline, config.name).section("lifted")
    return compute_lifted_problem(
        part.tables["nodes"],
        {**part.edges, "p_cut": p_cut},
        part.tables["attributes"]["nodes/features"]["names"],
        section,
        part.volume,
        part.tables.get("overlaps"),
        threads=available_cores(),
    )


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
    """
    columns = columns_of(names, families)
    kept = [names[c] for c in columns]
    chosen = _chosen(rows, size.max_rows, config.seed)
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
    forest, p_cut = learned.forest, learned.out_of_bag
    if config.calibrate:
        folds = np.concatenate([np.arange(len(c)) * FOLDS // max(len(c), 1) for c in chosen])
        p_cut = cross_calibrated(learned.out_of_bag, label, folds, weight)
        forest = with_calibration(forest, fit_calibration(learned.out_of_bag, label, weight))
    forest = replace(forest, metadata=metadata or {})
    evidence = Evidence(
        votes=learned.out_of_bag,
        p_cut=p_cut,
        label=label,
        across=np.concatenate([r.across[c] for r, c in _pairs(rows, chosen)]),
        names=tuple(kept),
        importance=learned.importance,
        family_loss=family_loss(learned, features, label, config.seed),
    )
    return Fitted(
        forest,
        _p_cut_of_all(rows, chosen, names, forest, p_cut),
        evidence,
        sum(len(r.label) for r in rows),
        sum(int(r.keep.sum()) for r in rows),
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


def _p_cut_of_all(
    rows: Sequence[Rows],
    chosen: Sequence[NDArray[np.int64]],
    names: Sequence[str],
    forest: Forest,
    p_cut: NDArray[np.float32],
) -> list[NDArray[np.float32]]:
    """P(cut) of the rows learned from as given, of the others by the forest."""
    result = []
    ends = np.cumsum([len(c) for c in chosen])[:-1]
    for (one, learned), known in zip(_pairs(rows, chosen), np.split(p_cut, ends), strict=True):
        other = np.ones(len(one.label), bool)
        other[learned] = False
        p = np.empty(len(other), np.float32)
        p[learned] = known
        p[other] = predict(forest, one.features[other], names, threads=available_cores())
        result.append(p)
    return result


def family_loss(
    learned: Learned, features: NDArray[np.float32], label: NDArray[np.uint8], seed: int
) -> dict[str, float]:
    """How much the out-of-bag log loss rises if the rows of a family's columns are shuffled.

    Breiman's permutation importance, for families: columns of one family resemble each other,
    so that shuffling one alone says little.

    Parameters
    ----------
    learned
        Forest and which rows its trees saw.
    features
        (n, f) float32 of those rows.
    label
        (n,) 1 = cut.
    seed
        Of the shuffling.

    Returns
    -------
    rise
        Family -> nats a row, in the order of the columns; 0 = of no use, may be below 0.
    """
    names = learned.forest.feature_names
    order = np.random.default_rng(seed).permutation(len(features))
    before = log_loss(learned.out_of_bag, label)
    result = {}
    for family in dict.fromkeys(map(family_of, names)):
        columns = columns_of(names, [family])
        shuffled = features.copy()
        shuffled[:, columns] = features[:, columns][order]
        votes, _ = count_votes(
            learned.forest, shuffled, names, threads=available_cores(), skip=learned.seen
        )
        result[family] = log_loss(votes, label) - before
    return result


def log_loss(p_cut: NDArray[Any], label: NDArray[Any]) -> float:
    """Mean of -log of the probability that was given to what is true, in nats.

    P(cut) is clipped to 0.001..0.999, as the costs of the multicut are.
    """
    p = np.clip(np.asarray(p_cut, np.float64), CLIP, 1 - CLIP)
    return float(-np.log(np.where(label, p, 1 - p)).mean())

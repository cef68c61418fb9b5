"""Fit the forests of regular and lifted edges on parts that are already computed.

Fitting takes seconds where the parts took minutes, so that columns or whole families can be
left out and the loss be measured (``families``).

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

from pipeline.config import parse_config
from pipeline.errors import ConfigError, InputError
from pipeline.forests import Forest, Learned, count_votes, learn_forest, predict
from pipeline.forests.calibration import (
    Calibration,
    cross_calibrated,
    fit_calibration,
    with_calibration,
)
from pipeline.lifted.problem import LiftedProblem, compute_lifted_problem
from workflows.edge_parts import Part, feature_names, targets_of
from workflows.edge_training import EdgeTraining, ForestConfig
from workflows.machine import available_cores

PLACES = 5
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

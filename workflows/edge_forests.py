"""The forests of regular and lifted edges, fitted on parts that are already computed.

Fitting takes seconds where the parts took minutes, so that columns or whole families can be
left out and the loss be measured (``families``). ``forest_fitting`` tells how each forest is
fitted and judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import parse_config
from pipeline.errors import InputError
from pipeline.forests import predict
from pipeline.lifted.problem import LiftedProblem, compute_lifted_problem
from workflows.edge_parts import Part, feature_names, targets_of
from workflows.edge_training import EdgeTraining
from workflows.forest_fitting import Fitted, Rows, fit_rows
from workflows.machine import available_cores


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

"""The multicut by domains, as a solver that is measured beside those of the whole problem.

The stage's own steps run one after the other in one process; its limits are set so low that
problems that fit in memory are decomposed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pipeline.contract import Outputs, Resources, Table, VolumeInfo
from pipeline.held import HeldInputs
from pipeline.multicut import STAGE
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.costs import lifted_scale
from pipeline.multicut.expansion import REST
from pipeline.multicut.problem import Level, Limits, Problem, Solution
from pipeline.tables import row_tasks

DOMAIN_NODES = 4_000
REST_SHARE = 4
"""Levels are added until the rest has at most this part of the problem's edges."""
VOXEL_SIZE_NM = (50.0, 4.0, 4.0)
"""Of the ISBI stack, from which the problems are made."""
WEIGHT = 2.0
"""Of all edges; so no cost is so high that its probability would be clipped."""


def by_domains(problem: Problem, limits: Limits) -> Solution:
    """Solve in domains, contract, solve the rest.

    Returns
    -------
    solution
        The energy is that of the whole problem; the last of ``levels`` is the rest.
    """
    tables, volume, row = tables_of(problem)
    edges = len(problem.uv) + len(problem.lifted_uv)
    config = MulticutConfig(
        domain_nodes=DOMAIN_NODES,
        solve_at_once_edges=max(1, edges // REST_SHARE),
        without_lifted=False,
        time_limit_seconds=limits.seconds,
        beta=0.5,
        beta_lifted=0.5,
        weight_across=WEIGHT,
        lifted_weight=WEIGHT,
        length_weighting="none",
    )
    kept = _run(tables, config, Resources(volume, threads=limits.threads))
    found = np.concatenate([part["nodes"]["neuron"] for part in kept["neurons"]])
    labels = problem.graph.connected(found[row] - np.uint64(1))
    return Solution(labels, problem.energy(labels), levels=_levels(kept[REST][-1]["solution"]))


def tables_of(problem: Problem) -> tuple[dict[str, Table], VolumeInfo, NDArray[np.int64]]:
    """A problem as the tables that the stage reads.

    Returns
    -------
    tables
        ``nodes``, ``edges`` and ``lifted``; the stage gives them the problem's costs.
    volume
        In which the nodes lie, each at a voxel of its own.
    row
        (n,) of every node of the problem in ``nodes``.
    """
    assert problem.positions is not None
    voxels = np.floor(problem.positions - problem.positions.min(axis=0)).astype(np.int64)
    z, y, x = (int(n) + 1 for n in voxels.max(axis=0))
    flat = np.ravel_multi_index(tuple(voxels.T), (z, y, x))
    order = np.argsort(flat, kind="stable")
    count = np.arange(len(flat))
    ids = 1 + np.maximum.accumulate(flat[order] - count) + count  # no two at one voxel
    z = max(z, math.ceil(int(ids[-1]) / (y * x)))
    row = np.empty_like(order)
    row[order] = count
    uv, costs = _pairs(problem.uv, problem.costs, row)
    lifted_uv, lifted_costs = _pairs(problem.lifted_uv, problem.lifted_costs, row)
    tables: dict[str, Table] = {
        "nodes": {"id": ids.astype(np.uint64)},
        "edges": {
            "uv": uv,
            "p_cut": expit(-costs / WEIGHT),
            "across_sections": np.ones(len(uv), np.bool_),
            "length_voxels": np.ones(len(uv), np.uint64),
        },
        "lifted": {
            "uv": lifted_uv,
            "p_cut": expit(-lifted_costs / lifted_scale(len(uv), len(lifted_uv), WEIGHT)),
        },
    }
    return tables, VolumeInfo((z, y, x), VOXEL_SIZE_NM, "uint8"), row


def _pairs(
    uv: NDArray[np.uint64], costs: NDArray[np.float64], row: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Edges between rows, sorted."""
    pairs = np.sort(row[uv.astype(np.int64)], axis=1)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order].astype(np.uint64), costs[order]


def _run(
    tables: dict[str, Table], config: MulticutConfig, resources: Resources
) -> dict[str, list[Outputs]]:
    """What every task of every step gives."""
    kept: dict[str, list[Outputs]] = {}
    for step in STAGE.after:
        inputs = HeldInputs(tables, kept)
        if step.tasks:
            tasks = step.tasks(inputs, config, resources)
        else:
            assert step.rows
            tasks = row_tasks(step.rows(inputs, config, resources))
        kept[step.name] = [step.compute(n, inputs, config, resources) for n in range(tasks)]
    return kept


def _levels(record: Table) -> tuple[Level, ...]:
    names = ("nodes", "edges", "lifted_edges", "domains", "energy", "improvement_bound", "seconds")
    columns: list[list[Any]] = [record[name].tolist() for name in names]
    return tuple(Level(*values) for values in zip(*columns, strict=True))

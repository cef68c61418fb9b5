"""Domains of a level are solved, each as a task.

Domains do not overlap; their sub-problems do, as each is grown by the overlap. A sub-problem is
the nodes in and around a domain and the edges between them. It is solved by greedy additive
contraction and local search. An edge is to be contracted if its sub-problem joins it and no
other one holds its ends (see ``hierarchical``). So a cluster lies in one domain.

Pape et al., "Solving large multicut problems for connectomics via domain decomposition", ICCV
Workshops 2017.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.backend.partition import consecutive
from pipeline.cells import seeds
from pipeline.contract import Inputs, Outputs, Resources, Table, Triple
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.contraction import joined
from pipeline.multicut.hierarchical import local_solution
from pipeline.multicut.levels import Chain, alone, levels
from pipeline.multicut.problem import NO_COSTS, NO_EDGES, Limits, Problem
from pipeline.subgraphs import gather_box

Positions = NDArray[np.float64] | None


def solve_domain(
    chain: Chain,
    level: int,
    task: int,
    inputs: Inputs,
    config: MulticutConfig,
    resources: Resources,
) -> Outputs:
    """Clusters of the nodes of a domain: what its sub-problem joins and no other one holds.

    Returns
    -------
    kept
        ``mapping``: ``row`` of every node of the domain, ascending, and its ``cluster``,
        from 0; ``clusters``: ``id``, the mean place of the nodes of each.
    """
    known = levels(inputs, chain, config, resources.volume, level)
    domains = known.domains[level]
    part = gather_box(
        inputs.parts(chain.entered_step(level)),
        known.stored_by(level),
        domains.box(task),
        known.overlap,
        chain.pairs,
    )
    ids, inside = part.nodes["id"], part.inside
    problem = problem_of(len(ids), part.pairs)
    labels = local_solution(problem, Limits(config.time_limit_seconds), config)
    own = inside & alone(ids, domains, task, known.overlap)
    u, v = problem.uv.T
    clusters = joined(len(ids), problem.uv, own[u] & own[v] & (labels[u] == labels[v]))
    cluster = consecutive(clusters[inside]).astype(np.int64)
    return {
        "mapping": {"row": part.nodes["row"][inside], "cluster": cluster},
        "clusters": {"id": mean_places(ids[inside], cluster, domains.volume_shape)},
    }


def problem_of(nodes: int, pairs: Mapping[str, Table], positions: Positions = None) -> Problem:
    """The problem of ``edges`` and, if they are there, ``lifted``: ``uv`` and ``cost``."""
    edges, lifted = pairs["edges"], pairs.get("lifted", {"uv": NO_EDGES, "cost": NO_COSTS})
    return Problem(nodes, edges["uv"], edges["cost"], lifted["uv"], lifted["cost"], positions)


def mean_places(
    ids: NDArray[np.uint64], cluster: NDArray[np.int64], volume_shape: Triple
) -> NDArray[np.uint64]:
    """Voxel at the mean of the nodes of each cluster, rounded down, as 1 + its flat index.

    >>> mean_places(np.array([1, 4, 6], np.uint64), np.array([0, 0, 1]), (1, 1, 9)).tolist()
    [2, 6]
    """
    size = np.bincount(cluster)
    zyx = seeds(ids, volume_shape)
    means = [
        (np.bincount(cluster, weights=axis).astype(np.int64) // np.maximum(size, 1))
        for axis in zyx.T
    ]
    return 1 + np.ravel_multi_index((means[0], means[1], means[2]), volume_shape).astype(np.uint64)

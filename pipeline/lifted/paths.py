"""Family: how well the short paths between two superpixels hold together.

The best path of a pair is the one of lowest cost among all paths of at most d steps that pass
through no hub; cost is the sum of -log(1 - P(cut)), so exp(-cost) is the probability that none
of its edges is cut, were they independent. From every source, round k finds the best paths of
at most k steps (Bellman-Ford, on the neighbourhood only).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.contract import Table
from pipeline.lifted.adjacency import Adjacency
from pipeline.lifted.bottleneck import minimum_linkage
from pipeline.lifted.config import LiftedConfig

NEVER_CERTAIN = 1e-6
"""P(cut) is kept this far below 1, so that a path's cost is finite."""
CHUNKS = 64
"""Parts into which the nodes are divided, to be walked by several threads."""


@dataclass(frozen=True, eq=False)
class Paths:
    """Short paths of pairs.

    Parameters
    ----------
    distance
        (k,) int64, fewest steps.
    number
        (k,) int64, paths of fewest steps; at 2 steps, the common neighbours.
    cost
        (k,) float64, nats, of the best path.
    steps
        (k,) int64, of the best path.
    highest
        (k,) float64, highest P(cut) on the best path.
    total
        (k,) float64, sum of P(cut) along the best path.
    """

    distance: NDArray[np.int64]
    number: NDArray[np.int64]
    cost: NDArray[np.float64]
    steps: NDArray[np.int64]
    highest: NDArray[np.float64]
    total: NDArray[np.float64]


def units(config: LiftedConfig) -> dict[str, str]:
    """Name -> unit of every column."""
    return {
        "paths/cost": "nats",
        "paths/steps": "steps",
        "paths/number": "paths",
        "paths/highest": "probability",
        "paths/mean": "probability",
        "paths/bottleneck": "probability",
    }


def values(
    paths: Paths, pairs: NDArray[np.int64], edges: Table, number_of_nodes: int, threads: int
) -> Iterator[NDArray[np.generic]]:
    """Columns of (k,), in the order of ``units``.

    Parameters
    ----------
    paths
        Of the pairs.
    pairs
        (k, 2) nodes.
    edges
        ``uv`` (m, 2) and ``p_cut`` (m,) 0..1.
    number_of_nodes
        n.
    threads
        They do not change the result.
    """
    yield paths.cost
    yield paths.steps
    yield paths.number
    yield paths.highest
    yield paths.total / paths.steps
    tree = minimum_linkage(number_of_nodes, edges["uv"], edges["p_cut"])
    yield tree.heights_of(pairs, threads)


def short_paths(
    adjacency: Adjacency,
    p_cut: NDArray[np.floating],
    pairs: NDArray[np.int64],
    *,
    max_distance: int,
    max_degree: int,
    threads: int = 1,
) -> Paths:
    """Short paths of every pair.

    Parameters
    ----------
    adjacency
        Of n nodes and m edges.
    p_cut
        (m,) 0..1, of the edges.
    pairs
        (k, 2) sorted by (u, v), at most ``max_distance`` steps apart, at most one end a hub.
    max_distance
        Steps of a path at most.
    max_degree
        Paths do not pass through nodes with more neighbours; they may end there.
    threads
        They do not change the result.

    Returns
    -------
    paths
        Rows as of the pairs.
    """
    p = np.asarray(p_cut, np.float64)[adjacency.edge]
    cost = -np.log1p(-np.minimum(p, 1 - NEVER_CERTAIN))
    through = adjacency.degree <= max_degree
    # a walk from a hub would see the whole volume
    source = np.where(through[pairs[:, 0]], pairs[:, 0], pairs[:, 1])
    target = pairs.sum(axis=1) - source
    order = np.argsort(source, kind="stable")
    source, target = source[order], target[order]
    bounds = np.searchsorted(source, np.linspace(0, len(through), CHUNKS + 1))
    whole, real = np.empty((len(source), 3), np.int64), np.empty((len(source), 3))

    def walk(chunk: int) -> None:
        rows = slice(bounds[chunk], bounds[chunk + 1])
        if rows.start < rows.stop:
            whole[order[rows]], real[order[rows]] = _best_paths(
                adjacency.start,
                adjacency.node,
                p,
                cost,
                through,
                source[rows],
                target[rows],
                max_distance,
            )

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(walk, range(CHUNKS)))
    return Paths(whole[:, 0], whole[:, 1], real[:, 0], whole[:, 2], real[:, 1], real[:, 2])


@compiled
def _best_paths(
    start: NDArray[np.int64],
    node: NDArray[np.int64],
    p: NDArray[np.float64],
    cost: NDArray[np.float64],
    through: NDArray[np.bool_],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
    max_distance: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Distance, number, steps; cost, highest, total of each row; rows of one source together."""
    n = len(through)
    seen_from = np.full(n, -1, np.int64)
    whole, real = np.empty((n, 3), np.int64), np.empty((n, 3))
    whole_rows, real_rows = np.empty((len(sources), 3), np.int64), np.empty((len(sources), 3))
    frontier, following = np.empty(n, np.int64), np.empty(n, np.int64)
    before = np.empty((n, 3))
    for row in range(len(sources)):
        source = sources[row]
        if row == 0 or source != sources[row - 1]:
            seen_from[source] = source
            whole[source], real[source] = 0, 0.0
            whole[source, 1] = 1
            frontier[0] = source
            ends = 1
            for step in range(1, max_distance + 1):
                for i in range(ends):  # as they were after the last round
                    before[i] = real[frontier[i]]
                ends = _round(
                    start,
                    node,
                    p,
                    cost,
                    through,
                    source,
                    step,
                    seen_from,
                    whole,
                    real,
                    before,
                    frontier[:ends],
                    following,
                )
                frontier, following = following, frontier
        whole_rows[row] = whole[targets[row]]
        real_rows[row] = real[targets[row]]
    return whole_rows, real_rows


@compiled
def _round(
    start: NDArray[np.int64],
    node: NDArray[np.int64],
    p: NDArray[np.float64],
    cost: NDArray[np.float64],
    through: NDArray[np.bool_],
    source: int,
    step: int,
    seen_from: NDArray[np.int64],
    whole: NDArray[np.int64],
    real: NDArray[np.float64],
    before: NDArray[np.float64],
    frontier: NDArray[np.int64],
    following: NDArray[np.int64],
) -> int:
    """One more step from all of the frontier; returns how many nodes follow it."""
    number = 0
    for i in range(len(frontier)):
        at = frontier[i]
        if step > 1 and not through[at]:
            continue
        for j in range(start[at], start[at + 1]):
            other = node[j]
            if seen_from[other] != source:
                seen_from[other] = source
                whole[other, 0], whole[other, 1], whole[other, 2] = step, 0, 0
                real[other, 0] = np.inf
            if whole[other, 0] == step and whole[at, 0] == step - 1:
                whole[other, 1] += whole[at, 1]
            reached = before[i, 0] + cost[j]
            if reached < real[other, 0]:
                real[other, 0] = reached
                real[other, 1] = max(before[i, 1], p[j])
                real[other, 2] = before[i, 2] + p[j]
                if whole[other, 2] != step:
                    whole[other, 2] = step
                    following[number] = other
                    number += 1
    return number

"""Kernighan-Lin moves between neighbouring clusters, in time linear in the edges.

One sweep:

1. Regular edges that are cut are grouped by their pair of clusters. For each pair, nodes at
   the contact change sides, best gain first, each at most once, also where a move loses; the
   best prefix of this sequence is kept.
2. From each cluster, nodes move in the same way to a new cluster, the best node first.
3. Clusters that fell apart are split.
4. Clusters are joined by greedy additive contraction.

A later sweep looks again only at clusters that changed.

A move changes only the costs of its node's edges. So regions of nodes are searched at once, with
the same result as one after the other: nodes with an edge to another region do not move, and
regions are shifted from sweep to sweep. Regions follow from positions, not from threads.

What keeps the time linear: a sequence ends ``PATIENCE`` moves after its best, and nodes of more
than ``HUB_DEGREE`` edges do not move (their neighbours do).

Kernighan & Lin, "An efficient heuristic procedure for partitioning graphs", Bell System
Technical Journal 1970; Keuper et al., "Efficient decomposition of image and mesh graphs by
lifted multicuts", ICCV 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.backend.partition import split_unconnected
from pipeline.multicut.contraction import contract
from pipeline.multicut.moves import fill_neighbours, movable_nodes, move_pairs, split_clusters
from pipeline.multicut.problem import Labels, Problem, Progress

PATIENCE = 20
HUB_DEGREE = 2000
RELATIVE_GAIN = 1e-9
"""Of the highest |cost|; a smaller gain of a sequence counts as rounding."""
SMALL_GAIN = 1e-5
"""Of the sum of |costs|; two sweeps that gain less end the search."""

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


def search(
    problem: Problem,
    progress: Progress,
    regions: Callable[[int], Int],
    *,
    max_sweeps: int,
    threads: int = 1,
) -> None:
    """Sweep from the best partition so far, until sweeps do not gain.

    Parameters
    ----------
    problem, progress
        What is solved, and where results are offered.
    regions
        Sweep -> (n,) region of every node.
    max_sweeps
        Limit of sweeps; the time limit is looked at between them.
    threads
        Regions that are searched at once.
    """
    graph = Neighbours.of(problem)
    pending = np.ones(problem.number_of_nodes, bool)
    without_gain = 0
    for number in range(max_sweeps):
        if progress.is_over or without_gain == 2 or not pending.any():
            return
        labels = progress.labels.astype(np.int64)
        region = regions(number)
        movable = movable_nodes(graph.begin, graph.neighbour, region, HUB_DEGREE)
        moved = sweep(problem, graph, labels, pending, movable, region, threads)
        result = join(problem, split_unconnected(problem.uv, moved))
        before = progress.energy
        not_yet = pending & ~movable & ~graph.hubs
        gains = progress.offer("local search", result)
        pending = not_yet | changed(labels, moved, result) if gains else not_yet
        worth_it = before - progress.energy > SMALL_GAIN * problem.total
        without_gain = 0 if worth_it else without_gain + 1


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours of node u, over regular and lifted edges: rows ``begin[u]:begin[u + 1]``."""

    begin: Int
    neighbour: NDArray[np.int64]
    cost: NDArray[np.float64]
    regular: Bool

    @classmethod
    def of(cls, problem: Problem) -> Neighbours:
        """Both directions of all edges."""
        uv, lifted_uv = problem.uv.astype(np.int64), problem.lifted_uv.astype(np.int64)
        degree = np.bincount(
            np.concatenate([uv.ravel(), lifted_uv.ravel()]), minlength=problem.number_of_nodes
        )
        begin = np.concatenate([[0], np.cumsum(degree)]).astype(np.int64)
        size = int(begin[-1])
        rows = np.empty(size, np.int64), np.empty(size), np.empty(size, bool)
        cursor = begin[:-1].copy()
        fill_neighbours(uv, problem.costs, True, cursor, *rows)
        fill_neighbours(lifted_uv, problem.lifted_costs, False, cursor, *rows)
        return cls(begin, *rows)

    @property
    def hubs(self) -> Bool:
        """Nodes that never move."""
        hubs: Bool = np.diff(self.begin) > HUB_DEGREE
        return hubs


def sweep(
    problem: Problem,
    graph: Neighbours,
    labels: Int,
    pending: Bool,
    movable: Bool,
    region: Int,
    threads: int,
) -> Int:
    """Steps 1 and 2: labels after the moves; a new cluster is n + one of its nodes.

    Clusters without a pending node are not looked at, but others may push into them.
    """
    n = problem.number_of_nodes
    active = np.zeros(n, bool)
    active[labels[pending]] = True
    uv = problem.uv
    u, v = labels[uv[:, 0]], labels[uv[:, 1]]
    chosen = (u != v) & (active[u] | active[v]) & (movable[uv[:, 0]] | movable[uv[:, 1]])
    edges = uv[chosen].astype(np.int64)
    u, v = u[chosen], v[chosen]
    pairs = Grouped.by(region[edges[:, 0]], np.minimum(u, v) * n + np.maximum(u, v), edges)
    nodes = np.flatnonzero(active[labels] & movable)
    members = Grouped.by(region[nodes], labels[nodes], nodes)
    found = labels.copy()
    costs = problem.costs, problem.lifted_costs
    tolerance = RELATIVE_GAIN * max(np.abs(c).max(initial=0.0) for c in costs)
    scratch = np.zeros(n), np.zeros(n, np.uint8)
    rows = graph.begin, graph.neighbour, graph.cost, graph.regular, movable, found, *scratch

    def work(number: int) -> None:
        edges_of, group = pairs.part(number)
        move_pairs(edges_of, group, labels, *rows, tolerance, PATIENCE)
        nodes_of, group = members.part(number)
        split_clusters(nodes_of, group, labels, *rows, tolerance, PATIENCE)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, np.unique(region)))
    return found


@dataclass(frozen=True, eq=False)
class Grouped:
    """Items sorted by region, then by key; equal keys form a group."""

    regions: Int
    keys: Int
    items: Int

    @classmethod
    def by(cls, regions: Int, keys: Int, items: Int) -> Grouped:
        """Sort; within a group the order stays."""
        order = np.lexsort((keys, regions))
        return cls(regions[order], keys[order], np.ascontiguousarray(items[order]))

    def part(self, region: int) -> tuple[Int, Int]:
        """Items of a region, and where its groups begin and end."""
        begin, end = np.searchsorted(self.regions, [region, region + 1])
        keys = self.keys[begin:end]
        first = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        groups = np.concatenate([[0], first, [len(keys)]]) if len(keys) else np.zeros(1)
        return self.items[begin:end], groups.astype(np.int64)


def join(problem: Problem, labels: Labels) -> Labels:
    """Step 4: join clusters that attract."""
    joined: Labels = contract(problem, labels).graph.greedy_additive()[labels]
    return joined


def changed(before: Int, moved: Int, after: Labels) -> Bool:
    """Nodes of clusters that lost, gained or were joined in a sweep."""
    n = len(before)
    touched = np.zeros(2 * n, bool)
    where = before != moved
    touched[before[where]] = True
    touched[moved[where]] = True
    sources = np.full(n, -1, np.int64)
    sources[after.astype(np.int64)] = moved
    again = np.zeros(n, bool)
    again[after[touched[moved] | (sources[after.astype(np.int64)] != moved)]] = True
    result: Bool = again[after.astype(np.int64)]
    return result

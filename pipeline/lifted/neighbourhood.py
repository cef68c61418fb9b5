"""Pairs of nodes 2 .. d steps apart in the graph: the lifted edges.

1. From every node but hubs the graph is walked breadth first; hubs are reached but not passed.
2. Every node keeps its nearest partners: those that overlap it two sections apart, then those
   of fewest steps, then the nearest centres. A hub keeps the nearest of those that keep it.
3. A pair stays if each keeps the other.

Hubs (background, glia, vessels) would otherwise make all their neighbours into pairs, and a
walk from one would see the whole volume.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.lifted.adjacency import Adjacency

CHUNKS = 64
"""Parts into which the nodes are divided, to be walked by several threads."""


def neighbouring_pairs(
    adjacency: Adjacency,
    centre_nm: NDArray[np.float64],
    overlapping: NDArray[np.integer],
    *,
    max_distance: int,
    max_degree: int,
    max_partners: int,
    threads: int = 1,
) -> NDArray[np.int64]:
    """All pairs 2 .. ``max_distance`` steps apart, up to the limits.

    Parameters
    ----------
    adjacency
        Of n nodes.
    centre_nm
        (n, 3) zyx in nanometres; of equal partners the nearer centre comes first, then the
        lower index.
    overlapping
        (k, 2) pairs that come before all others, where they are within the distance.
    max_distance
        Steps.
    max_degree
        Paths do not pass through nodes with more neighbours; they may end there.
    max_partners
        Partners that each node keeps at most.
    threads
        They do not change the result.

    Returns
    -------
    uv
        (k, 2) int64, u < v, sorted by (u, v), no pair twice and no edge among them.
    """
    n = len(adjacency.degree)
    through = adjacency.degree <= max_degree
    first = Adjacency.of(n, overlapping)
    centre = np.ascontiguousarray(centre_nm, np.float64)
    bounds = np.linspace(0, n, CHUNKS + 1).astype(np.int64)

    def walk(chunk: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        counts, partners = _partners(
            adjacency.start,
            adjacency.node,
            through,
            centre,
            first.start,
            first.node,
            bounds[chunk],
            bounds[chunk + 1],
            max_distance,
            max_partners,
        )
        return counts, partners

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(walk, range(CHUNKS)))
    counts = np.concatenate([part[0] for part in parts])
    partners = np.concatenate([part[1] for part in parts])
    hub_rows = _of_hubs(counts, partners, through, centre, max_partners)
    starts = np.cumsum(counts) - counts
    partners = np.insert(partners, starts[hub_rows[:, 0]], hub_rows[:, 1])
    counts = counts + np.bincount(hub_rows[:, 0], minlength=n)
    mutual: NDArray[np.int64] = _mutual(np.concatenate([[0], np.cumsum(counts)]), partners)
    return mutual


def _of_hubs(
    counts: NDArray[np.int64],
    partners: NDArray[np.int64],
    through: NDArray[np.bool_],
    centre: NDArray[np.float64],
    max_partners: int,
) -> NDArray[np.int64]:
    """(h, 2) hubs and the partners that they keep, sorted."""
    rows = np.flatnonzero(~through[partners])
    hub = partners[rows]
    partner = np.searchsorted(np.cumsum(counts), rows, side="right")
    apart = ((centre[hub] - centre[partner]) ** 2).sum(axis=1)
    order = np.lexsort((partner, apart, hub))
    hub, partner = hub[order], partner[order]
    rank = np.arange(len(hub)) - np.searchsorted(hub, hub)
    kept = np.stack([hub, partner], axis=1)[rank < max_partners]
    return kept[np.lexsort((kept[:, 1], kept[:, 0]))]


@compiled
def _partners(
    start: NDArray[np.int64],
    node: NDArray[np.int64],
    through: NDArray[np.bool_],
    centre: NDArray[np.float64],
    first_start: NDArray[np.int64],
    first_node: NDArray[np.int64],
    begin: int,
    end: int,
    max_distance: int,
    max_partners: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Partners that the nodes ``begin .. end - 1`` keep: how many, and which (ascending)."""
    n = len(through)
    seen_from = np.full(n, -1, np.int64)
    preferred_by = np.full(n, -1, np.int64)
    queue = np.empty(n, np.int64)
    level = np.empty(max_distance + 2, np.int64)
    counts = np.zeros(end - begin, np.int64)
    kept = np.empty(max_partners, np.int64)
    partners = np.empty(16 * (end - begin), np.int64)
    total = 0
    for source in range(begin, end):
        if not through[source]:
            continue
        for i in range(first_start[source], first_start[source + 1]):
            preferred_by[first_node[i]] = source
        _walk(start, node, through, source, max_distance, seen_from, queue, level)
        found = level[2]
        number = 0
        for group in range(1, max_distance + 1):
            if group == 1:  # those to be preferred, at any distance
                candidates = queue[found : level[max_distance + 1]]
                candidates = candidates[preferred_by[candidates] == source]
            else:
                candidates = queue[level[group] : level[group + 1]]
                candidates = candidates[preferred_by[candidates] != source]
            if len(candidates) > max_partners - number:
                candidates = _nearest(candidates, source, centre, max_partners - number)
            kept[number : number + len(candidates)] = candidates
            number += len(candidates)
        if total + number > len(partners):
            larger = np.empty(2 * len(partners) + number, np.int64)
            larger[:total] = partners[:total]
            partners = larger
        partners[total : total + number] = np.sort(kept[:number])
        counts[source - begin] = number
        total += number
    return counts, partners[:total].copy()


@compiled
def _walk(
    start: NDArray[np.int64],
    node: NDArray[np.int64],
    through: NDArray[np.bool_],
    source: int,
    max_distance: int,
    seen_from: NDArray[np.int64],
    queue: NDArray[np.int64],
    level: NDArray[np.int64],
) -> None:
    """Fill ``queue``: nodes d steps away are ``queue[level[d]:level[d + 1]]``."""
    seen_from[source] = source
    queue[0] = source
    level[0], level[1] = 0, 1
    end = 1
    for distance in range(1, max_distance + 1):
        for i in range(level[distance - 1], level[distance]):
            at = queue[i]
            if distance > 1 and not through[at]:
                continue
            for j in range(start[at], start[at + 1]):
                if seen_from[node[j]] != source:
                    seen_from[node[j]] = source
                    queue[end] = node[j]
                    end += 1
        level[distance + 1] = end


@compiled
def _nearest(
    candidates: NDArray[np.int64], source: int, centre: NDArray[np.float64], number: int
) -> NDArray[np.int64]:
    """The nearest of the candidates; of equally near ones the lower index."""
    ascending = np.sort(candidates)
    apart = np.empty(len(ascending))
    for i in range(len(ascending)):
        apart[i] = 0.0
        for axis in range(3):
            offset = centre[ascending[i], axis] - centre[source, axis]
            apart[i] += offset * offset
    return ascending[np.argsort(apart, kind="mergesort")[:number]]


@compiled
def _mutual(start: NDArray[np.int64], partner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs u < v of which each is in the other's (ascending) list."""
    uv = np.empty((len(partner) // 2, 2), np.int64)
    number = 0
    for u in range(len(start) - 1):
        for i in range(start[u], start[u + 1]):
            v = partner[i]
            if v > u:
                others = partner[start[v] : start[v + 1]]
                at = np.searchsorted(others, u)
                if at < len(others) and others[at] == u:
                    uv[number, 0], uv[number, 1] = u, v
                    number += 1
    return uv[:number].copy()

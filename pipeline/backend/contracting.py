"""Greedy additive edge contraction whose time does not explode at hubs.

The library's greedy solver is quadratic in the degree of a node; background, glia and vessels
are such hubs. Here the shorter list of edges moves to the longer one, so that each edge moves
O(log m) times, whatever the degrees.

1. Regular edges that attract wait in a heap, highest cost first.
2. The best edge is contracted: the cluster of fewer edges gives its edges to the other.
   Where the other has an edge to the same neighbour, the two become one that costs their sum,
   and is regular if one of them is.
3. Until no regular edge attracts.

Edges are found by their pair of nodes in an open-addressing hash table.

Keuper et al., "Efficient decomposition of image and mesh graphs by lifted multicuts", ICCV 2015.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def greedy_contraction(number_of_nodes: int, uv: Int, costs: Float, regular: Bool) -> Int:
    """Cluster (one of its nodes) of every node.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``, fewer than 2**31.
    uv
        (m, 2) int64, u < v, without duplicates; regular and lifted edges.
    costs
        (m,) float64, positive attracts.
    regular
        (m,) bool; only these are contracted.
    """
    slots = 1 << max(int(np.ceil(np.log2(max(len(uv), 1) * 2.5))), 3)
    table = np.full(slots, -1, np.int64)
    return _contract(number_of_nodes, uv.copy(), costs.copy(), regular.copy(), table)


@compiled
def _slot(u: int, v: int, uv: Int, table: Int) -> Any:
    """Where the edge of two nodes stands in the table, or the free slot where it would."""
    slot = _home(u, v, len(table))
    while table[slot] >= 0:
        a, b = uv[table[slot], 0], uv[table[slot], 1]
        if (a == u and b == v) or (a == v and b == u):
            break
        slot = (slot + 1) & (len(table) - 1)
    return slot


@compiled
def _home(u: int, v: int, slots: int) -> Any:
    """Where an edge would like to stand: a hash of its nodes, in any order."""
    mixed = np.uint64(min(u, v)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(max(u, v))
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(slots - 1))


@compiled
def _remove(slot: int, uv: Int, table: Int) -> None:
    """Free a slot, and move later entries up so that searches still find them."""
    mask = len(table) - 1
    hole = slot
    table[hole] = -1
    slot = (slot + 1) & mask
    while table[slot] >= 0:
        edge = table[slot]
        home = _home(uv[edge, 0], uv[edge, 1], len(table))
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            table[hole] = edge
            table[slot] = -1
            hole = slot
        slot = (slot + 1) & mask


@compiled
def _contract(number_of_nodes: int, uv: Int, costs: Float, regular: Bool, table: Int) -> Int:
    parent = np.arange(number_of_nodes)
    # Half-edge 2 e + side stands in the list of the cluster uv[e, side]; contracted ones, which
    # are not alive, are dropped when their list moves.
    first = np.full(number_of_nodes, -1, np.int64)
    following = np.full(2 * len(uv), -1, np.int64)
    length = np.zeros(number_of_nodes, np.int64)
    alive = np.ones(len(uv), np.bool_)
    heap = [(0.0, np.int64(0))]
    heap.pop()
    for edge in np.arange(len(uv)):
        for side in range(2):
            _append(2 * edge + side, uv[edge, side], first, following, length)
        table[_slot(uv[edge, 0], uv[edge, 1], uv, table)] = edge
        if regular[edge] and costs[edge] > 0:
            heap.append((-costs[edge], edge))
    heapq.heapify(heap)
    while len(heap) > 0:
        negative, edge = heapq.heappop(heap)
        if not alive[edge] or -negative != costs[edge]:
            continue  # an outdated entry
        stays, goes = uv[edge, 0], uv[edge, 1]
        if length[stays] < length[goes]:
            stays, goes = goes, stays
        parent[goes] = stays
        alive[edge] = False
        _remove(_slot(stays, goes, uv, table), uv, table)
        half = first[goes]
        while half >= 0:
            after = following[half]
            if alive[half // 2]:
                edge = _moved(
                    half, goes, stays, uv, costs, regular, alive, table, first, following, length
                )
                if regular[edge] and costs[edge] > 0:
                    heapq.heappush(heap, (-costs[edge], edge))
            half = after
    return _roots(parent)


@compiled
def _append(half: Any, cluster: Any, first: Int, following: Int, length: Int) -> None:
    """Put a half-edge into a cluster's list."""
    following[half] = first[cluster]
    first[cluster] = half
    length[cluster] += 1


@compiled
def _moved(
    half: Any,
    goes: int,
    stays: int,
    uv: Int,
    costs: Float,
    regular: Bool,
    alive: Bool,
    table: Int,
    first: Int,
    following: Int,
    length: Int,
) -> Any:
    """Move an edge from one cluster to another; the edge that stands there afterwards."""
    edge = half // 2
    other = uv[edge, 0] + uv[edge, 1] - goes
    _remove(_slot(goes, other, uv, table), uv, table)
    slot = _slot(stays, other, uv, table)
    twin = table[slot]
    if twin >= 0:
        costs[twin] += costs[edge]
        regular[twin] = regular[twin] or regular[edge]
        alive[edge] = False
        return twin
    uv[edge, half % 2] = stays
    _append(half, stays, first, following, length)
    table[slot] = edge
    return edge


@compiled
def _roots(parent: Int) -> Int:
    """The last parent of every node."""
    for u in range(len(parent)):
        root = u
        while parent[root] != root:
            root = parent[root]
        node = u
        while parent[node] != root:
            above = parent[node]
            parent[node] = root
            node = above
    return parent

"""Compiled loops of the local search.

Arguments that repeat: ``begin``, ``neighbour``, ``cost``, ``regular`` are ``Neighbours``;
``movable`` (n,) bool; ``labels`` (n,) int64 is changed in place; ``gain`` (n,) float64 and
``state`` (n,) uint8 are scratch, ``state`` all 0 (0 = gain unknown, 1 = known, 2 = has moved).
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
State = NDArray[np.uint8]
Node = int | np.signedinteger[Any]


@compiled
def fill_neighbours(
    uv: Int,
    costs: Float,
    is_regular: bool,
    cursor: Int,
    neighbour: Int,
    cost: Float,
    regular: Bool,
) -> None:
    """Write both directions of every edge to the rows at ``cursor``, which advances."""
    for i in range(len(uv)):
        for side in range(2):
            u = uv[i, side]
            row = cursor[u]
            neighbour[row] = uv[i, 1 - side]
            cost[row] = costs[i]
            regular[row] = is_regular
            cursor[u] = row + 1


@compiled
def movable_nodes(begin: Int, neighbour: Int, region: Int, hub_degree: int) -> Bool:
    """Nodes whose neighbours all lie in their region, unless they are hubs."""
    n = len(begin) - 1
    movable = np.zeros(n, np.bool_)
    for u in range(n):
        inside = begin[u + 1] - begin[u] <= hub_degree
        for row in range(begin[u], begin[u + 1]):
            if not inside:
                break
            inside = region[neighbour[row]] == region[u]
        movable[u] = inside
    return movable


@compiled
def move_pairs(
    edges: Int,
    groups: Int,
    original: Int,
    begin: Int,
    neighbour: Int,
    cost: Float,
    regular: Bool,
    movable: Bool,
    labels: Int,
    gain: Float,
    state: State,
    tolerance: float,
    patience: int,
) -> None:
    """Moves between pairs of clusters.

    ``edges[groups[g]:groups[g + 1]]`` are the cut edges of one pair, by their ``original``
    labels.
    """
    candidates = np.empty(2 * len(edges), np.int64)
    for g in range(len(groups) - 1):
        a = original[edges[groups[g], 0]]
        b = original[edges[groups[g], 1]]
        count = 0
        for i in range(groups[g], groups[g + 1]):
            u, v = edges[i, 0], edges[i, 1]
            if (labels[u] == a and labels[v] == b) or (labels[u] == b and labels[v] == a):
                candidates[count] = u
                candidates[count + 1] = v
                count += 2
        if count:
            _exchange(
                candidates[:count],
                a,
                b,
                begin,
                neighbour,
                cost,
                regular,
                movable,
                labels,
                gain,
                state,
                tolerance,
                patience,
            )


@compiled
def split_clusters(
    nodes: Int,
    groups: Int,
    original: Int,
    begin: Int,
    neighbour: Int,
    cost: Float,
    regular: Bool,
    movable: Bool,
    labels: Int,
    gain: Float,
    state: State,
    tolerance: float,
    patience: int,
) -> None:
    """Moves to a new cluster, which is named n + its first node.

    ``nodes[groups[g]:groups[g + 1]]`` are the movable nodes of one cluster, by their
    ``original`` labels.
    """
    n = len(begin) - 1
    first = np.empty(1, np.int64)
    for g in range(len(groups) - 1):
        a = original[nodes[groups[g]]]
        best = -np.inf
        first[0] = -1
        for i in range(groups[g], groups[g + 1]):
            u = nodes[i]
            if labels[u] == a:
                value = _gain(u, a, -1, begin, neighbour, cost, labels)
                if value > best:
                    best = value
                    first[0] = u
        if first[0] >= 0:
            _exchange(
                first,
                a,
                n + first[0],
                begin,
                neighbour,
                cost,
                regular,
                movable,
                labels,
                gain,
                state,
                tolerance,
                patience,
            )


@compiled
def _exchange(
    candidates: Int,
    a: int,
    b: int,
    begin: Int,
    neighbour: Int,
    cost: Float,
    regular: Bool,
    movable: Bool,
    labels: Int,
    gain: Float,
    state: State,
    tolerance: float,
    patience: int,
) -> None:
    """Move nodes between clusters a and b, best first; keep the best prefix of the sequence.

    After the first move of a sequence, a node moves only where it touches the other cluster.
    """
    heap = [(0.0, np.int64(0))]
    heap.pop()
    known = [np.int64(0)]
    known.pop()
    moves = [np.int64(0)]
    moves.pop()
    for u in candidates:
        if state[u] == 0 and movable[u]:
            gain[u] = _gain(u, labels[u], a + b - labels[u], begin, neighbour, cost, labels)
            state[u] = 1
            known.append(u)
            heapq.heappush(heap, (-gain[u], u))
    total, best, kept = 0.0, 0.0, 0
    while len(heap) > 0 and len(moves) - kept <= patience:
        negative, u = heapq.heappop(heap)
        if state[u] != 1 or -negative != gain[u]:
            continue  # an outdated entry
        own = labels[u]
        other = a + b - own
        if len(moves) > 0 and not _touches(u, other, begin, neighbour, regular, labels):
            state[u] = 0
            continue
        labels[u] = other
        state[u] = 2
        total += gain[u]
        moves.append(u)
        if total > best + tolerance:
            best, kept = total, len(moves)
        for row in range(begin[u], begin[u + 1]):
            v = neighbour[row]
            label = labels[v]
            if state[v] == 1:  # so it lies in a or b
                gain[v] += 2 * cost[row] if label == own else -2 * cost[row]
                heapq.heappush(heap, (-gain[v], v))
            elif state[v] == 0 and label == own and regular[row] and movable[v]:
                gain[v] = _gain(v, own, other, begin, neighbour, cost, labels)
                state[v] = 1
                known.append(v)
                heapq.heappush(heap, (-gain[v], v))
    for i in range(kept, len(moves)):
        labels[moves[i]] = a + b - labels[moves[i]]
    for u in known:
        state[u] = 0


@compiled
def _gain(
    u: Node, own: int, other: int, begin: Int, neighbour: Int, cost: Float, labels: Int
) -> float:
    """By how much the energy falls when u moves from its own to the other cluster."""
    total = 0.0
    for row in range(begin[u], begin[u + 1]):
        label = labels[neighbour[row]]
        if label == other:
            total += cost[row]
        elif label == own:
            total -= cost[row]
    return total


@compiled
def _touches(u: Node, label: int, begin: Int, neighbour: Int, regular: Bool, labels: Int) -> bool:
    """Whether a regular edge leads from u to that cluster."""
    for row in range(begin[u], begin[u + 1]):
        if regular[row] and labels[neighbour[row]] == label:
            return True
    return False

"""Agglomeration of a graph by mean, size-regularised mean, or sum of the edges' values.

1. All edges lie in a heap, lowest priority first; of equal ones the lower row of the table.
2. The top edge is contracted: the cluster with the shorter list of edges moves its edges to the
   other, and an edge that gets a parallel one is united with it (a hash map of pairs of
   clusters finds it). The united edge keeps the lower row.
3. Every contraction is a join in a tree of unions, with the value of the contracted edge.

Moving the shorter list costs O(m log m) moves in all, however large a hub is.

The priority of an edge between u and v is its value times 2 / (|u|^-k + |v|^-k), so that small
clusters join first (Beier et al., "Multicut brings automated neurite segmentation closer to
human performance", Nature Methods 2017). Clusters only grow, so an old priority is never too
high: it is corrected when its edge comes to the top. Sizes enter rounded down to powers of
2^(1/4): so an edge is corrected some dozen times at most, also at a hub that grows 50,000 times.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.lifted.merge_tree import MergeTree

SIZE_STEPS = np.unique(np.ceil(2.0 ** (np.arange(4 * 52) / 4)).astype(np.int64))
"""Sizes at which a cluster counts as larger: powers of 2^(1/4), as whole numbers from 1."""
NONE = -1
"""A hash map's free slot, and the end of a list."""


def mean_linkage(
    uv: NDArray[np.uint64],
    values: NDArray[np.floating],
    lengths: NDArray[np.floating],
    sizes: NDArray[np.integer],
    exponent: float,
) -> MergeTree:
    """Agglomerate all that is connected, by length-weighted mean value and cluster size.

    Parameters
    ----------
    uv
        (m, 2) uint64, without duplicates.
    values
        (m,) 0 or more, e.g. P(cut).
    lengths
        (m,) above 0, weights of the mean.
    sizes
        (n,) 1 or more, e.g. voxels.
    exponent
        k, 0 or more: how much smaller clusters are preferred; 0 = average linkage.

    Returns
    -------
    tree
        The height of a join is the mean value of the contracted edge (not its priority); it
        rises with time only where the exponent is 0.
    """
    weights = np.array(lengths, np.float64)
    return _tree(
        uv,
        np.asarray(values, np.float64) * weights,
        weights,
        np.array(sizes, np.int64),
        SIZE_STEPS.astype(np.float64) ** -exponent,
        np.inf,
    )


def greedy_additive(
    number_of_nodes: int, uv: NDArray[np.uint64], costs: NDArray[np.float64]
) -> MergeTree:
    """Greedy additive edge contraction: the most attractive sum first, while above 0.

    Keuper et al., "Efficient decomposition of image and mesh graphs by lifted multicuts",
    ICCV 2015; here safe against hubs, for several priors of one graph.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``.
    uv
        (m, 2) uint64, without duplicates.
    costs
        (m,) finite, positive attracts.

    Returns
    -------
    tree
        Its heights are the negative summed costs of the contracted edges.
    """
    same = np.ones(number_of_nodes, np.int64)
    return _tree(uv, -costs, np.zeros(0), same, np.ones(1), 0.0)


class Edges(NamedTuple):
    """Edges between clusters; edge e has the half-edges 2 e and 2 e + 1."""

    ends: NDArray[np.int64]
    """(2 m,) cluster in which each half-edge ends."""
    total: NDArray[np.float64]
    """(m,) sum of values times lengths."""
    lengths: NDArray[np.float64]
    """(m,) sum of lengths; (0,) where an edge's value is its total."""
    alive: NDArray[np.bool_]


class Clusters(NamedTuple):
    """Clusters, named by one of their nodes, and the linked lists of their half-edges."""

    sizes: NDArray[np.int64]
    grade: NDArray[np.int64]
    """(n,) row of ``steps`` of the size."""
    steps: NDArray[np.int64]
    regularisers: NDArray[np.float64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    listed: NDArray[np.int64]
    """(n,) half-edges in the list, those of dead edges too."""
    following: NDArray[np.int64]


class Heap(NamedTuple):
    """Living edges, the one of lowest key first."""

    key: NDArray[np.float64]
    edge: NDArray[np.int64]
    place: NDArray[np.int64]
    """(m,) row of each edge in ``key`` and ``edge``."""
    size: NDArray[np.int64]
    """(1,)"""


class PairMap(NamedTuple):
    """Open addressing: pair of clusters -> their edge.

    Pairs of clusters that are gone stay in it; their names are never used again.
    """

    pair: NDArray[np.int64]
    edge: NDArray[np.int64]
    used: NDArray[np.int64]
    """(1,)"""


def _tree(
    uv: NDArray[np.uint64],
    total: NDArray[np.float64],
    lengths: NDArray[np.float64],
    sizes: NDArray[np.int64],
    regularisers: NDArray[np.float64],
    stop: float,
) -> MergeTree:
    m, n = len(total), len(sizes)
    steps = SIZE_STEPS[: len(regularisers)]
    edges = Edges(
        ends=np.array(uv, np.int64).reshape(-1),
        total=total,
        lengths=lengths,
        alive=np.ones(m, np.bool_),
    )
    clusters = Clusters(
        sizes=sizes,
        grade=np.searchsorted(steps, sizes, side="right") - 1,
        steps=steps,
        regularisers=regularisers,
        first=np.full(n, NONE),
        last=np.full(n, NONE),
        listed=np.zeros(n, np.int64),
        following=np.full(2 * m, NONE),
    )
    heap = Heap(key=np.empty(m), edge=np.arange(m), place=np.arange(m), size=np.full(1, m))
    slots = 1 << max(3, (3 * m).bit_length())
    pairs = PairMap(
        pair=np.full(slots, NONE), edge=np.empty(slots, np.int64), used=np.zeros(1, np.int64)
    )
    return MergeTree.of(n, *_agglomerate(edges, clusters, heap, pairs, stop))


@compiled
def _agglomerate(
    edges: Edges, clusters: Clusters, heap: Heap, pairs: PairMap, stop: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Contract until no priority is below ``stop``: joined clusters in order, and heights."""
    n = len(clusters.sizes)
    _start(edges, clusters, heap, pairs)
    joined, heights = np.empty((n, 2), np.int64), np.empty(n)
    now = 0
    while heap.size[0] > 0:
        e = heap.edge[0]
        priority = _priority(e, edges, clusters)
        if priority > heap.key[0]:  # a cluster has grown since
            _sift(heap, 0, priority)
            continue
        if priority >= stop:
            break
        _remove(heap, e)
        edges.alive[e] = False
        heights[now] = _value(e, edges)
        a, b = edges.ends[2 * e], edges.ends[2 * e + 1]
        if clusters.listed[a] < clusters.listed[b]:
            a, b = b, a
        joined[now, 0], joined[now, 1] = a, b
        now += 1
        _grow(clusters, a, clusters.sizes[b])
        _move_edges(edges, clusters, heap, pairs, b, a)
        if 2 * pairs.used[0] > len(pairs.pair):
            _fill(pairs, edges, n)
    return joined[:now].copy(), heights[:now].copy()


@compiled
def _start(edges: Edges, clusters: Clusters, heap: Heap, pairs: PairMap) -> None:
    _fill(pairs, edges, len(clusters.sizes))
    for half in range(len(edges.ends)):
        _append(clusters, edges.ends[half], half)
    for e in range(len(edges.total)):
        heap.key[e] = _priority(e, edges, clusters)
    for i in range(len(edges.total) // 2 - 1, -1, -1):
        _sift_down(heap.key, heap.edge, heap.place, heap.size[0], i)


@compiled
def _value(e: int, edges: Edges) -> Any:
    return edges.total[e] / edges.lengths[e] if len(edges.lengths) else edges.total[e]


@compiled
def _priority(e: int, edges: Edges, clusters: Clusters) -> Any:
    u, v = clusters.grade[edges.ends[2 * e]], clusters.grade[edges.ends[2 * e + 1]]
    return _value(e, edges) * 2 / (clusters.regularisers[u] + clusters.regularisers[v])


@compiled
def _grow(clusters: Clusters, node: int, by: int) -> None:
    clusters.sizes[node] += by
    grade, steps = clusters.grade, clusters.steps
    while grade[node] + 1 < len(steps) and clusters.sizes[node] >= steps[grade[node] + 1]:
        grade[node] += 1


@compiled
def _append(clusters: Clusters, node: int, half: int) -> None:
    """Put a half-edge at the end of the node's list."""
    clusters.following[half] = NONE
    if clusters.first[node] == NONE:
        clusters.first[node] = half
    else:
        clusters.following[clusters.last[node]] = half
    clusters.last[node] = half
    clusters.listed[node] += 1


@compiled
def _move_edges(
    edges: Edges, clusters: Clusters, heap: Heap, pairs: PairMap, source: int, target: int
) -> None:
    """Give the living edges of one cluster to another, and unite those that become parallel."""
    half = clusters.first[source]
    while half != NONE:
        after = clusters.following[half]
        e = half // 2
        if edges.alive[e]:
            edges.ends[half] = target
            pair = _pair(target, edges.ends[half ^ 1], len(clusters.sizes))
            slot = _slot(pairs, pair)
            kept = e
            if pairs.pair[slot] == NONE:
                pairs.pair[slot] = pair
                pairs.used[0] += 1
            else:
                kept = min(e, pairs.edge[slot])
                gone = max(e, pairs.edge[slot])
                _unite(edges, kept, gone)
                _remove(heap, gone)
                _sift(heap, heap.place[kept], _priority(kept, edges, clusters))
            pairs.edge[slot] = kept
            if kept == e:
                _append(clusters, target, half)
        half = after


@compiled
def _unite(edges: Edges, kept: int, gone: int) -> None:
    edges.total[kept] += edges.total[gone]
    if len(edges.lengths):
        edges.lengths[kept] += edges.lengths[gone]
    edges.alive[gone] = False


@compiled
def _fill(pairs: PairMap, edges: Edges, number_of_nodes: int) -> None:
    """Hold the living edges and nothing else."""
    pairs.pair[:] = NONE
    pairs.used[0] = 0
    for e in range(len(edges.total)):
        if edges.alive[e]:
            pair = _pair(edges.ends[2 * e], edges.ends[2 * e + 1], number_of_nodes)
            slot = _slot(pairs, pair)
            pairs.pair[slot] = pair
            pairs.edge[slot] = e
            pairs.used[0] += 1


@compiled
def _pair(u: int, v: int, number_of_nodes: int) -> int:
    return min(u, v) * number_of_nodes + max(u, v)


@compiled
def _slot(pairs: PairMap, pair: int) -> int:
    """Slot that holds the pair, or the free one where it belongs."""
    last = len(pairs.pair) - 1
    mixed = (pair ^ (pair >> 29)) * 0x2545F4914F6CDD1D  # wraps around; spreads close pairs
    slot = (mixed ^ (mixed >> 32)) & last
    while pairs.pair[slot] not in (NONE, pair):
        slot = (slot + 1) & last
    return slot


@compiled
def _before(key: float, e: int, other_key: float, other: int) -> bool:
    return key < other_key or (key == other_key and e < other)


@compiled
def _sift_down(
    keys: NDArray[np.float64],
    edges: NDArray[np.int64],
    places: NDArray[np.int64],
    size: int,
    i: int,
) -> None:
    """Move the edge at place i towards the end, as far as its key belongs."""
    key, e = keys[i], edges[i]
    child = 2 * i + 1
    while child < size:
        right = child + 1
        if right < size and _before(keys[right], edges[right], keys[child], edges[child]):
            child = right
        if not _before(keys[child], edges[child], key, e):
            break
        keys[i], edges[i], places[edges[child]] = keys[child], edges[child], i
        i = child
        child = 2 * i + 1
    keys[i], edges[i], places[e] = key, e, i


@compiled
def _sift(heap: Heap, i: int, key: float) -> None:
    """Give the edge at place i a new key, and move it to where that belongs."""
    keys, edges, places = heap.key, heap.edge, heap.place
    e = edges[i]
    up = (i - 1) // 2
    while i > 0 and _before(key, e, keys[up], edges[up]):
        keys[i], edges[i], places[edges[up]] = keys[up], edges[up], i
        i = up
        up = (i - 1) // 2
    keys[i], edges[i], places[e] = key, e, i
    _sift_down(keys, edges, places, heap.size[0], i)


@compiled
def _remove(heap: Heap, e: int) -> None:
    """Take an edge out."""
    i = heap.place[e]
    heap.size[0] -= 1
    end = heap.size[0]
    if i != end:
        heap.edge[i] = heap.edge[end]
        _sift(heap, i, heap.key[end])

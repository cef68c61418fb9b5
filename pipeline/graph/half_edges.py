"""Half-edges: every edge seen from both of its ends, in the order of the nodes.

1. The edges are sorted by their lower end, so the half-edges of lower ends stand in order.
   Stretches of edges are sorted by their upper end (``upper``).
2. The half-edges before a node are the edges of lower ends before it and those of upper ends
   before it: their number is where the node's own begin (``first_neighbour``).
3. Stretches of the final table are merged out of both (``neighbours``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import KEY, Inputs, Outputs, Resources, Rows, Table
from pipeline.tables import row_range, row_tasks

UPPER = "upper"
"""Name of the step that sorts edges by their upper ends."""
HALVES = "half_edges"
"""Table that it keeps."""
EDGES = 1 << 20
"""Edges that one of its tasks sorts: the nodes of a task lie in few of the stretches."""


def upper_tasks(inputs: Inputs, config: Any, resources: Resources) -> int:
    """Number of stretches of edges."""
    return -(-int(inputs["edges"].count) // EDGES)


def sort_upper(task: int, inputs: Inputs, config: Any, resources: Resources) -> Outputs:
    """Half-edges of the upper ends of a stretch of edges.

    Returns
    -------
    tables
        ``half_edges``, sorted by (``key``, ``other``): the row of the upper end, that of the
        lower end, and ``edge``, that of the edge; all uint64.
    """
    begin = task * EDGES
    uv = inputs["edges"].read("uv", begin, begin + EDGES)
    order = np.argsort(uv[:, 1], kind="stable")
    edge = (begin + order).astype(np.uint64)
    return {HALVES: {KEY: uv[order, 1], "other": uv[order, 0], "edge": edge}}


def node_count(inputs: Inputs, config: Any, resources: Resources) -> int:
    """Rows of ``nodes``."""
    return int(inputs["nodes"].count)


def first_neighbours(task: int, inputs: Inputs, config: Any, resources: Resources) -> Outputs:
    """Where the half-edges of a stretch of nodes begin.

    Returns
    -------
    tables
        ``nodes``: ``first_neighbour`` uint64, row in ``neighbours``. Those of a node end
        where the next one's begin; the last node's where the table ends.
    """
    begin, end = row_range(task, inputs["nodes"].count)
    first, last = (first_row(inputs["edges"], "uv", node) for node in (begin, end))
    ends = [_lower(inputs, first, last)[0], *(key for key, _, _ in _upper(inputs, begin, end))]
    node = np.concatenate(ends).astype(np.int64) - begin
    degrees = np.bincount(node, minlength=end - begin)
    before = first + _upper_before(inputs, begin)
    return {"nodes": {"first_neighbour": (before + degrees.cumsum() - degrees).astype(np.uint64)}}


def half_edge_count(inputs: Inputs, config: Any, resources: Resources) -> int:
    """Rows of ``neighbours``: two for every edge."""
    return 2 * int(inputs["edges"].count)


def neighbours(task: int, inputs: Inputs, config: Any, resources: Resources) -> Outputs:
    """A stretch of the half-edges, sorted by (node, other).

    Returns
    -------
    tables
        ``neighbours``: ``other``, row of the other end in ``nodes``, and ``edge``, row in
        ``edges``; uint64.
    """
    nodes = inputs["nodes"]
    begin, end = row_range(task, half_edge_count(inputs, config, resources))
    if begin == end:
        return {"neighbours": {name: np.zeros(0, np.uint64) for name in ("other", "edge")}}
    low = first_row(nodes, "first_neighbour", begin + 1) - 1
    high = first_row(nodes, "first_neighbour", end)
    merged = _merged(inputs, low, high)
    skipped = begin - int(nodes.read("first_neighbour", low, low + 1)[0])
    stretch = slice(skipped, skipped + end - begin)
    return {"neighbours": {name: merged[name][stretch] for name in ("other", "edge")}}


def first_row(rows: Rows, column: str, value: int) -> int:
    """First row whose first number is at least ``value``, in a sorted column."""
    low, high = 0, row_tasks(rows.count)
    while high - low > 1:
        middle = (low + high) // 2
        begin, _ = row_range(middle, rows.count)
        if rows.read(column, begin, begin + 1).flat[0] < value:
            low = middle
        else:
            high = middle
    begin, end = row_range(low, rows.count)
    numbers = np.atleast_2d(rows.read(column, begin, end).T)[0]
    return begin + int(np.searchsorted(numbers, np.uint64(value)))


Half = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]
"""Node, other end, edge."""


def _merged(inputs: Inputs, begin: int, end: int) -> Table:
    """All half-edges of nodes ``begin .. end - 1``."""
    # stretches ascend in the lower end, which lies below the node; the upper ones lie above
    first, last = _lower_before(inputs, begin), _lower_before(inputs, end)
    halves = [*_upper(inputs, begin, end), _lower(inputs, first, last)]
    node, other, edge = (np.concatenate(column) for column in zip(*halves, strict=True))
    order = np.argsort(node, kind="stable")
    return {"other": other[order], "edge": edge[order]}


def _upper(inputs: Inputs, begin: int, end: int) -> list[Half]:
    """Half-edges of those whose upper end is one of the nodes."""
    found = inputs.parts(UPPER).between(HALVES, begin, end)
    return [(r.read(KEY, b, e), r.read("other", b, e), r.read("edge", b, e)) for r, b, e in found]


def _lower(inputs: Inputs, first: int, last: int) -> Half:
    """Half-edges of the lower ends of edges ``first .. last - 1``."""
    uv = inputs["edges"].read("uv", first, last)
    return uv[:, 0], uv[:, 1], np.arange(first, last, dtype=np.uint64)


def _lower_before(inputs: Inputs, node: int) -> int:
    """How many edges have their lower end before a node; known from where its own begin."""
    nodes = inputs["nodes"]
    if node == nodes.count:
        return int(inputs["edges"].count)
    return int(nodes.read("first_neighbour", node, node + 1)[0]) - _upper_before(inputs, node)


def _upper_before(inputs: Inputs, node: int) -> int:
    """How many edges have their upper end before a node."""
    parts = inputs.parts(UPPER)
    keys, counts = parts.keys(HALVES), parts.counts(HALVES)
    whole = keys[:, 1] < node
    open_at = np.flatnonzero(~whole & (keys[:, 0] < node))
    return int(counts[whole].sum()) + sum(
        first_row(parts[int(i)][HALVES], KEY, node) for i in open_at
    )

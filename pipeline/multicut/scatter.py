"""The whole problem, kept by cells of the volume.

Every edge is kept where its lower node lies, and once more, as ``crossing``, where its upper
node lies if that is elsewhere: so all edges of a box's nodes are found in the cells that the box
touches, however far they reach. Edges carry the ids of both ends, so that a task knows where
these lie.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import Cells
from pipeline.contract import Inputs, Outputs, Resources, Rows, Table
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.costs import edge_costs, lifted_costs
from pipeline.multicut.levels import at_once, first_domains, has_lifted, storage
from pipeline.subgraphs import by_cell, stretch, stretches
from pipeline.tables import take

COST_COLUMNS = ("p_cut", "across_sections", "length_voxels")


def scatter_tasks(inputs: Inputs, config: MulticutConfig, resources: Resources) -> int:
    """None where the problem is solved at once."""
    if at_once(inputs, config, resources.volume):
        return 0
    return stretches(*(inputs[table].count for table in ("nodes", "edges", "lifted")))


def scatter(task: int, inputs: Inputs, config: MulticutConfig, resources: Resources) -> Outputs:
    """A stretch of nodes, edges and lifted edges with their costs, keyed by storage cells.

    Returns
    -------
    kept
        ``nodes``: ``row`` int64 and ``id`` uint64; ``edges``, ``lifted`` and both with
        ``_crossing``: ``uv`` (m, 2) rows, ``id`` (m, 2) their ids, ``cost``.
    """
    cells = storage(first_domains(inputs, config, resources.volume))
    nodes, edges, lifted = inputs["nodes"], inputs["edges"], inputs["lifted"]
    begin, end = stretch(task, nodes.count)
    ids = nodes.read("id", begin, end)
    rows = np.arange(begin, end, dtype=np.int64)
    begin, end = stretch(task, edges.count)
    table = {column: edges.read(column, begin, end) for column in COST_COLUMNS}
    kept = {
        "nodes": by_cell({"row": rows, "id": ids}, cells.of_ids(ids)),
        **scattered("edges", edges, begin, edge_costs(table, config, begin), nodes, cells),
    }
    begin, end = stretch(task, lifted.count) if has_lifted(inputs, config) else (0, 0)
    table = {"p_cut": lifted.read("p_cut", begin, end)}
    costs = lifted_costs(table, edges.count, config, begin, lifted.count)
    return {**kept, **scattered("lifted", lifted, begin, costs, nodes, cells)}


def scattered(
    name: str, pairs: Rows, begin: int, costs: NDArray[np.float64], nodes: Rows, cells: Cells
) -> Outputs:
    """Rows from ``begin`` on, as many as there are costs, by the cells of both ends."""
    uv = pairs.read("uv", begin, begin + len(costs))
    ids = take(nodes, "id", uv)
    table = {"uv": uv, "id": ids, "cost": costs}
    lower, upper = cells.of_ids(ids[:, 0]), cells.of_ids(ids[:, 1])
    far = lower != upper
    return {
        name: by_cell(table, lower),
        crossing(name): by_cell(rows_where(table, far), upper[far]),
    }


def crossing(name: str) -> str:
    """Table of the same edges by their upper nodes."""
    return f"{name}_crossing"


def rows_where(table: Table, chosen: NDArray[np.bool_]) -> Table:
    """Some rows of a table."""
    return {name: column[chosen] for name, column in table.items()}

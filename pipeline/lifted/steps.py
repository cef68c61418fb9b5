"""Lifted edges cell by cell of the volume, and their table in the order of the whole graph.

1. ``scatter``: nodes, edges and overlaps are sorted into cells.
2. ``cells``: the problem of a cell and of its surroundings; the pairs whose lower node lies in
   the cell, their features and P(cut). Each pair is of one cell.
3. ``order``: for ranges of nodes, the lower node of every pair, ascending. It says how many
   pairs come before a node, and so which rows of the table a pair has.
4. ``lifted``: rows of the table, fetched from the cells by their lower nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import Cells, grown
from pipeline.contract import (
    KEY,
    ROWS,
    Inputs,
    Outputs,
    Parts,
    Resources,
    Rows,
    Step,
    Table,
    TableSpec,
)
from pipeline.errors import ConfigError
from pipeline.forests import predict
from pipeline.lifted import regions
from pipeline.lifted.config import LiftedConfig
from pipeline.lifted.problem import compute_lifted_problem, feature_units
from pipeline.subgraphs import (
    Subgraph,
    by_cell,
    cells_of_rows,
    gather,
    reach_voxels,
    stretch,
    stretches,
)
from pipeline.tables import row_range, row_tasks

FOREST = "forest"
NODE_COLUMNS = ("id", "size_voxels", "centre")
EDGE_COLUMNS = ("uv", "p_cut", "length_voxels")
OVERLAP_COLUMNS = ("uv", "voxels")
BYTES_PER_NODE, BYTES_PER_EDGE, BYTES_PER_PAIR = 2000, 200, 200
"""What a cell's problem takes at most, beside the features; measured on 77,000 superpixels."""
BYTES_PER_CLUSTERING = 200
"""What each agglomeration that runs at the same time takes for an edge."""


def cells_of(inputs: Inputs, config: LiftedConfig, resources: Resources) -> Cells:
    """Cells of the volume; they follow from the number of superpixels."""
    return Cells.of(resources.volume, inputs["nodes"].count, config.superpixels_per_cell)


def scatter_tasks(inputs: Inputs, config: LiftedConfig, resources: Resources) -> int:
    """Stretches of the tables; none where there is no forest."""
    tables = ("nodes", "edges", "overlaps")
    return 0 if config.forest == "none" else stretches(*(inputs[name].count for name in tables))


def scatter(task: int, inputs: Inputs, config: LiftedConfig, resources: Resources) -> Outputs:
    """A stretch of nodes, edges and overlaps, sorted into cells."""
    nodes = inputs["nodes"]
    cells = cells_of(inputs, config, resources)
    begin, end = stretch(task, nodes.count)
    columns = _columns(nodes, NODE_COLUMNS, begin, end)
    table = {"row": np.arange(begin, end, dtype=np.int64), **columns}
    chosen = _chosen(inputs, config)
    if chosen:
        table["features"] = nodes.read("features", begin, end)[:, chosen]

    def pairs(name: str, columns: Sequence[str]) -> Table:
        found = _columns(inputs[name], columns, *stretch(task, inputs[name].count))
        return by_cell(found, cells_of_rows(cells, nodes, found["uv"][:, 0]))

    return {
        "nodes": by_cell(table, cells.of_ids(table["id"])),
        "edges": pairs("edges", EDGE_COLUMNS),
        "overlaps": pairs("overlaps", OVERLAP_COLUMNS),
    }


def _columns(rows: Rows, names: Sequence[str], begin: int, end: int) -> Table:
    return {name: rows.read(name, begin, end) for name in names}


def _chosen(inputs: Inputs, config: LiftedConfig) -> list[int]:
    """Columns of the nodes' features that are compared."""
    if "regions" not in config.families:
        return []
    names = inputs["attributes"].get("nodes/features", {}).get("names", [])
    return regions.chosen_columns(names, config)


def cell_tasks(inputs: Inputs, config: LiftedConfig, resources: Resources) -> int:
    """Cells; none where there is no forest."""
    return 0 if config.forest == "none" else cells_of(inputs, config, resources).count


def solve_cell(task: int, inputs: Inputs, config: LiftedConfig, resources: Resources) -> Outputs:
    """Lifted edges whose lower node lies in a cell."""
    forest = resources.models.get(FOREST)
    if forest is None:
        raise ConfigError(f"lifted.forest {config.forest!r} was not opened")
    cells = cells_of(inputs, config, resources)
    reach = reach_voxels(config.context_nm, resources.volume)
    near = gather(inputs.parts("scatter"), cells, task, reach, ("edges", "overlaps"))
    if not near.inside.any():
        return {"lifted": no_pairs(config)}
    return {"lifted": _solved(near, forest, config, resources)}


def _solved(near: Subgraph, forest: Any, config: LiftedConfig, resources: Resources) -> Table:
    problem = compute_lifted_problem(
        near.nodes,
        near.pairs["edges"],
        config.region_features,
        config,
        resources.volume,
        near.pairs["overlaps"],
        of_nodes=near.inside,
        threads=resources.threads,
    )
    uv = near.nodes["row"].astype(np.uint64)[problem.uv.astype(np.int64)]
    return {
        KEY: uv[:, 0],
        "uv": uv,
        "features": problem.features,
        "p_cut": predict(forest, problem.features, problem.names, threads=resources.threads),
    }


def no_pairs(config: LiftedConfig) -> Table:
    """A kept table of no lifted edges."""
    return {
        KEY: np.zeros(0, np.uint64),
        "uv": np.zeros((0, 2), np.uint64),
        "features": np.zeros((0, len(feature_units(config))), np.float32),
        "p_cut": np.zeros(0, np.float32),
    }


def cell_memory(inputs: Inputs, config: LiftedConfig, resources: Resources) -> int:
    """Bytes of a full cell, its surroundings, and the features of its pairs."""
    if config.forest == "none":
        return 0
    cells = cells_of(inputs, config, resources)
    box = cells.box(0)
    reach = grown(box, reach_voxels(config.context_nm, resources.volume)).shape
    near = math.prod(min(r, n) for r, n in zip(reach, cells.volume_shape, strict=True)) / box.size
    nodes = inputs["nodes"].count
    inside = min(nodes, config.superpixels_per_cell)
    seen = min(nodes, near * inside)
    edges = seen * inputs["edges"].count / max(nodes, 1)
    pairs = inside * config.max_partners / 2
    return int(
        seen * BYTES_PER_NODE
        + edges * (BYTES_PER_EDGE + BYTES_PER_CLUSTERING * resources.threads)
        + pairs * (BYTES_PER_PAIR + 4 * len(feature_units(config)))
    )


def order_tasks(inputs: Inputs, config: LiftedConfig, resources: Resources) -> int:
    """Ranges of nodes; none where there is no forest."""
    return 0 if config.forest == "none" else row_tasks(inputs["nodes"].count)


def order(task: int, inputs: Inputs, config: LiftedConfig, resources: Resources) -> Outputs:
    """Lower nodes of all lifted edges of a range of nodes, ascending."""
    low, high = row_range(task, inputs["nodes"].count)
    lower = [np.zeros(0, np.uint64)]
    for rows, begin, end in inputs.parts("cells").between("lifted", low, high):
        lower.append(rows.read(KEY, begin, end))
    return {"lifted": {KEY: np.sort(np.concatenate(lower), kind="stable")}}


def pair_count(inputs: Inputs, config: LiftedConfig, resources: Resources) -> int:
    """Number of lifted edges."""
    return int(inputs.parts("order").counts("lifted").sum())


def collect(task: int, inputs: Inputs, config: LiftedConfig, resources: Resources) -> Outputs:
    """Rows of the table of lifted edges."""
    ordered = inputs.parts("order")
    begins = np.concatenate([[0], np.cumsum(ordered.counts("lifted"))])
    begin, end = row_range(task, int(begins[-1]))
    if begin == end:
        table = no_pairs(config)
        skipped = 0
    else:
        low, high = _node_at(ordered, begins, begin), _node_at(ordered, begins, end - 1)
        table = _pairs_of(inputs.parts("cells"), low, high + 1)
        skipped = begin - _pairs_before(ordered, begins, low)
    rows = slice(skipped, skipped + end - begin)
    return {"lifted": {name: table[name][rows] for name in ("uv", "features", "p_cut")}}


def _node_at(ordered: Parts, begins: NDArray[np.int64], row: int) -> int:
    """Lower node of a row of the table."""
    part = int(np.searchsorted(begins, row, side="right")) - 1
    within = row - int(begins[part])
    return int(ordered[part]["lifted"].read(KEY, within, within + 1)[0])


def _pairs_before(ordered: Parts, begins: NDArray[np.int64], node: int) -> int:
    """Number of pairs of lower nodes before one that has some."""
    part = node // ROWS
    _, begin, _ = next(ordered.between("lifted", node, node + 1))
    return int(begins[part]) + begin


def _pairs_of(solved: Parts, low: int, high: int) -> Table:
    """All pairs of a range of lower nodes, sorted; those of one lower node are of one cell."""
    pieces = list(solved.between("lifted", low, high))
    table = {
        name: np.concatenate([rows.read(name, begin, end) for rows, begin, end in pieces])
        for name in (KEY, "uv", "features", "p_cut")
    }
    by_node = np.argsort(table[KEY], kind="stable")
    return {name: column[by_node] for name, column in table.items()}


STEPS = (
    Step("scatter", scatter, tasks=scatter_tasks),
    Step(
        "cells",
        solve_cell,
        tasks=cell_tasks,
        memory=cell_memory,
        smaller_by="lifted.superpixels_per_cell",
    ),
    Step("order", order, tasks=order_tasks),
    Step(
        "lifted",
        collect,
        rows=pair_count,
        writes=(
            TableSpec(
                "lifted",
                {"uv": "uint64", "features": "float32", "p_cut": "float32"},
                widths={"uv": 2},
            ),
        ),
    ),
)

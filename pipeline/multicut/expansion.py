"""From the clusters of the rest back to all nodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import KEY, Inputs, Outputs, Resources
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.domain_contraction import mapped
from pipeline.multicut.levels import CHAINS, LIFTED, PLAIN, Chain, at_once, chains, levels
from pipeline.multicut.problem import Labels
from pipeline.tables import row_range, take

EXPAND, REST = "expand", "rest"


def expand_tasks(inputs: Inputs, config: MulticutConfig, resources: Resources) -> int:
    """One for each domain of the first level; none where there is none."""
    if at_once(inputs, config, resources.volume):
        return 0
    chain = chains(inputs, config)[-1]
    return levels(inputs, chain, config, resources.volume).count(0)


def expand_domain(
    task: int, inputs: Inputs, config: MulticutConfig, resources: Resources
) -> Outputs:
    """Neurons of the nodes of a domain, from 1; keyed by row."""
    asked = chains(inputs, config)
    rows = inputs.parts(asked[-1].solve_step(0))[task]["mapping"]["row"]
    found = {
        chain.column: followed(number, task, rows, inputs, config, resources) + np.uint64(1)
        for number, chain in enumerate(asked)
    }
    nothing = found[PLAIN.column] if asked == (PLAIN,) else np.zeros(len(rows), np.uint64)
    columns = {chain.column: found.get(chain.column, nothing) for chain in CHAINS}
    return {"labels": {KEY: rows.astype(np.uint64), **columns}}


def followed(
    number: int,
    domain: int,
    rows: NDArray[np.int64],
    inputs: Inputs,
    config: MulticutConfig,
    resources: Resources,
) -> Labels:
    """Labels of the nodes of a domain of the first level, through all levels of a chain."""
    chain: Chain = chains(inputs, config)[number]
    known = levels(inputs, chain, config, resources.volume)
    of_domain = np.full(len(rows), domain)
    for level in range(len(known.domains)):
        rows, ids = mapped(inputs.parts(chain.solve_step(level)), rows, of_domain)
        if level + 1 < len(known.domains):
            of_domain = known.domains[level + 1].of_ids(ids)
    return take(inputs.parts(REST)[number][chain.column], "label", rows)


def count_nodes(inputs: Inputs, config: MulticutConfig, resources: Resources) -> int:
    """Rows of the table of nodes."""
    count: int = inputs["nodes"].count
    return count


def neurons(task: int, inputs: Inputs, config: MulticutConfig, resources: Resources) -> Outputs:
    """Neuron of a range of nodes, with and without lifted edges; from 1."""
    begin, end = row_range(task, inputs["nodes"].count)
    columns = [chain.column for chain in (LIFTED, PLAIN)]
    if at_once(inputs, config, resources.volume):
        (rest,) = inputs.parts(REST)
        return {"nodes": {c: rest[c].read("label", begin, end) + np.uint64(1) for c in columns}}
    found = {column: np.zeros(end - begin, np.uint64) for column in columns}
    for rows, first, last in inputs.parts(EXPAND).between("labels", begin, end):
        where = rows.read(KEY, first, last).astype(np.int64) - begin
        for column in columns:
            found[column][where] = rows.read(column, first, last)
    return {"nodes": found}

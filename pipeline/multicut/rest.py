"""The last contracted problem, or a small one as it is, in one process."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import seeds
from pipeline.contract import Inputs, Outputs, Resources, Table, VolumeInfo
from pipeline.multicut.at_once import chosen_solver, log, partition, seed_positions
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.costs import edge_costs
from pipeline.multicut.domain_solver import problem_of
from pipeline.multicut.levels import (
    CHAINS,
    LIFTED,
    PLAIN,
    Chain,
    Levels,
    Size,
    at_once,
    chains,
    levels,
    whole_size,
)
from pipeline.multicut.problem import Labels, Level, Limits, Problem, Solution
from pipeline.multicut.solvers import solve

BYTES_PER_EDGE = 400
"""Of a problem that is solved in one process, its tables counted; solving takes 220 to 330."""
BASE_BYTES = 64 << 20
"""Of a task, whatever its size."""


def rest_tasks(inputs: Inputs, config: MulticutConfig, resources: Resources) -> int:
    """One where the whole problem is solved, else one for each chain."""
    if at_once(inputs, config, resources.volume):
        return 1
    return len(chains(inputs, config))


def rest_memory(inputs: Inputs, config: MulticutConfig, resources: Resources) -> int:
    """Bytes for the larger of the problems."""
    sizes = [
        levels(inputs, chain, config, resources.volume).sizes[-1].all_edges
        for chain in chains(inputs, config)
    ]
    return BASE_BYTES + BYTES_PER_EDGE * max(sizes)


def solve_rest(task: int, inputs: Inputs, config: MulticutConfig, resources: Resources) -> Outputs:
    """Clusters of the nodes that are left.

    Returns
    -------
    kept
        ``neuron`` and ``multicut``, of the problem with and without lifted edges: ``label``
        uint64 from 0, by row; a task leaves that empty which it does not solve. ``solution``:
        the record, see ``recorded``.
    """
    if at_once(inputs, config, resources.volume):
        return solve_whole(inputs, config, resources)
    chain = chains(inputs, config)[task]
    known = levels(inputs, chain, config, resources.volume)
    problem = problem_left(inputs, chain, known, config, resources.volume)
    solver = chosen_solver(problem, config)
    limits = Limits(config.time_limit_seconds, resources.threads)
    solution = solve(solver, problem, None, limits, config)
    log(f"{name_of(chain)}, the rest, {solver}", solution)
    found = replace(solution, levels=level_reports(inputs, chain, known))
    log(f"{name_of(chain)}, by domains, {solver}", found)
    return {
        **labels_table({chain: solution.labels}),
        "solution": recorded([(chain, known.sizes[-1], found)]),
    }


def solve_whole(inputs: Inputs, config: MulticutConfig, resources: Resources) -> Outputs:
    """The whole problem, with and without lifted edges."""
    volume = resources.volume
    found = partition(
        inputs["nodes"], inputs["edges"], inputs["lifted"], config, volume, resources.threads
    )
    solutions = {PLAIN: found.multicut, LIFTED: found.lifted}
    solved = CHAINS if found.lifted is not found.multicut else (PLAIN,)
    rows = []
    for chain in solved:
        log(f"{name_of(chain)}, {found.solver}", solutions[chain])
        size = whole_size(inputs, chain, config)
        rows.append((chain, size, replace(solutions[chain], levels=())))
    return {
        **labels_table({PLAIN: found.multicut_labels, LIFTED: found.labels}),
        "solution": recorded(rows),
    }


def problem_left(
    inputs: Inputs, chain: Chain, known: Levels, config: MulticutConfig, volume: VolumeInfo
) -> Problem:
    """What the last level left, or the plain problem if that is small as it is."""
    if not known.domains:
        edges, ids = inputs["edges"], inputs["nodes"]["id"]
        costs = edge_costs(edges, config)
        return Problem(len(ids), edges["uv"], costs, positions=seed_positions(ids, volume))
    places = []
    found: dict[tuple[str, str], list[NDArray[Any]]] = defaultdict(list)
    for part in inputs.parts(chain.contract_step(len(known.domains) - 1)):
        places.append(part["nodes"]["id"])
        for name, column in product(chain.pairs, ("uv", "cost")):
            found[name, column].append(part[name][column])
    pairs = {
        name: {column: np.concatenate(found[name, column]) for column in ("uv", "cost")}
        for name in chain.pairs
    }
    ids = np.concatenate(places)
    return problem_of(len(ids), pairs, seeds(ids, volume.shape).astype(np.float64))


def level_reports(inputs: Inputs, chain: Chain, known: Levels) -> tuple[Level, ...]:
    """What each level did."""
    reports = []
    for number, (size, domains) in enumerate(zip(known.sizes, known.domains, strict=False)):
        parts = inputs.parts(chain.contract_step(number))
        sums = [(costs["all"][0], costs["attractive"][0]) for costs in (p["costs"] for p in parts)]
        energy, bound = np.sum(sums, axis=0).tolist()
        reports.append(
            Level(size.nodes, size.edges, size.lifted_edges, domains.count, energy, bound, 0.0)
        )
    return tuple(reports)


def name_of(chain: Chain) -> str:
    """For people."""
    return "lifted multicut" if chain is LIFTED else "multicut"


def labels_table(labels: dict[Chain, Labels]) -> dict[str, Table]:
    """Labels of both chains, empty where they are not known."""
    none = np.zeros(0, np.uint64)
    return {chain.column: {"label": labels.get(chain, none)} for chain in CHAINS}


def recorded(rows: list[tuple[Chain, Size, Solution]]) -> Table:
    """The record of solutions: a row for each level and, last, one for what was left.

    Columns: ``lifted`` (1: with lifted edges); ``level`` from 1; ``nodes``, ``edges``,
    ``lifted_edges`` that entered it; ``domains``; ``energy`` after it and by how much it could
    fall (``improvement_bound``), in the last row that of the solution and 0; ``neurons`` and
    ``seconds`` in the last row, else 0.
    """
    found = []
    for chain, size, solution in rows:
        lifted = int(chain is LIFTED)
        for number, one in enumerate(solution.levels, 1):
            sizes = one.nodes, one.edges, one.lifted_edges, one.blocks
            found.append((lifted, number, *sizes, one.energy, one.improvement_bound, 0, 0.0))
        neurons = int(solution.labels.max()) + 1 if len(solution.labels) else 0
        last = size.nodes, size.edges, size.lifted_edges, 1
        seconds = solution.steps[-1].seconds
        number = len(solution.levels) + 1
        found.append((lifted, number, *last, solution.energy, 0.0, neurons, seconds))
    columns = zip(*found, strict=True)
    return {
        name: np.array(column, dtype)
        for (name, dtype), column in zip(RECORD.items(), columns, strict=True)
    }


RECORD = {
    "lifted": np.uint8,
    "level": np.int64,
    "nodes": np.int64,
    "edges": np.int64,
    "lifted_edges": np.int64,
    "domains": np.int64,
    "energy": np.float64,
    "improvement_bound": np.float64,
    "neurons": np.int64,
    "seconds": np.float64,
}

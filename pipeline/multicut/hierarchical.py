"""Hierarchical solver: domain decomposition of the (lifted) multicut.

1. Nodes are sorted into overlapping blocks by position (``blocks``). A sub-problem is the
   nodes of a block and the regular and lifted edges between them.
2. Sub-problems are solved in parallel: greedy additive, then local search (``local_search``).
3. A regular edge is contracted if its sub-problem joins it and both ends lie outside all
   overlaps, so that only one block holds them. In the overlaps, where a block lacks context,
   nothing is decided yet. (Contracting what overlapping blocks agree on is not enough: what
   one cuts is joined by a detour through nodes that only the other holds.)
4. The problem is contracted (``contraction``), and the next level repeats 1-3 with blocks twice
   as large; a contracted node lies at the mean position of its nodes. Levels end early when
   all lies in one block.
5. What is left is solved as a whole: greedy additive, then local search.
6. Local search on the original problem repairs what levels decided wrongly.

Sub-problems decide on disjoint edges, so neither threads nor their order change the result.

Pape et al., "Solving large multicut problems for connectomics via domain decomposition", ICCV
Workshops 2017; Pape et al., "Leveraging domain knowledge to improve microscopy image
segmentation with lifted multicuts", Frontiers in Computer Science 2019.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.multicut.blocks import Blocks, Shape, regions, shape_for, split
from pipeline.multicut.contraction import contract, joined
from pipeline.multicut.kernighan_lin import improve
from pipeline.multicut.local_search import search
from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Level, Limits, Problem, Progress, Solution


def hierarchical(
    problem: Problem, start: Labels | None, limits: Limits, parameters: SolverParameters
) -> Solution:
    """Solve overlapping blocks, contract, repeat with larger ones, solve the rest, repair.

    The time limit is looked at before every block and every sweep of local search. When it
    has passed, blocks that have not begun join nothing, and the rest is solved by greedy
    additive alone. A start is only compared with the result.

    Raises
    ------
    ValueError
        For a problem without positions.
    """
    if problem.positions is None:
        raise ValueError("the hierarchical solver needs the positions of the nodes")
    progress = Progress(problem, start, limits)
    shape = parameters.block_shape or shape_for(problem.positions, parameters.block_nodes)
    labels, rest, levels = problem.graph.singletons(), problem, []
    for number in range(parameters.levels):
        blocks = split(rest, scaled(shape, 2**number), parameters.block_overlap)
        if len(blocks) <= 1 or progress.is_over:
            break
        join = contractible(rest, blocks, progress, limits.threads, parameters)
        clusters = joined(rest.number_of_nodes, rest.uv, join)
        entered, rest, labels = rest, contract(rest, clusters), clusters[labels]
        progress.offer(f"level {number + 1}", labels)
        levels.append(level_report(entered, blocks, rest, progress.seconds))
    inner = Progress(rest, rest.graph.greedy_additive(), progress.remaining)
    progress.offer("rest, greedy additive", inner.labels[labels])
    polish(rest, inner, scaled(shape, 2), limits.threads, parameters)
    progress.offer("rest, local search", inner.labels[labels])
    polish(problem, progress, scaled(shape, 2), limits.threads, parameters)
    if parameters.refine:
        improve(problem, progress, parameters.max_outer_iterations)
    return progress.solution(tuple(levels))


def scaled(shape: Shape, factor: int) -> Shape:
    """The shape of larger blocks."""
    z, y, x = shape
    return z * factor, y * factor, x * factor


def contractible(
    problem: Problem,
    blocks: Blocks,
    progress: Progress,
    threads: int,
    parameters: SolverParameters,
) -> NDArray[np.bool_]:
    """(m,) Regular edges that the only sub-problem that holds both ends joins."""

    def solved(block: int) -> NDArray[np.intp]:
        if progress.is_over:
            return np.zeros(0, np.intp)
        part = blocks.problem(problem, block)
        labels = local_solution(part, progress.remaining, parameters)
        join = labels[part.uv[:, 0]] == labels[part.uv[:, 1]]
        rows: NDArray[np.intp] = blocks.edges[block][join & blocks.owns(problem.uv, block)]
        return rows

    chosen = np.zeros(len(problem.uv), bool)
    with_edges = np.flatnonzero(np.diff(blocks.edges.begin))
    with ThreadPoolExecutor(threads) as pool:
        for rows in pool.map(solved, with_edges):
            chosen[rows] = True
    return chosen


def local_solution(problem: Problem, limits: Limits, parameters: SolverParameters) -> Labels:
    """Solution of a sub-problem: greedy additive, then local search in one region."""
    progress = Progress(problem, problem.graph.greedy_additive(), limits)
    region = np.zeros(problem.number_of_nodes, np.int64)
    search(problem, progress, lambda _: region, max_sweeps=parameters.max_outer_iterations)
    return progress.labels


def polish(
    problem: Problem, progress: Progress, shape: Shape, threads: int, parameters: SolverParameters
) -> None:
    """Local search from the best partition so far, in regions of a shape."""
    assert problem.positions is not None
    search(
        problem,
        progress,
        partial(regions, problem.positions, shape),
        max_sweeps=parameters.max_outer_iterations,
        threads=threads,
    )


def level_report(entered: Problem, blocks: Blocks, rest: Problem, seconds: float) -> Level:
    """What a level did: its size, and what of the energy is still open."""
    costs = np.concatenate([rest.costs, rest.lifted_costs])
    return Level(
        nodes=entered.number_of_nodes,
        edges=len(entered.uv),
        lifted_edges=len(entered.lifted_uv),
        blocks=int(np.count_nonzero(np.diff(blocks.nodes.begin))),
        energy=float(costs.sum()),
        improvement_bound=float(costs[costs > 0].sum()),
        seconds=seconds,
    )

"""A (lifted) multicut problem, what limits its solver, and what a solver returns.

A solver is a function ``(problem, start, limits, parameters) -> Solution``; see ``SOLVERS``.
Its result is never worse than ``start``, and every cluster is connected by regular edges.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.backend.partition import Partitioning
from pipeline.multicut.parameters import SolverParameters

UV = NDArray[np.uint64]
Costs = NDArray[np.float64]
Labels = NDArray[np.uint64]

NO_EDGES: UV = np.zeros((0, 2), np.uint64)
NO_COSTS: Costs = np.zeros(0)
RELATIVE_GAIN = 1e-9
"""A gain below this share of all |costs| counts as rounding."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise the costs of cut edges over all partitions into connected clusters.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``; some may have no edge.
    uv, costs
        Regular edges: (m, 2) uint64, u < v, no duplicates; (m,) float64, positive attracts.
    lifted_uv, lifted_costs
        Lifted edges: the same, disjoint from ``uv``; none = a plain multicut.
    positions
        (n, 3) float64, zyx voxels, where each node lies (its seed); only the hierarchical
        solver needs them.

    Raises
    ------
    ValueError
        For costs that are not finite, malformed edges, or positions of other length.
    """

    number_of_nodes: int
    uv: UV
    costs: Costs
    lifted_uv: UV = field(default_factory=lambda: NO_EDGES)
    lifted_costs: Costs = field(default_factory=lambda: NO_COSTS)
    positions: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.positions is not None and self.positions.shape != (self.number_of_nodes, 3):
            raise ValueError(
                f"positions are {self.positions.shape}, expected ({self.number_of_nodes}, 3)"
            )
        graph = self.graph  # sorts the edges, and refuses malformed ones
        for name in ("uv", "costs", "lifted_uv", "lifted_costs"):
            object.__setattr__(self, name, getattr(graph, name))

    @cached_property
    def graph(self) -> Partitioning:
        """The problem in the graph library."""
        return Partitioning(
            self.number_of_nodes, self.uv, self.costs, self.lifted_uv, self.lifted_costs
        )

    @property
    def is_lifted(self) -> bool:
        """Whether there are lifted edges."""
        return len(self.lifted_uv) > 0

    @property
    def without_lifted(self) -> Problem:
        """The plain multicut on the same graph."""
        return replace(self, lifted_uv=NO_EDGES, lifted_costs=NO_COSTS)

    def energy(self, labels: Labels) -> float:
        """Sum of the costs of all regular and lifted edges that ``labels`` cut."""
        return self.graph.energy(labels)

    @cached_property
    def total(self) -> float:
        """Sum of the absolute costs of all edges: the scale of the energy."""
        return float(np.abs(self.costs).sum() + np.abs(self.lifted_costs).sum())


@dataclass(frozen=True)
class Limits:
    """What a solver may use.

    Parameters
    ----------
    seconds
        After this time no further iteration (or block) begins; what runs is finished, and a
        greedy solution is always given. With a limit the result depends on the machine.
    threads
        Sub-problems that are solved at once; results do not depend on it.
    """

    seconds: float | None = None
    threads: int = 1

    def after(self, seconds: float) -> Limits:
        """The limits, with the time that is left after some seconds."""
        if self.seconds is None:
            return self
        return replace(self, seconds=max(self.seconds - seconds, 0.0))


@dataclass(frozen=True)
class Step:
    """The best energy after one step of a solver, and the seconds since it began."""

    name: str
    seconds: float
    energy: float


@dataclass(frozen=True)
class Level:
    """One level of the hierarchical solver.

    Parameters
    ----------
    nodes, edges, lifted_edges
        Size of the problem that entered the level.
    blocks
        Sub-problems that were solved.
    energy
        Of the partition contracted so far, in the original problem.
    improvement_bound
        The energy cannot fall by more than this as long as what is contracted stays so: the
        attraction that is cut (sum of the positive costs of cut edges) after contraction.
    seconds
        Since the solver began.
    """

    nodes: int
    edges: int
    lifted_edges: int
    blocks: int
    energy: float
    improvement_bound: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Solution:
    """A partition of the nodes.

    Parameters
    ----------
    labels
        (n,) uint64, consecutive from 0 by first node; each cluster is connected.
    energy
        Sum of the costs of all cut edges, regular and lifted; lower is better.
    steps
        Anytime record: the best energy after each step.
    levels
        Of the hierarchical solver.
    """

    labels: Labels
    energy: float
    steps: tuple[Step, ...] = ()
    levels: tuple[Level, ...] = ()


Solver = Callable[[Problem, Labels | None, Limits, SolverParameters], Solution]
"""``start`` is a warm start: the solution is not worse; ``None``: from nothing."""


class Progress:
    """Keeps the best partition that is offered, and the time.

    Parameters
    ----------
    problem
        What is solved.
    start
        The first partition on offer; may be none.
    limits
        The time limit is counted from here.
    """

    def __init__(self, problem: Problem, start: Labels | None, limits: Limits) -> None:
        self._problem, self._limits = problem, limits
        self._began = time.monotonic()
        self._steps: list[Step] = []
        self.labels = problem.graph.singletons()
        self.energy = np.inf
        if start is not None:
            self.offer("start", problem.graph.connected(start))

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Whether the time limit has passed."""
        return self._limits.seconds is not None and self.seconds >= self._limits.seconds

    @property
    def remaining(self) -> Limits:
        """The limits, with the time that is left."""
        return self._limits.after(self.seconds)

    def offer(self, step: str, labels: Labels) -> bool:
        """Keep a connected partition if it gains; whether it did."""
        energy = self._problem.energy(labels)
        gains = energy < self.energy - RELATIVE_GAIN * self._problem.total
        if gains:
            self.labels, self.energy = labels, energy
        self._steps.append(Step(step, self.seconds, self.energy))
        return gains

    def solution(self, levels: tuple[Level, ...] = ()) -> Solution:
        """The best partition so far."""
        return Solution(self.labels, self.energy, tuple(self._steps), levels)

"""Graph partitioning by bioimage_cpp, guarded against its known defects.

Costs are signed: positive attracts. Nodes are dense, ``0 .. number_of_nodes - 1``. What is
guarded here, once for all callers:

1. Edge ids follow sorted edges, so unsorted rows are sorted with their costs.
2. NaN or infinite costs are an error that names the row.
3. Kernighan-Lin can end worse than it began: one outer iteration at a time is offered, and
   the caller keeps the best.
4. Greedy additive contraction is quadratic in a node's degree: where there are hubs, our own
   is used (``contracting``).
5. A cluster may hold nodes that no regular edge connects: every result is split into
   connected components.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.agglomeration import GaspClusterPolicy
from bioimage_cpp.graph.lifted_multicut import (
    FusionMoveLiftedMulticut,
    LiftedGreedyAdditiveMulticut,
    LiftedKernighanLinMulticut,
    LiftedMulticutObjective,
)
from bioimage_cpp.graph.multicut import (
    FusionMoveMulticut,
    GreedyAdditiveMulticut,
    GreedyFixationMulticut,
    KernighanLinMulticut,
    MulticutObjective,
    WatershedProposalGenerator,
)
from bioimage_cpp.graph.mutex_watershed import mutex_watershed_clustering
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.backend.contracting import greedy_contraction

HUB_DEGREE = 2000
"""With a node of more edges, greedy contraction is our own."""

UV = NDArray[np.uint64]
Costs = NDArray[np.float64]
Labels = NDArray[np.uint64]


class Partitioning:
    """A multicut or lifted multicut problem on one graph.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``.
    uv
        (m, 2) uint64, regular edges, u < v, without duplicates.
    costs
        (m,) float64, positive attracts.
    lifted_uv
        (k, 2) uint64, lifted edges, u < v, without duplicates and disjoint from ``uv``.
    lifted_costs
        (k,) float64, positive attracts.

    Raises
    ------
    ValueError
        For costs that are not finite, or edges that are not as described.
    """

    def __init__(
        self,
        number_of_nodes: int,
        uv: UV,
        costs: Costs,
        lifted_uv: UV | None = None,
        lifted_costs: Costs | None = None,
    ) -> None:
        self.number_of_nodes = number_of_nodes
        self.uv, self.costs = _sorted_edges(number_of_nodes, uv, costs, "edge")
        empty = np.zeros((0, 2), np.uint64), np.zeros(0)
        given = (
            (lifted_uv, lifted_costs)
            if lifted_uv is not None and lifted_costs is not None
            else empty
        )
        self.lifted_uv, self.lifted_costs = _sorted_edges(number_of_nodes, *given, "lifted edge")

    def energy(self, labels: Labels) -> float:
        """Sum of the costs of all regular and lifted edges that ``labels`` cut."""
        return _cut_cost(self.uv, self.costs, labels) + _cut_cost(
            self.lifted_uv, self.lifted_costs, labels
        )

    def greedy_additive(self) -> Labels:
        """Partition by greedy additive edge contraction (GAEC).

        Keuper et al., "Efficient decomposition of image and mesh graphs by lifted
        multicuts", ICCV 2015.
        """
        if self._highest_degree > HUB_DEGREE:
            return self._greedy_with_hubs()
        solver: Any = (
            LiftedGreedyAdditiveMulticut() if self._is_lifted else GreedyAdditiveMulticut()
        )
        return self._solved(solver, self.singletons())

    def _greedy_with_hubs(self) -> Labels:
        found = greedy_contraction(
            self.number_of_nodes,
            np.concatenate([self.uv, self.lifted_uv]).astype(np.int64),
            np.concatenate([self.costs, self.lifted_costs]),
            np.arange(len(self.uv) + len(self.lifted_uv)) < len(self.uv),
        )
        return split_unconnected(self.uv, found)

    @property
    def _highest_degree(self) -> int:
        ends = np.concatenate([self.uv.ravel(), self.lifted_uv.ravel()]).astype(np.int64)
        return int(np.bincount(ends).max(initial=0))

    def kernighan_lin(self, labels: Labels) -> Labels:
        """One outer iteration of Kernighan-Lin from ``labels``; may end worse than them.

        Without lifted edges the library takes the all-apart start for "no start given" and
        runs the greedy solver first; that is no worse.
        """
        solver: Any = (
            LiftedKernighanLinMulticut(number_of_outer_iterations=1)
            if self._is_lifted
            else KernighanLinMulticut(number_of_outer_iterations=1)
        )
        return self._solved(solver, labels)

    def greedy_fixation(self) -> Labels:
        """Partition by greedy fixation; plain multicut only.

        Levinkov et al., "A comparative study of local search algorithms for correlation
        clustering", GCPR 2017.
        """
        if self._is_lifted:
            raise ValueError("greedy fixation knows no lifted edges")
        return self._solved(GreedyFixationMulticut(), self.singletons())

    def fusion_moves(self, labels: Labels, proposals: int, seed: int) -> Labels:
        """Fuse ``labels`` with watershed proposals, one after the other; never worse.

        Beier et al., "Fusion moves for correlation clustering", CVPR 2015.
        """
        fusion: Any = FusionMoveLiftedMulticut if self._is_lifted else FusionMoveMulticut
        solver = fusion(
            proposal_generator=WatershedProposalGenerator(seed=seed),
            number_of_iterations=proposals,
            stop_if_no_improvement=proposals,
            number_of_threads=1,
            number_of_parallel_proposals=1,
        )
        return self._solved(solver, labels)

    def mutex_watershed(self) -> Labels:
        """Mutex watershed; repulsive edges of both kinds forbid, attractive lifted ones are lost.

        Wolf et al., "The mutex watershed and its objective", PAMI 2020.
        """
        attract = self.costs > 0
        if not attract.any():
            return self.singletons()
        apart, lifted_apart = self.costs < 0, self.lifted_costs < 0
        return consecutive(
            mutex_watershed_clustering(
                UndirectedGraph.from_unique_edges(self.number_of_nodes, self.uv[attract]),
                self.costs[attract],
                np.concatenate([self.uv[apart], self.lifted_uv[lifted_apart]]),
                -np.concatenate([self.costs[apart], self.lifted_costs[lifted_apart]]),
            )
        )

    def connected(self, labels: Labels) -> Labels:
        """The partition with every cluster split into its connected components."""
        if len(labels) != self.number_of_nodes:
            raise ValueError(f"{len(labels)} labels for {self.number_of_nodes} nodes")
        return split_unconnected(self.uv, labels)

    def singletons(self) -> Labels:
        """Every node on its own."""
        return np.arange(self.number_of_nodes, dtype=np.uint64)

    @property
    def _is_lifted(self) -> bool:
        return len(self.lifted_uv) > 0

    def _solved(self, solver: Any, start: Labels) -> Labels:
        if not len(self.uv):
            return self.singletons()
        self._objective.labels = start
        return split_unconnected(self.uv, solver.optimize(self._objective))

    @cached_property
    def _objective(self) -> Any:
        graph = UndirectedGraph.from_unique_edges(self.number_of_nodes, self.uv)
        if not self._is_lifted:
            return MulticutObjective(graph, self.costs)
        return LiftedMulticutObjective(
            graph, self.costs, lifted_uvs=self.lifted_uv, lifted_costs=self.lifted_costs
        )


def average_linkage(number_of_nodes: int, uv: UV, costs: Costs) -> Labels:
    """Join the two clusters of highest mean cost between them, while it is above 0.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``.
    uv
        (m, 2) uint64, u < v, without duplicates.
    costs
        (m,) float64, positive attracts; every edge counts once in the mean.

    Returns
    -------
    labels
        (n,) uint64, consecutive from 0 by first node.
    """
    uv, costs = _sorted_edges(number_of_nodes, uv, costs, "edge")
    if not len(uv):
        return np.arange(number_of_nodes, dtype=np.uint64)
    graph = UndirectedGraph.from_unique_edges(number_of_nodes, uv)
    return consecutive(
        GaspClusterPolicy(linkage="mean").optimize(graph, costs, edge_sizes=np.ones(len(uv)))
    )


def split_unconnected(uv: UV, labels: NDArray[Any]) -> Labels:
    """Split every cluster into the components that regular edges connect.

    Returns
    -------
    labels
        (n,) uint64, consecutive from 0 by first node.
    """
    n = len(labels)
    if n == 0:
        return np.zeros(0, np.uint64)
    inside = uv[labels[uv[:, 0]] == labels[uv[:, 1]]].astype(np.int64)
    graph = coo_array((np.ones(len(inside), bool), (inside[:, 0], inside[:, 1])), shape=(n, n))
    _, components = connected_components(graph, directed=False)
    return consecutive(components)


def consecutive(labels: NDArray[Any]) -> Labels:
    """The same partition with labels 0, 1, ... in the order of their first nodes.

    >>> consecutive(np.array([7, 7, 3, 7, 5])).tolist()
    [0, 0, 1, 0, 2]
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.uint64)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.uint64)
    return rank[inverse]


def _cut_cost(uv: UV, costs: Costs, labels: Labels) -> float:
    return float(costs[labels[uv[:, 0]] != labels[uv[:, 1]]].sum())


def _sorted_edges(number_of_nodes: int, uv: UV, costs: Costs, what: str) -> tuple[UV, Costs]:
    costs = _finite(np.asarray(costs, np.float64), what)
    if len(costs) != len(uv):
        raise ValueError(f"{len(costs)} costs for {len(uv)} {what}s")
    uv, order = _ordered(number_of_nodes, uv, what)
    return uv, np.ascontiguousarray(costs[order])


def _ordered(number_of_nodes: int, uv: UV, what: str) -> tuple[UV, NDArray[np.int64]]:
    uv = np.asarray(uv, np.uint64).reshape(-1, 2)
    u, v = uv.T
    if ((u[1:] > u[:-1]) | ((u[1:] == u[:-1]) & (v[1:] >= v[:-1]))).all():
        order = np.arange(len(uv))
    else:
        order = np.lexsort((v, u))
    uv = np.ascontiguousarray(uv[order])
    if len(uv) and int(uv.max()) >= number_of_nodes:
        raise ValueError(f"an {what} names node {int(uv.max())} of only {number_of_nodes}")
    if (uv[:, 0] >= uv[:, 1]).any():
        raise ValueError(f"every {what} needs u < v")
    if (uv[1:] == uv[:-1]).all(axis=1).any():
        raise ValueError(f"{what}s must not repeat")
    return uv, order


def _finite(values: Costs, what: str) -> Costs:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"the cost of {what} {bad[0]} is {values[bad[0]]} ({len(bad)} in all)")
    return values

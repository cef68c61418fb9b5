"""Contraction of a (lifted) multicut problem: joined nodes become one, parallel edges add up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.backend.partition import consecutive
from pipeline.multicut.problem import UV, Costs, Labels, Problem


def joined(number_of_nodes: int, uv: UV, join: NDArray[np.bool_]) -> Labels:
    """Components that the edges marked in ``join`` connect.

    Returns
    -------
    labels
        (n,) uint64, consecutive from 0 by first node.

    Examples
    --------
    >>> uv = np.array([[0, 1], [1, 2], [2, 3]], np.uint64)
    >>> joined(4, uv, np.array([False, True, False])).tolist()
    [0, 1, 1, 2]
    """
    if number_of_nodes == 0:
        return np.zeros(0, np.uint64)
    u, v = uv[join].T.astype(np.int32 if number_of_nodes < 2**31 else np.int64)
    graph = coo_array((np.ones(len(u), bool), (u, v)), shape=(number_of_nodes, number_of_nodes))
    return consecutive(connected_components(graph, directed=False)[1])


def contract(problem: Problem, labels: Labels) -> Problem:
    """The problem whose nodes are the clusters of ``labels``.

    1. Edges inside a cluster disappear; they are never cut.
    2. Parallel regular edges become one that costs their sum; so do parallel lifted edges.
    3. A lifted edge whose clusters are neighbours adds its cost to their regular edge, so
       that regular and lifted edges stay disjoint.

    The energy of a partition of the clusters is that of the same partition of the nodes.

    Parameters
    ----------
    problem
        n nodes.
    labels
        (n,) uint64, consecutive from 0; every cluster is connected.

    Returns
    -------
    contracted
        Its node ``i`` is cluster ``i``; positions are means over the cluster.
    """
    number = int(labels.max()) + 1 if len(labels) else 0
    regular, costs = _summed(problem.uv, problem.costs, labels, number)
    lifted, lifted_costs = _summed(problem.lifted_uv, problem.lifted_costs, labels, number)
    index = np.searchsorted(regular, lifted)
    index[index == len(regular)] = 0
    beside = regular[index] == lifted if len(regular) else np.zeros(len(lifted), bool)
    costs[index[beside]] += lifted_costs[beside]
    return Problem(
        number,
        _pairs(regular, number),
        costs,
        _pairs(lifted[~beside], number),
        lifted_costs[~beside],
        _means(problem.positions, labels, number),
    )


def _summed(
    uv: UV, costs: Costs, labels: Labels, number: int
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Sorted keys ``u * number + v`` of the contracted edges, and the sums of their costs."""
    u, v = labels[uv[:, 0]], labels[uv[:, 1]]
    between = u != v
    u, v = u[between], v[between]
    keys = np.minimum(u, v) * np.uint64(number) + np.maximum(u, v)
    order = np.argsort(keys, kind="stable")
    keys, costs = keys[order], costs[between][order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
    return keys[first], np.add.reduceat(costs, first) if len(first) else np.zeros(0)


def _pairs(keys: NDArray[np.uint64], number: int) -> UV:
    return np.stack(np.divmod(keys, np.uint64(max(number, 1))), axis=1)


def _means(
    positions: NDArray[np.float64] | None, labels: Labels, number: int
) -> NDArray[np.float64] | None:
    if positions is None:
        return None
    index = labels.astype(np.int64)
    size = np.bincount(index, minlength=number)
    total = [np.bincount(index, weights=axis, minlength=number) for axis in positions.T]
    return np.stack(total, axis=1) / size[:, None]

"""Large (lifted) multicut problems, made from a real one.

1. A real region adjacency graph, with P(cut) of its regular and lifted edges.
2. It is mirrored along y and x as often as needed, as the image would be: a superpixel that
   touches a seam meets its own mirror image there.
3. Costs get fresh noise in every copy, so that no two parts of the problem are alike.
4. What lies beyond the wanted number of edges is cropped along y, and the largest connected
   component is kept, its nodes numbered in raster order of their centres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.contract import Table, VolumeInfo
from pipeline.lifted.config import LiftedConfig
from pipeline.lifted.problem import compute_lifted_problem
from pipeline.multicut.costs import signed_costs
from pipeline.multicut.problem import Problem

SIZES = {"92 k": 92_000, "434 k": 434_000, "1.7 M": 1_720_000}
"""Numbers of regular edges; the smallest is that of the ISBI stack under elf's watershed."""
NOISE = 0.5
"""Standard deviation of the noise on costs, in nats."""
SEAM_P_CUT = 0.1
"""P(cut) between a superpixel and its mirror image."""
LIFTED_PER_EDGE = 0.9


@dataclass(frozen=True, eq=False)
class RealGraph:
    """One volume's graph.

    Parameters
    ----------
    shape
        Of the volume, zyx voxels.
    centre
        (n, 3) float64, zyx voxels.
    box
        (n, 6) int64, z0 y0 x0 z1 y1 x1, half open.
    uv, p_cut
        (m, 2) uint64, u < v, and (m,) float32 0..1.
    lifted_uv, lifted_p_cut
        (k, 2) uint64, u < v, disjoint from ``uv``, and (k,) float32 0..1.
    """

    shape: tuple[int, int, int]
    centre: NDArray[np.float64]
    box: NDArray[np.int64]
    uv: NDArray[np.uint64]
    p_cut: NDArray[np.float32]
    lifted_uv: NDArray[np.uint64]
    lifted_p_cut: NDArray[np.float32]


def real_graph(
    nodes: Table, edges: Table, p_cut: NDArray[np.float32], volume: VolumeInfo
) -> RealGraph:
    """A graph with lifted edges between superpixels two or three steps apart.

    Their P(cut) is the chance that any edge of the path of least cost is cut:
    ``1 - prod(1 - p)``.

    Parameters
    ----------
    nodes, edges
        Tables of stage ``graph``.
    p_cut
        (m,) 0..1, of the edges.
    volume
        Its shape is that of the tile.
    """
    config = LiftedConfig(families=("paths",), max_distance=3)
    lifted = compute_lifted_problem(nodes, {**edges, "p_cut": p_cut}, [], config, volume)
    cost = lifted.features[:, lifted.names.index("paths/cost")]
    return RealGraph(
        volume.shape, nodes["centre"], nodes["box"], edges["uv"], p_cut, lifted.uv, -np.expm1(-cost)
    )


def tiled_problem(graph: RealGraph, edges: int, seed: int) -> Problem:
    """A connected problem of about ``edges`` regular edges.

    Parameters
    ----------
    graph
        The real graph; its largest connected component must hold most of it.
    edges
        Number of regular edges that is aimed at.
    seed
        Of the noise, and of the choice among the lifted edges: ``LIFTED_PER_EDGE`` times as
        many as there are regular ones, or all.

    Returns
    -------
    problem
        Edges sorted by (u, v); ``positions`` are the centres.
    """
    rng = np.random.default_rng(seed)
    rows = math.ceil(math.sqrt(edges / len(graph.uv)))
    columns = math.ceil(edges / len(graph.uv) / rows)
    centre = _centres(graph, rows, columns)
    copies = rows * columns
    seams = _seams(graph, rows, columns)
    uv = np.concatenate([_copied(graph.uv, len(graph.centre), copies), seams])
    p_cut = np.concatenate(
        [np.tile(graph.p_cut, copies), np.full(len(seams), SEAM_P_CUT, np.float32)]
    )
    share = min(1.0, LIFTED_PER_EDGE * len(graph.uv) / max(len(graph.lifted_uv), 1))
    lifted_uv = _copied(graph.lifted_uv, len(graph.centre), copies)
    drawn = rng.random(len(lifted_uv)) < share
    keep = _kept_nodes(centre, uv, edges)
    number = _numbers(centre, keep)
    uv, costs = _numbered(uv, _noisy(p_cut, rng), number)
    lifted_uv, lifted_costs = _numbered(
        lifted_uv[drawn], _noisy(np.tile(graph.lifted_p_cut, copies)[drawn], rng), number
    )
    positions = np.empty((int(keep.sum()), 3))
    positions[number[keep]] = centre[keep]
    return Problem(len(positions), uv, costs, lifted_uv, lifted_costs, positions)


def _centres(graph: RealGraph, rows: int, columns: int) -> NDArray[np.float64]:
    """Centres of all copies, one tile after the other, every second one mirrored."""
    _, height, width = graph.shape
    z, y, x = graph.centre.T
    tiles = []
    for row in range(rows):
        for column in range(columns):
            tile_y = row * height + (height - 1 - y if row % 2 else y)
            tile_x = column * width + (width - 1 - x if column % 2 else x)
            tiles.append(np.stack([z, tile_y, tile_x], 1))
    return np.concatenate(tiles)


def _seams(graph: RealGraph, rows: int, columns: int) -> NDArray[np.int64]:
    """Pairs of a superpixel and its mirror image in the next tile along y or x."""
    n = len(graph.centre)
    touching = {
        (axis, odd): np.flatnonzero(
            graph.box[:, axis] == 0
            if odd  # this tile is mirrored: its far side is the near side of the original
            else graph.box[:, 3 + axis] == graph.shape[axis]
        )
        for axis in (1, 2)
        for odd in (0, 1)
    }
    pairs = [np.zeros((0, 2), np.int64)]
    for row in range(rows):
        for column in range(columns):
            here = (row * columns + column) * n
            for axis, at, last, step in (
                (1, row, rows - 1, columns * n),
                (2, column, columns - 1, n),
            ):
                if at < last:
                    nodes = here + touching[axis, at % 2]
                    pairs.append(np.stack([nodes, nodes + step], 1))
    return np.concatenate(pairs)


def _copied(uv: NDArray[np.uint64], nodes: int, copies: int) -> NDArray[np.int64]:
    offsets = np.arange(copies, dtype=np.int64)[:, None, None] * nodes
    return (uv.astype(np.int64)[None] + offsets).reshape(-1, 2)


def _noisy(p_cut: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    return signed_costs(p_cut, 0.5, "edge") + rng.normal(0, NOISE, len(p_cut))


def _kept_nodes(
    centre: NDArray[np.float64], uv: NDArray[np.int64], edges: int
) -> NDArray[np.bool_]:
    """The largest connected part of those nodes below a y that leaves enough edges."""
    reach = centre[:, 1][uv].max(1)
    limit = np.partition(reach, edges - 1)[edges - 1] if edges <= len(uv) else np.inf
    inside = centre[:, 1] <= limit
    both = uv[inside[uv].all(1)]
    n = len(centre)
    links = coo_array((np.ones(len(both), bool), (both[:, 0], both[:, 1])), shape=(n, n))
    _, component = connected_components(links, directed=False)
    largest = np.bincount(component[inside]).argmax()
    return np.asarray(inside & (component == largest))


def _numbers(centre: NDArray[np.float64], keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """New number of every kept node, by rising (z, y, x); -1 for the others."""
    kept = np.flatnonzero(keep)
    z, y, x = centre[kept].T
    number = np.full(len(centre), -1, np.int64)
    number[kept[np.lexsort((x, y, z))]] = np.arange(len(kept))
    return number


def _numbered(
    uv: NDArray[np.int64], costs: NDArray[np.float64], number: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Edges between kept nodes under their new numbers, sorted."""
    pairs = np.sort(number[uv], axis=1)
    rows = np.flatnonzero(pairs[:, 0] >= 0)
    rows = rows[np.lexsort((pairs[rows, 1], pairs[rows, 0]))]
    return pairs[rows].astype(np.uint64), costs[rows]


def save_problem(path: Path, problem: Problem) -> None:
    """Write a problem as npz."""
    np.savez(
        path,
        uv=problem.uv,
        costs=problem.costs,
        lifted_uv=problem.lifted_uv,
        lifted_costs=problem.lifted_costs,
        positions=problem.positions if problem.positions is not None else np.zeros((0, 3)),
    )


def load_problem(path: Path, *, lifted: bool) -> Problem:
    """Read what ``save_problem`` wrote, with or without its lifted edges."""
    with np.load(path) as stored:
        columns = {name: stored[name] for name in stored.files}
    if not lifted:
        columns["lifted_uv"] = columns["lifted_uv"][:0]
        columns["lifted_costs"] = columns["lifted_costs"][:0]
    return Problem(len(columns["positions"]), **columns)

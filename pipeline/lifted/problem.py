"""Lifted edges and their features, from the graph and P(cut) of its regular edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Table, VolumeInfo
from pipeline.errors import InputError
from pipeline.lifted import clustering, geometry, paths, regions
from pipeline.lifted.adjacency import Adjacency
from pipeline.lifted.config import FAMILIES, Family, LiftedConfig
from pipeline.lifted.neighbourhood import neighbouring_pairs

UNITS: Mapping[Family, Callable[[LiftedConfig], dict[str, str]]] = {
    "paths": paths.units,
    "clustering": clustering.units,
    "regions": regions.units,
    "geometry": geometry.units,
}
GROUP, ROWS = 16, 4096
"""Columns (a line of memory) and rows that are laid side by side at once."""


@dataclass(frozen=True, eq=False)
class LiftedProblem:
    """Lifted edges and what is known of them.

    Parameters
    ----------
    uv
        (k, 2) uint64, dense node indices, u < v, sorted by (u, v), disjoint from the edges.
    features
        (k, f) float32, finite.
    names
        f column names.
    """

    uv: NDArray[np.uint64]
    features: NDArray[np.float32]
    names: tuple[str, ...]


def feature_units(config: LiftedConfig) -> dict[str, str]:
    """Name -> unit of every lifted feature, in column order."""
    return {
        name: unit
        for family in FAMILIES
        if family in config.families
        for name, unit in UNITS[family](config).items()
    }


def no_overlaps() -> Table:
    """The table ``overlaps`` of a volume without flat sections."""
    return {"uv": np.zeros((0, 2), np.uint64), "voxels": np.zeros(0, np.uint64)}


def compute_lifted_problem(
    nodes: Table,
    edges: Table,
    node_feature_names: Sequence[str],
    config: LiftedConfig,
    volume: VolumeInfo,
    overlaps: Table | None = None,
    *,
    of_nodes: NDArray[np.bool_] | None = None,
    threads: int = 1,
) -> LiftedProblem:
    """Pairs and features, from whatever P(cut) the edges hold; no second forest needed.

    In training ``edges["p_cut"]`` must be the first forest's out-of-bag probability.

    Parameters
    ----------
    nodes
        ``size_voxels`` (n,), ``centre`` float64 (n, 3) zyx voxels and, if region features
        are chosen, ``features`` float32 (n, f).
    edges
        ``uv`` uint64 (m, 2), ``p_cut`` float32 (m,) and ``length_voxels`` (m,).
    node_feature_names
        Names of the columns of the nodes' features.
    config
        Limits and choice of features.
    volume
        For its voxel size.
    overlaps
        ``uv`` uint64 (o, 2) u < v, and ``voxels`` (o,), of superpixels two sections apart;
        none by default.
    of_nodes
        (n,) nodes whose pairs with a higher node are wanted; all by default.
    threads
        They do not change the result.

    Returns
    -------
    problem
        Pairs, features, names.

    Raises
    ------
    ConfigError
        If a chosen region feature does not exist.
    InputError
        If a P(cut) is NaN or outside 0..1.
    """
    resolved = config.resolved(volume)
    p_cut = edges["p_cut"]
    if not ((p_cut >= 0) & (p_cut <= 1)).all():
        raise InputError("P(cut) of a regular edge is not within 0..1")
    overlaps = no_overlaps() if overlaps is None else overlaps
    chosen = (
        regions.chosen_columns(node_feature_names, resolved)
        if ("regions" in resolved.families)
        else []
    )
    adjacency = Adjacency.of(len(nodes["size_voxels"]), edges["uv"])
    pairs = neighbouring_pairs(
        adjacency,
        nodes["centre"] * np.array(volume.voxel_size_nm),
        overlaps["uv"],
        max_distance=resolved.distance,
        max_degree=resolved.max_degree,
        max_partners=resolved.max_partners,
        threads=threads,
    )
    if of_nodes is not None:
        pairs = pairs[of_nodes[pairs[:, 0]]]
    short = paths.short_paths(
        adjacency,
        p_cut,
        pairs,
        max_distance=resolved.distance,
        max_degree=resolved.max_degree,
        threads=threads,
    )
    values: Mapping[Family, Callable[[], Iterator[NDArray[np.generic]]]] = {
        "paths": lambda: paths.values(short, pairs, edges, len(adjacency.degree), threads),
        "clustering": lambda: clustering.values(pairs, nodes, edges, resolved, threads),
        "regions": lambda: regions.values(pairs, nodes, chosen),
        "geometry": lambda: geometry.values(pairs, short.distance, nodes, overlaps, volume),
    }
    names = tuple(feature_units(resolved))
    columns = (
        column for family in FAMILIES if family in resolved.families for column in values[family]()
    )
    features = _side_by_side(columns, len(pairs), len(names))
    return LiftedProblem(pairs.astype(np.uint64), features, names)


def _side_by_side(
    columns: Iterable[NDArray[np.generic]], rows: int, width: int
) -> NDArray[np.float32]:
    """(rows, width) float32; one column at a time would touch every line of memory for each."""
    table = np.empty((rows, width), np.float32)
    group = np.empty((min(width, GROUP), rows), np.float32)
    for number, column in enumerate(columns):
        group[number % GROUP] = column
        if number % GROUP == GROUP - 1 or number == width - 1:
            first = number - number % GROUP
            for row in range(0, rows, ROWS):
                part = group[: number + 1 - first, row : row + ROWS]
                table[row : row + ROWS, first : number + 1] = part.T
    return table

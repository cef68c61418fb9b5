"""Lifted edges and their features, from the graph and P(cut) of its regular edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.backend.partition import Partitioning, average_linkage
from pipeline.contract import Table, VolumeInfo
from pipeline.errors import ConfigError, InputError
from pipeline.lifted.bottleneck import bottlenecks
from pipeline.lifted.config import LiftedConfig
from pipeline.lifted.neighbourhood import Pairs, neighbouring_pairs

PATH_FEATURES = {
    "path/steps": "steps",
    "path/number": "paths",
    "path/cost": "nats",
    "path/highest": "probability",
    "path/bottleneck": "probability",
    "linkage/apart": "share",
    "greedy/apart": "share",
    "size/min": "voxels",
    "size/max": "voxels",
    "centre/distance": "nm",
    "centre/sections": "sections",
}
"""Feature -> unit, in column order; those of regions follow."""
REGION_STATISTICS = ("difference", "min", "max")
CLIP = 1e-3


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
    regions = {
        f"regions/{name}/{statistic}": "as of superpixels"
        for name in config.region_features
        for statistic in REGION_STATISTICS
    }
    return {**PATH_FEATURES, **regions}


def compute_lifted_problem(
    nodes: Table,
    edges: Table,
    node_feature_names: Sequence[str],
    config: LiftedConfig,
    volume: VolumeInfo,
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
    columns = _columns(node_feature_names, resolved)
    pairs = neighbouring_pairs(
        len(nodes["size_voxels"]),
        edges["uv"],
        p_cut,
        nodes["centre"] * np.array(volume.voxel_size_nm),
        max_distance=resolved.distance,
        max_degree=resolved.max_degree,
        max_partners=resolved.max_partners,
    )
    features = _features(nodes, edges, columns=columns, pairs=pairs, config=resolved, volume=volume)
    return LiftedProblem(pairs.uv.astype(np.uint64), features, tuple(feature_units(resolved)))


def _features(
    nodes: Table,
    edges: Table,
    *,
    columns: list[int],
    pairs: Pairs,
    config: LiftedConfig,
    volume: VolumeInfo,
) -> NDArray[np.float32]:
    u, v = pairs.uv.T
    features = np.empty((len(u), len(feature_units(config))), np.float32)
    size = nodes["size_voxels"]
    offset = np.asarray(nodes["centre"], np.float64)[u] - nodes["centre"][v]
    paths = (
        pairs.steps,
        pairs.paths,
        pairs.cost,
        pairs.highest,
        bottlenecks(len(size), edges["uv"], edges["p_cut"], pairs.uv),
        _apart(_linkages(len(size), edges, config), pairs.uv),
        _apart(_greedy(len(size), edges, config), pairs.uv),
        np.minimum(size[u], size[v]),
        np.maximum(size[u], size[v]),
        np.linalg.norm(offset * np.array(volume.voxel_size_nm), axis=1),
        np.abs(offset[:, 0]),
    )
    for column, values in enumerate(paths):
        features[:, column] = values
    for number, column in enumerate(columns):
        of_u, of_v = nodes["features"][u, column], nodes["features"][v, column]
        at = len(paths) + number * len(REGION_STATISTICS)
        features[:, at] = np.abs(of_u - of_v)
        features[:, at + 1] = np.minimum(of_u, of_v)
        features[:, at + 2] = np.maximum(of_u, of_v)
    return features


def _linkages(n: int, edges: Table, config: LiftedConfig) -> list[NDArray[np.uint64]]:
    """Partitions by average linkage, one a threshold."""
    length = np.maximum(np.asarray(edges["length_voxels"], np.float64), 1)
    return [
        average_linkage(n, edges["uv"], edges["p_cut"], length, threshold)
        for threshold in config.linkage_thresholds
    ]


def _greedy(n: int, edges: Table, config: LiftedConfig) -> list[NDArray[np.uint64]]:
    """Partitions by greedy additive multicut, one a prior of a cut."""
    p = np.clip(np.asarray(edges["p_cut"], np.float64), CLIP, 1 - CLIP)
    costs = np.log((1 - p) / p)
    return [
        Partitioning(n, edges["uv"], costs + np.log((1 - beta) / beta)).greedy_additive()
        for beta in config.greedy_priors
    ]


def _apart(partitions: list[NDArray[np.uint64]], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the partitions in which the nodes of each pair are apart."""
    total = np.zeros(len(pairs))
    for labels in partitions:
        total += labels[pairs[:, 0]] != labels[pairs[:, 1]]
    return total / max(len(partitions), 1)


def _columns(names: Sequence[str], config: LiftedConfig) -> list[int]:
    missing = [name for name in config.region_features if name not in names]
    if missing:
        raise ConfigError(
            f"lifted.region_features {', '.join(missing)}: not among the nodes' features "
            f"({', '.join(names) or 'none'})"
        )
    return [list(names).index(name) for name in config.region_features]

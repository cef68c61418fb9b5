"""Family: when clusterings of the graph bring two superpixels together.

Agglomerations at several linkages say at which P(cut) the two come into one cluster; greedy
multicuts at several priors say how often they stay apart. Both see all of the graph that they
are given: the volume's, or that around a cell.

Beier et al., "Multicut brings automated neurite segmentation closer to human performance",
Nature Methods 2017 (its clustering features: eight exponents of size, their mean and deviation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Table
from pipeline.lifted.agglomeration import greedy_additive, mean_linkage
from pipeline.lifted.config import LiftedConfig, exponent_name

CLIP = 1e-3
"""P(cut) is kept this far from 0 and 1, so that costs are finite."""


def units(config: LiftedConfig) -> dict[str, str]:
    """Name -> unit of every column."""
    return {
        "clustering/greedy_apart": "share",
        "clustering/linkage_mean": "probability",
        "clustering/linkage_std": "probability",
        **{
            f"clustering/linkage_{exponent_name(k)}": "probability"
            for k in config.linkage_exponents
        },
    }


def values(
    pairs: NDArray[np.int64],
    nodes: Table,
    edges: Table,
    config: LiftedConfig,
    threads: int,
) -> Iterator[NDArray[np.generic]]:
    """Columns of (k,), in the order of ``units``.

    Parameters
    ----------
    pairs
        (k, 2) nodes that some path connects.
    nodes
        ``size_voxels`` (n,).
    edges
        ``uv`` (m, 2), ``p_cut`` (m,) 0..1 and ``length_voxels`` (m,).
    config
        Exponents and priors.
    threads
        They do not change the result.
    """
    with ThreadPoolExecutor(threads) as pool:
        apart = pool.map(_apart(pairs, nodes, edges), config.greedy_priors)
        yield np.sum(list(apart), axis=0) / len(config.greedy_priors)
        together = pool.map(_heights(pairs, nodes, edges), config.linkage_exponents)
        heights = np.array(list(together), np.float32)
    yield heights.mean(axis=0, dtype=np.float64)
    yield heights.std(axis=0, dtype=np.float64)
    yield from heights


def _apart(
    pairs: NDArray[np.int64], nodes: Table, edges: Table
) -> Callable[[float], NDArray[np.bool_]]:
    """Whether a greedy multicut at a prior of a cut keeps each pair apart."""
    p = np.clip(np.asarray(edges["p_cut"], np.float64), CLIP, 1 - CLIP)
    costs = np.log((1 - p) / p)

    def at(prior: float) -> NDArray[np.bool_]:
        biased = costs + np.log((1 - prior) / prior)
        labels = greedy_additive(len(nodes["size_voxels"]), edges["uv"], biased).labels()
        apart: NDArray[np.bool_] = labels[pairs[:, 0]] != labels[pairs[:, 1]]
        return apart

    return at


def _heights(
    pairs: NDArray[np.int64], nodes: Table, edges: Table
) -> Callable[[float], NDArray[np.float32]]:
    """Mean P(cut) at which each pair is joined, by the exponent of size."""
    length = np.maximum(np.asarray(edges["length_voxels"], np.float64), 1)
    size = np.maximum(np.asarray(nodes["size_voxels"], np.int64), 1)

    def by(exponent: float) -> NDArray[np.float32]:
        tree = mean_linkage(edges["uv"], edges["p_cut"], length, size, exponent)
        return tree.heights_of(pairs).astype(np.float32)

    return by

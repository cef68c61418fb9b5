"""Probabilities to signed costs: positive attracts.

``w = log((1 - p) / p) + log((1 - beta) / beta)``, then weighted by contact length against a
*fixed* reference length: a reference taken from the volume itself (its longest contact)
would change every cost when one contact changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, InputError
from pipeline.multicut.config import MulticutConfig, decided

CLIP = 1e-3
"""P(cut) is kept this far from 0 and 1, so that |w| <= 6.91 at beta 0.5."""


def edge_costs(
    edges: Mapping[str, NDArray[Any]], config: MulticutConfig, first: int = 0
) -> NDArray[np.float64]:
    """Costs of the regular edges, (m,) float64, positive attracts.

    Parameters
    ----------
    edges
        ``p_cut`` float32 0..1, ``across_sections`` bool, ``length_voxels`` in voxel faces.
    config
        Resolved for the volume.
    first
        Number of the first edge, for errors.
    """
    if config.length_weighting == "auto":
        raise ConfigError("multicut.length_weighting auto must be resolved for the volume first")
    costs = signed_costs(edges["p_cut"], decided(config.beta, "beta"), "edge", first)
    across = edges["across_sections"].astype(bool)
    costs[across] *= decided(config.weight_across, "weight_across")
    for chosen, name, reference in (
        (across, "across", config.reference_length_across_voxels),
        (~across, "within", config.reference_length_within_voxels),
    ):
        if config.length_weighting in (name, "all"):
            length = edges["length_voxels"][chosen]
            costs[chosen] *= length_weights(length, reference, config.max_length_weight)
    return costs


def lifted_costs(
    lifted: Mapping[str, NDArray[Any]],
    edges: int,
    config: MulticutConfig,
    first: int = 0,
    count: int | None = None,
) -> NDArray[np.float64]:
    """Costs of lifted edges, (k,) float64, scaled against all regular ones.

    Parameters
    ----------
    lifted
        ``p_cut`` float32 0..1, of all lifted edges or of a stretch of them.
    edges
        Number of all regular edges.
    config
        Resolved for the volume.
    first
        Number of the first lifted edge of the stretch.
    count
        Number of all lifted edges; none = those given.
    """
    beta = decided(config.beta_lifted, "beta_lifted")
    costs = signed_costs(lifted["p_cut"], beta, "lifted edge", first)
    weight = decided(config.lifted_weight, "lifted_weight")
    return costs * lifted_scale(edges, len(costs) if count is None else count, weight)


def signed_costs(
    p_cut: NDArray[np.float32], beta: float, what: str, first: int = 0
) -> NDArray[np.float64]:
    """Costs of edges from their probability of being cut.

    Parameters
    ----------
    p_cut
        (m,) 0..1.
    beta
        Prior of a cut, between 0 and 1; above 0.5 cuts more.
    what
        Names the edges in an error.
    first
        Number of the first edge, for errors.

    Returns
    -------
    costs
        (m,) float64, positive attracts.

    Raises
    ------
    InputError
        If a probability is NaN or outside 0..1.

    Examples
    --------
    >>> signed_costs(np.array([0.5, 0.25], np.float32), 0.5, "edge").round(3).tolist()
    [0.0, 1.099]
    """
    bad = np.flatnonzero(~((p_cut >= 0) & (p_cut <= 1)))
    if len(bad):
        raise InputError(
            f"P(cut) of {what} {first + bad[0]} is {p_cut[bad[0]]}, not within 0..1 "
            f"({len(bad)} such rows)"
        )
    p = np.clip(p_cut.astype(np.float64), CLIP, 1 - CLIP)
    costs: NDArray[np.float64] = np.log((1 - p) / p) + np.log((1 - beta) / beta)
    return costs


def length_weights(
    length_voxels: NDArray[np.float64], reference_voxels: float, highest: float
) -> NDArray[np.float64]:
    """Weight of every edge by its contact length: 1 at the reference, at most ``highest``.

    >>> length_weights(np.array([5.0, 10.0, 900.0]), 10.0, 16.0).tolist()
    [0.5, 1.0, 16.0]
    """
    return np.minimum(np.asarray(length_voxels, np.float64) / reference_voxels, highest)


def lifted_scale(edges: int, lifted_edges: int, weight: float) -> float:
    """Factor of lifted costs: all lifted edges together weigh ``weight`` times the regular ones.

    A lifted edge is never raised above ``weight`` times a regular one, however few there are.

    >>> lifted_scale(10, 40, 0.5), lifted_scale(40, 10, 0.5)
    (0.125, 0.5)
    """
    return weight * min(1.0, edges / max(lifted_edges, 1))

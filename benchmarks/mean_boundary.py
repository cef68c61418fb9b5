"""The simplest multicut: the mean boundary of a contact is its P(cut), nothing is learned.

The one parameter that such costs have, the prior of a cut, is chosen on training parts
(``choose_parameters``) and kept in ``parameters.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stage_runs import run_stage
from pipeline import multicut
from pipeline.contract import StageConfig, VolumeInfo
from pipeline.edges.stage import edge_probability
from pipeline.evaluation.contingency import contingency
from pipeline.evaluation.scores import score_objects
from workflows.train_edges import Part

PARAMETERS = Path(__file__).with_name("parameters.json")
PRIORS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
UNDECIDED = 0.5


def mean_boundary_multicut(
    known: Mapping[str, Any], volume: VolumeInfo, config: StageConfig, beta: float
) -> NDArray[np.uint64]:
    """The neuron of every superpixel.

    Parameters
    ----------
    known
        Tables ``nodes`` and ``edges`` with features, and ``attributes``; results of later
        stages are not looked at.
    volume
        That they belong to.
    config
        Of stage ``multicut``, for all but the prior.
    beta
        Prior of a cut, 0..1; higher cuts more.
    """
    names = known["attributes"]["edges/features"]["names"]
    p_cut = edge_probability(known["edges"]["features"], names, None, "boundary/mean")
    without = {
        **known,
        "edges": {**known["edges"], "p_cut": p_cut},
        "lifted": {"uv": np.zeros((0, 2), np.uint64), "p_cut": np.zeros(0, np.float32)},
    }
    section = config.model_copy(update={"beta": beta})
    neuron: NDArray[np.uint64] = run_stage(multicut.STAGE, without, volume, config=section)[
        "nodes"
    ]["multicut"]
    return neuron


def labels_of(known: Mapping[str, Any], neuron: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Neuron ids of voxels from those of superpixels; 0 where no superpixel is."""
    superpixels, ids = known["superpixels"], known["nodes"]["id"]
    rows = np.minimum(np.searchsorted(ids, superpixels), len(ids) - 1)
    return np.where(superpixels > 0, neuron[rows], np.uint64(0))


def chosen_prior(kind: str) -> float:
    """Prior of a cut for ``anisotropic`` or ``isotropic`` data; 0.5 where none was chosen."""
    if not PARAMETERS.exists():
        return UNDECIDED
    chosen = json.loads(PARAMETERS.read_text()).get("mean_boundary", {}).get(kind, {})
    return float(chosen.get("beta", UNDECIDED))


def choose_prior(parts: Sequence[Part]) -> dict[str, float]:
    """The prior with the least mean 3D adapted Rand error over training parts."""
    errors = {}
    for beta in PRIORS:
        config = multicut.STAGE.config()
        found = [
            score_objects(
                contingency(
                    part.truth,
                    labels_of(
                        part.tables, mean_boundary_multicut(part.tables, part.volume, config, beta)
                    ),
                )
            ).arand_error
            for part in parts
        ]
        errors[beta] = float(np.mean(found))
        print(f"mean boundary, beta {beta}: {errors[beta]:.4f}", flush=True)
    best = min(errors, key=lambda beta: errors[beta])
    return {"beta": best, "arand": errors[best]}

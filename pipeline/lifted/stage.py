"""Lifted edges of one volume, with P(cut) by the second forest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.contract import Block, Inputs, Outputs, Resources, Stage, TableSpec
from pipeline.errors import ConfigError
from pipeline.forests import load_forest, predict
from pipeline.lifted.config import LiftedConfig
from pipeline.lifted.problem import compute_lifted_problem, feature_units
from pipeline.packaged import model_path

FOREST = "forest"


def opens(config: LiftedConfig, device: str) -> Mapping[str, Any]:
    """Load the forest, if there is one."""
    if config.forest == "none":
        return {}
    return {FOREST: load_forest(model_path(config.forest))}


def files(config: LiftedConfig) -> Sequence[str]:
    """Path of the forest, if there is one."""
    return [] if config.forest == "none" else [str(model_path(config.forest))]


def attributes(config: LiftedConfig, resources: Resources) -> Mapping[str, Mapping[str, Any]]:
    """Names and units of the lifted features."""
    units = feature_units(config)
    return {"lifted/features": {"names": list(units), "units": list(units.values())}}


def compute(block: Block, inputs: Inputs, config: LiftedConfig, resources: Resources) -> Outputs:
    """All lifted edges; none where the configuration names no forest."""
    if config.forest == "none":
        columns = len(feature_units(config))
        return {
            "lifted": {
                "uv": np.zeros((0, 2), np.uint64),
                "features": np.zeros((0, columns), np.float32),
                "p_cut": np.zeros(0, np.float32),
            }
        }
    forest = resources.models.get(FOREST)
    if forest is None:
        raise ConfigError(f"lifted.forest {config.forest!r} was not opened")
    names = inputs["attributes"].get("nodes/features", {}).get("names", [])
    problem = compute_lifted_problem(
        inputs["nodes"],
        inputs["edges"],
        names,
        config,
        resources.volume,
        inputs["overlaps"],
        threads=resources.threads,
    )
    p_cut = predict(forest, problem.features, problem.names, threads=resources.threads)
    return {"lifted": {"uv": problem.uv, "features": problem.features, "p_cut": p_cut}}


STAGE = Stage(
    name="lifted",
    version=2,
    config=LiftedConfig,
    reads=("nodes", "edges", "overlaps"),
    writes=(TableSpec("lifted", {"uv": "uint64", "features": "float32", "p_cut": "float32"}),),
    compute=compute,
    scope="volume",
    opens=opens,
    files=files,
    attributes=attributes,
)

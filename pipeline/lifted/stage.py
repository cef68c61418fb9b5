"""Lifted edges of the volume, with P(cut) by the second forest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.contract import Resources, Stage
from pipeline.forests import load_forest
from pipeline.lifted.config import LiftedConfig
from pipeline.lifted.problem import feature_units
from pipeline.lifted.steps import FOREST, STEPS
from pipeline.packaged import model_path


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


STAGE = Stage(
    name="lifted",
    version=2,
    config=LiftedConfig,
    reads=("nodes", "edges", "overlaps"),
    after=STEPS,
    opens=opens,
    files=files,
    attributes=attributes,
)

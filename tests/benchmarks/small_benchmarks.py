"""A configuration and data small enough for the quality benchmarks to run in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from small_pipeline import paint_tissue, save_dark_network, save_forests, settings

from pipeline.config import as_yaml
from pipeline.evaluation.regions import boundary_band
from pipeline.synthesis import synthesise


def small_config(folder: Path, voxel_size_nm: tuple[float, float, float]) -> Path:
    """YAML that names a network set by hand and forests of its maps."""
    network = save_dark_network(folder / "dark.safetensors")
    tissue = paint_tissue((6, 40, 40), 8, voxel_size_nm[0] / voxel_size_nm[2])
    forests = save_forests(folder, network, tissue, voxel_size_nm)
    config = settings(network, forests, tile=(4, 64, 64))
    path = folder / "small.yaml"
    path.write_text(as_yaml(config), encoding="utf-8")
    return path


def synthetic_stack(
    shape: tuple[int, int, int], voxel_size_nm: tuple[float, float, float], seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Synthetic EM and its ids, 0 on the borders within sections."""
    made = synthesise(shape, voxel_size_nm=voxel_size_nm, rng=np.random.default_rng(seed))
    return made.raw, np.where(boundary_band(made.neurons, 1), 0, made.neurons)

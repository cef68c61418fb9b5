"""The boundary map of the ISBI 2012 stack that benchmarks of the graph start from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import ISBI2012
from pipeline.config import parse_config
from pipeline.contract import UINT8_MAX
from pipeline.packaged import model_path
from workflows.in_memory import reconstruct_array
from workflows.training_data import read_tiff


def isbi_map(
    data: Path, output: Path, given: Path | None = None, device: str = "cpu"
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Raw stack and P(boundary) of all its sections.

    Parameters
    ----------
    data
        Folder of the data sets.
    output
        Folder that keeps a predicted map for the next call, under the network's hash.
    given
        TIFF or npy of the map, uint8 0..255 or float 0..1; ``None``: the packaged network,
        one pass.
    device
        Of the network.

    Returns
    -------
    raw, boundaries
        (30, 512, 512) uint8 each; 255 = boundary.
    """
    raw = read_tiff(data / ISBI2012.raw)
    if given is not None:
        return raw, _as_uint8(np.load(given) if given.suffix == ".npy" else read_tiff(given))
    model = hashlib.sha256(model_path("default").read_bytes()).hexdigest()[:8]
    kept = output / f"isbi2012-boundaries-{model}.npy"
    if not kept.exists():
        print("predicting the boundary map", flush=True)
        config = parse_config({"boundaries": {"augmentation": "none"}}, "benchmark")
        found = reconstruct_array(
            raw, ISBI2012.voxel_size_nm, config, device=device, until="boundaries"
        )
        output.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.name}")
        np.save(partial, found["boundaries"])
        partial.replace(kept)
    return raw, np.load(kept)


def _as_uint8(boundaries: NDArray[Any]) -> NDArray[np.uint8]:
    if boundaries.dtype == np.uint8:
        return boundaries
    return np.rint(np.clip(boundaries, 0, 1) * UINT8_MAX).astype(np.uint8)

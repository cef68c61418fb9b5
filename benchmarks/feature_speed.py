"""The stage of features on its own, in a process of its own; ``graph.py`` starts it."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.children import Steps, child_main
from benchmarks.datasets import ISBI2012
from benchmarks.stage_runs import run_stage
from pipeline import features, graph, superpixels
from pipeline.contract import VolumeInfo
from pipeline.features.config import FAMILIES, FeaturesConfig
from pipeline.normalisation import STAGE as INTENSITY

WARM_UP = np.s_[:4, :128, :128]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of all families together, and of each by itself, with its number of columns."""
    raw, boundaries = np.load(job["raw"]), np.load(job["boundaries"])
    timed(raw[WARM_UP].copy(), boundaries[WARM_UP].copy(), job["threads"])
    return timed(raw, boundaries, job["threads"])


def timed(raw: Any, boundaries: Any, threads: int) -> dict[str, Any]:
    """Times and columns of one volume, (Z, Y, X) uint8 each."""
    info = VolumeInfo(raw.shape, ISBI2012.voxel_size_nm, raw.dtype.name)
    known: dict[str, Any] = {
        "raw": raw,
        "boundaries": boundaries,
        "foreground": np.ones(raw.shape, np.uint8),
    }
    for stage in (superpixels.STAGE, graph.STAGE, INTENSITY):
        known = run_stage(stage, known, info, threads=threads)
    steps, columns = Steps(), {}
    for name, families in {"all": FAMILIES, **{f: (f,) for f in FAMILIES}}.items():
        config = FeaturesConfig(families=families)
        with steps.step(name):
            after = run_stage(features.STAGE, known, info, config=config, threads=threads)
        columns[name] = list(after["attributes"]["edges/features"]["names"])
    return {
        "steps": steps.measured,
        "columns": {name: len(names) for name, names in columns.items()},
        "channels": len(channels(columns["all"])),
        "voxels": raw.size,
        "edges": len(known["edges"]["uv"]),
    }


def channels(names: list[str]) -> set[str]:
    """The images that statistics are taken of, from the names of the columns.

    >>> sorted(channels(["raw/mean", "raw_gaussian_1.6/mean", "raw/q10", "shape/size_ratio"]))
    ['raw', 'raw_gaussian_1.6']
    """
    images = {name.split("/")[0] for name in names}
    return {image for image in images if image.split("_")[0] in ("raw", "boundary")}


if __name__ == "__main__":
    child_main(measure)

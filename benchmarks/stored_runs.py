"""Volumes too large to be segmented in memory: through stores on disk, block by block.

A benchmark that was killed goes on: an import or a stage that is finished is not made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PipelineSections
from pipeline.contract import Box
from pipeline.registry import STAGES
from pipeline.store import Output
from pipeline.store.importers import import_volume
from workflows.fingerprints import file_hash
from workflows.prepare import prepare
from workflows.reconstruct import reconstruct
from workflows.source import Source

ARRAYS = ("boundaries", "superpixels", "neurons")
MEAN_BOUNDARY = "boundary/mean"
"""The one column of features that the rows of a benchmark look at."""


def imported(
    path: Path,
    folder: Path,
    box: Box,
    *,
    dataset: str | None = None,
    voxel_size_nm: tuple[float, float, float] | None = None,
) -> Path:
    """A part of a volume in another format as OME-Zarr, imported once.

    Parameters
    ----------
    path, dataset
        File, and the array in it.
    folder
        In which the result lies, under the hash of the file.
    box
        The part.
    voxel_size_nm
        z, y, x, where the file does not say.
    """
    what = f"{file_hash(path)} {dataset} {box} {voxel_size_nm}"
    target = folder / f"{path.stem}-{hashlib.sha256(what.encode()).hexdigest()[:8]}.zarr"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        import_volume(path, target, dataset=dataset, roi=box, voxel_size_nm=voxel_size_nm)
    return target


def reconstruct_stored(
    volume: Path,
    output: Path,
    config: PipelineSections,
    *,
    device: str = "auto",
    until: str | None = None,
) -> dict[str, Any]:
    """What ``reconstruct_array`` gives, of a volume on disk, as far as benchmarks need it.

    Parameters
    ----------
    volume
        OME-Zarr image.
    output
        Store to fill; what is current in it stays.
    config
        Parameters.
    device
        Of the networks.
    until
        Last stage to run; all by default.

    Returns
    -------
    results
        ``raw``, the arrays and the tables by name; of the features only the mean boundary of
        edges, with its name in ``attributes``.
    """
    source = Source(volume, None, None, None)
    run = prepare(source, config, output, device=device, command="benchmark")
    reconstruct(run, until=until)
    whole = Box((0, 0, 0), run.volume.shape)
    return {"raw": run.volume.read(whole), **_results(run.output, until)}


def _results(store: Output, until: str | None) -> dict[str, Any]:
    """Arrays and tables of the stages up to the last one that was run."""
    names = [stage.name for stage in STAGES]
    done = STAGES[: len(STAGES) if until is None else names.index(until) + 1]
    whole = Box((0, 0, 0), store.shape)
    written = [array.name for stage in done for array in stage.arrays if array.name in ARRAYS]
    known: dict[str, Any] = {name: store.read(name, whole) for name in written}
    if until is not None:
        return known
    known |= {
        "nodes": store.read_table("nodes", ["id", "multicut", "neuron"]),
        "edges": store.read_table("edges", ["uv", "p_cut", "across_sections", "length_voxels"]),
        "lifted": store.read_table("lifted", ["uv"]),
    }
    known["edges"]["features"] = _mean_boundary(store)[:, None]
    return known | {"attributes": {"edges/features": {"names": [MEAN_BOUNDARY]}}}


def _mean_boundary(store: Output) -> NDArray[np.float32]:
    """(m,) mean boundary of every edge, read in ranges: the table may be larger than memory."""
    attributes: Mapping[str, Any] = store.read_attributes("edges")
    column = attributes["features"]["names"].index(MEAN_BOUNDARY)
    rows = store.rows("edges", ["features"])
    step = 1 << 16
    parts = [
        rows.read("features", begin, begin + step)[:, column].astype(np.float32)
        for begin in range(0, rows.count, step)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)

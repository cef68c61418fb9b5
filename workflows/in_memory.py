"""The same stages on arrays, as one block that covers the volume: for training and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PipelineSections
from pipeline.contract import Resources, VolumeInfo
from pipeline.grid import whole
from pipeline.registry import GIVEN_VOLUMES, STAGES, columns_before


def reconstruct_array(
    raw: NDArray[Any],
    voxel_size_nm: tuple[float, float, float],
    config: PipelineSections,
    *,
    device: str = "cpu",
    until: str | None = None,
    given: Mapping[str, Any] | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Run stages on an array.

    Parameters
    ----------
    raw
        (Z, Y, X) uint8, uint16 or float32.
    voxel_size_nm
        z, y, x in nanometres.
    config
        Parameters; every ``auto`` is decided here.
    device
        Of the networks.
    until
        Last stage to run; all by default.
    given
        Arrays or tables that are known already; a stage whose whole output is given is
        not run. ``mask``: (Z, Y, X) bool or integers, 0 = background.
    threads
        Threads of the stages that use several; the network takes torch's number.

    Returns
    -------
    results
        Arrays (``foreground``, ``boundaries``, ``superpixels``, ``neurons``) and tables
        (``intensity``, ``nodes``, ``edges``, ``overlaps``, ``lifted``) by name, and
        ``attributes`` of the columns.
    """
    z, y, x = raw.shape
    volume = VolumeInfo((z, y, x), voxel_size_nm, raw.dtype.name)
    resolved = config.resolved(volume)
    block = whole(volume.shape)
    known: dict[str, Any] = {"raw": raw, "attributes": {}, **(given or {})}
    for stage in STAGES:
        if stage.arrays and all(a.name in known for a in stage.arrays):
            continue
        section = resolved.section(stage.name)
        models = stage.opens(section, device) if stage.opens else {}
        resources = Resources(volume, models, threads)
        reads = [n for n in stage.reads if n in known or n not in GIVEN_VOLUMES]
        tables = {
            name: {c: known[name][c] for c in columns_before(stage, name)}
            for name in reads
            if not isinstance(known[name], np.ndarray)
        }
        arrays = {n: known[n] for n in reads if isinstance(known[n], np.ndarray)}
        inputs = {**arrays, **tables, "attributes": known["attributes"]}
        outputs = stage.compute(block, inputs, section, resources)
        if stage.merge:
            outputs = dict(stage.merge([outputs], tables, section, resources))
        for array in stage.arrays:
            known[array.name] = outputs[array.name]
        for table in stage.tables:
            known.setdefault(table.name, {})
            known[table.name] = {**known[table.name], **outputs[table.name]}
        if stage.attributes:
            known["attributes"] = {**known["attributes"], **stage.attributes(section, resources)}
        if stage.name == until:
            break
    return known

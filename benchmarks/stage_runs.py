"""Single stages on whole arrays, to be measured one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.contract import Resources, Stage, StageConfig, VolumeInfo
from pipeline.corrections import SECTIONS, Corrections
from workflows import in_memory

RANGE = (("low", 0.0), ("high", 1.0))
"""Columns of ``intensity``, and what stands for them where a stage sees no grey values."""


def run_stage(
    stage: Stage,
    known: Mapping[str, Any],
    volume: VolumeInfo,
    *,
    config: StageConfig | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Run one stage without models, as one block that covers the volume.

    Parameters
    ----------
    stage
        Its models, if it has any, are not opened.
    known
        Arrays and tables by name, with ``attributes`` of the columns; not changed. Without the
        table ``sections`` the volume has no defects.
    volume
        Shape and voxel size.
    config
        Parameters; the defaults otherwise.
    threads
        That the stage may use.

    Returns
    -------
    known
        The same with what the stage wrote; columns are added to tables.
    """
    section = (config or stage.config()).resolved(volume)
    resources = Resources(volume, {}, threads, _corrections(known, volume))
    attributes = known.get("attributes", {})
    outputs = in_memory.run_stage(stage, known, section, resources)
    after = dict(known)
    for name, written in outputs.items():
        after[name] = {**after.get(name, {}), **written} if isinstance(written, dict) else written
    if stage.attributes:
        after["attributes"] = {**attributes, **stage.attributes(section, resources)}
    return after


def _corrections(known: Mapping[str, Any], volume: VolumeInfo) -> Corrections:
    """From the table ``sections``, or, of a volume without defects, from ``intensity``."""
    if SECTIONS in known:
        return Corrections.of(known[SECTIONS])
    low, high = (known.get("intensity", {}).get(name, [default])[0] for name, default in RANGE)
    return Corrections.none(volume.shape[0], float(low), float(high))

"""The same stages on arrays, as one block that covers the volume: for training and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PipelineSections
from pipeline.contract import BLOCKS, Outputs, Resources, Stage, Step, Table, VolumeInfo
from pipeline.corrections import SECTIONS, Corrections
from pipeline.grid import whole
from pipeline.held import HeldInputs
from pipeline.registry import STAGES
from pipeline.tables import row_tasks
from workflows.memory import usable_bytes


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
        Arrays or tables that are known already; a stage is not run if all its arrays are given,
        or all its tables if it has no arrays. ``mask``: (Z, Y, X) bool or integers, 0 =
        background.
    threads
        Threads of the stages that use several; the network takes torch's number, and up to a
        quarter of the machine's memory.

    Returns
    -------
    results
        Arrays (``foreground``, ``boundaries``, ``superpixels``, ``neurons``) and tables
        (``intensity``, ``nodes``, ``edges``, ``overlaps``, ``lifted``, ...) by name, and
        ``attributes`` of the columns.
    """
    z, y, x = raw.shape
    volume = VolumeInfo((z, y, x), voxel_size_nm, raw.dtype.name)
    resolved = config.resolved(volume)
    known: dict[str, Any] = {"raw": raw, "attributes": {}, **(given or {})}
    for stage in STAGES:
        left = stage.arrays or stage.tables
        if given and all(spec.name in given for spec in left):
            continue
        section = resolved.section(stage.name)
        models = stage.opens(section, device) if stage.opens else {}
        spare = usable_bytes() // 2
        resources = Resources(volume, models, threads, _corrections(stage, known), spare)
        outputs = run_stage(stage, known, section, resources)
        known.update({name: {**known.get(name, {}), **t} for name, t in tables_of(outputs).items()})
        known.update({name: a for name, a in outputs.items() if isinstance(a, np.ndarray)})
        if stage.attributes:
            known["attributes"] = {**known["attributes"], **stage.attributes(section, resources)}
        if stage.name == until:
            break
    return known


def run_stage(
    stage: Stage, known: Mapping[str, Any], config: Any, resources: Resources
) -> dict[str, Any]:
    """All passes and steps of one stage, in memory.

    Parameters
    ----------
    stage
        From the registry.
    known
        Arrays over the whole volume and tables (dicts of columns) by name, and
        ``attributes``; those that the stage does not read do no harm.
    config
        The stage's section, resolved for the volume.
    resources
        Volume, models, threads.

    Returns
    -------
    outputs
        What the stage leaves: arrays, and tables with the columns that it writes.
    """
    held: dict[str, Any] = {"attributes": {}, **known}
    kept: dict[str, list[Outputs]] = {}
    outputs: dict[str, Any] = {}
    for step in stage.before:
        _run_step(step, held, kept, outputs, config, resources)
    if stage.compute:
        block = whole(resources.volume.shape)
        found = stage.compute(block, HeldInputs(held, kept), config, resources)
        kept[BLOCKS] = [tables_of(found)]
        arrays = {name: a for name, a in found.items() if isinstance(a, np.ndarray)}
        outputs |= arrays
        held |= arrays
    for step in stage.after:
        _run_step(step, held, kept, outputs, config, resources)
    return outputs


def _corrections(stage: Stage, known: Mapping[str, Any]) -> Corrections | None:
    return Corrections.of(known[SECTIONS]) if SECTIONS in stage.reads else None


def _run_step(
    step: Step,
    held: dict[str, Any],
    kept: dict[str, list[Outputs]],
    outputs: dict[str, Any],
    config: Any,
    resources: Resources,
) -> None:
    inputs = HeldInputs(held, kept)
    if step.tasks is not None:
        tasks = range(step.tasks(inputs, config, resources))
        kept[step.name] = [step.compute(task, inputs, config, resources) for task in tasks]
        return
    assert step.rows is not None
    tasks = range(row_tasks(step.rows(inputs, config, resources)))
    written = [step.compute(task, inputs, config, resources) for task in tasks]
    for spec in step.writes:
        table = {
            column: _one_below_the_other([one[spec.name][column] for one in written], dtype)
            for column, dtype in spec.columns.items()
        }
        held[spec.name] = {**held.get(spec.name, {}), **table}
        outputs[spec.name] = {**outputs.get(spec.name, {}), **table}


def _one_below_the_other(columns: list[NDArray[Any]], dtype: str) -> NDArray[Any]:
    """Rows of all tasks; of a single one they are not copied."""
    whole = columns[0] if len(columns) == 1 else np.concatenate(columns)
    return whole.astype(dtype, copy=False)


def tables_of(outputs: Mapping[str, Any]) -> dict[str, Table]:
    """The tables among the outputs of a stage."""
    return {name: table for name, table in outputs.items() if isinstance(table, dict)}

"""Stacks for the tests of sections, and the stage on them at once and by blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

import pipeline
from pipeline import normalisation
from pipeline.contract import BLOCKS, Block, Resources, Table, Triple, VolumeInfo
from pipeline.grid import blocks
from pipeline.held import HeldInputs
from pipeline.sections import STAGE
from pipeline.sections.config import SectionsConfig
from pipeline.synthesis import synthesise
from pipeline.tables import row_tasks
from workflows.in_memory import run_stage

FLAT_NM, CUBIC_NM = (50.0, 4.0, 4.0), (8.0, 8.0, 8.0)
PERCENTILES = normalisation.IntensityConfig()


@cache
def sample() -> NDArray[np.uint8]:
    """FIB-SEM of fly brain, 8 nm; nobody may change it."""
    raw = tifffile.imread(Path(pipeline.__file__).parent / "data/sample/raw.tif")[:16]
    raw.flags.writeable = False
    return raw


@cache
def flat() -> NDArray[np.uint8]:
    """Synthetic sections of 50 nm, 4 nm pixels; nobody may change it."""
    rng = np.random.default_rng(0)
    raw = synthesise((9, 192, 200), voxel_size_nm=FLAT_NM, rng=rng).raw
    raw.flags.writeable = False
    return raw


def intensity_of(raw: NDArray[Any]) -> Table:
    low, high = normalisation.percentiles(raw, PERCENTILES)
    counts = normalisation.histogram(raw, (0, 0, 0))
    return {"low": np.array([low]), "high": np.array([high]), "counts": counts[None]}


def given(raw: NDArray[Any], voxel_size_nm: Any) -> tuple[Resources, dict[str, Any]]:
    depth, height, width = raw.shape
    resources = Resources(VolumeInfo((depth, height, width), voxel_size_nm, raw.dtype.name))
    attributes = normalisation.attributes(PERCENTILES, resources)
    return resources, {"intensity": intensity_of(raw), "attributes": dict(attributes)}


def sections_of(raw: NDArray[Any], voxel_size_nm: Any = CUBIC_NM, **config: Any) -> Table:
    """The table, from the stage on the whole stack."""
    resources, known = given(raw, voxel_size_nm)
    resolved = SectionsConfig(**config).resolved(resources.volume)
    table: Table = run_stage(STAGE, {**known, "raw": raw}, resolved, resources)["sections"]
    return table


def sections_by_blocks(
    raw: NDArray[Any],
    voxel_size_nm: Any,
    block_shape: Triple,
    order: Callable[[Sequence[Block]], Sequence[Block]] = list,
) -> Table:
    """The table, from the stage on blocks; ``order`` is that of their parts."""
    resources, known = given(raw, voxel_size_nm)
    config: Any = SectionsConfig().resolved(resources.volume)
    assert STAGE.compute is not None
    kept: dict[str, list[Any]] = {BLOCKS: []}
    for block in order(list(blocks(raw.shape, block_shape, STAGE.halo(config, resources)))):
        inputs = HeldInputs({**known, "raw": raw[block.read.slices]})
        kept[BLOCKS].append(STAGE.compute(block, inputs, config, resources))
    table: Table = {}
    for step in STAGE.after:
        inputs = HeldInputs(known, kept)
        tasks = step.tasks(inputs, config, resources) if step.tasks else 0
        if step.rows is not None:
            tasks = row_tasks(step.rows(inputs, config, resources))
        kept[step.name] = [step.compute(task, inputs, config, resources) for task in range(tasks)]
    for column in STAGE.tables[0].columns:
        table[column] = np.concatenate([part["sections"][column] for part in kept["sections"]])
    return table

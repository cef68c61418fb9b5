"""How long passes take and how much disk results need, from runs that were measured.

Time goes with the *work* of a pass: voxels that blocks read, halo included; for the network the
pixels that it sees; for all else the voxels of the volume, on which the number of superpixels
and edges depends. So a measured run of another volume, or of a piece, tells the time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.boundaries.resampling import REFLECTED_PIXELS
from pipeline.contract import BLOCKS, ArraySpec, Halo, Resources, Stage, TableSpec, Triple
from pipeline.grid import grid_shape
from pipeline.registry import STAGES
from pipeline.store.layout import group_path, table_path
from workflows.blocks import BlockMemory
from workflows.input_level import (
    context_sections,
    network_bytes,
    pixel_steps,
    sections_at_once,
)
from workflows.prepare import Run
from workflows.provenance import Record

ORIENTATIONS = 8
"""Of a section under test-time augmentation."""

TYPICAL_DISK: Mapping[bool, Mapping[str, float]] = {
    True: {
        "boundaries": 0.8,
        "superpixels": 0.13,
        "neurons": 0.09,
        "nodes/features": 0.13,
        "edges/features": 8.5,
        "lifted/features": 2.7,
    },
    False: {
        "boundaries": 0.8,
        "superpixels": 0.2,
        "neurons": 0.16,
        "nodes/features": 0.06,
        "edges/features": 2.7,
        "lifted/features": 0.7,
    },
}
"""Bytes on disk for a voxel, by whether superpixels are flat; those of smaller columns are
added to the features'. Measured: ISBI 2012 (4 x 4 x 50 nm), and fly brain of 8 nm."""
FINER_DISK = 0.7
"""Labels on a grid of n times as many voxels need n to this power the bytes: measured 2.6 times
of 4, 5.0 of 8, 6.1 of 16 times as many."""


@dataclass(frozen=True)
class Work:
    """How much there is to do in a run.

    Parameters
    ----------
    memory
        Volume, tile and halos.
    block_shape
        Write block, zyx.
    orientations
        In which every section is predicted.
    input_voxels
        Of the input's finest grid, where labels are written on it, too; else 0.
    """

    memory: BlockMemory
    block_shape: Triple
    orientations: int
    input_voxels: int = 0

    @classmethod
    def of(cls, run: Run) -> Work:
        """The work of a prepared run; opens the network, whose halo counts."""
        info, halos = run.volume.info, {}
        for stage in STAGES:
            section = run.config.section(stage.name)
            models = stage.opens(section, run.device) if stage.opens and stage.compute else {}
            halos[stage.name] = stage.halo(section, Resources(info, models))
        boundaries: Any = run.config.section("boundaries")
        steps = pixel_steps(run.config, info)
        context = context_sections(run.config)
        batch, network = sections_at_once(run.config), network_bytes(run.config)
        on_gpu = run.device.startswith("cuda")
        memory = BlockMemory(info, boundaries.tile, halos, batch, steps, context, network, on_gpu)
        return cls(
            memory,
            run.output.block_shape,
            _orientations(boundaries.model_dump(), context),
            math.prod(run.input_grid.shape) if run.input_grid else 0,
        )

    @property
    def voxels(self) -> int:
        """Of the volume."""
        return math.prod(self.memory.volume.shape)

    @property
    def blocks(self) -> int:
        """Write blocks."""
        return math.prod(grid_shape(self.memory.volume.shape, self.block_shape))

    def of_pass(self, stage: str, name: str) -> int:
        """Units of work of one pass or step."""
        if name != BLOCKS:
            return self.voxels
        if stage == "boundaries":
            return self.orientations * self._network_pixels()
        halo = self.memory.halos.get(stage, Halo())
        return math.prod(
            sum(high - low for low, high in _spans(length, side, below, above))
            for length, side, below, above in zip(
                self.memory.volume.shape, self.block_shape, halo.below, halo.above, strict=True
            )
        )

    def _network_pixels(self) -> int:
        """Pixels of all sections of all tiles, with what is read and reflected around them."""
        shape, tile = self.memory.volume.shape, self.memory.tile
        reach = self.memory.halos["boundaries"].above
        axes = (0, 1, 2) if reach[0] > self.memory.context_sections else (0,)
        seen = [
            _seen(n, side, halo, step)
            for n, side, halo, step in zip(shape, tile, reach, self.memory.steps, strict=True)
        ]
        return sum(
            shape[axis] * math.prod(n for k, n in enumerate(seen) if k != axis) for axis in axes
        )


def _spans(length: int, side: int, below: int, above: int) -> Iterable[tuple[int, int]]:
    """What every block reads along an axis."""
    for begin in range(0, length, side):
        yield max(begin - below, 0), min(begin + side + above, length)


def _seen(length: int, side: int, halo: int, step: float) -> int:
    """Pixels along an axis that the network sees for all tiles, those reflected included.

    All others are voxels, of which a pixel covers ``step``.
    """
    beyond = min(halo, math.ceil(REFLECTED_PIXELS * step))
    around = sum(
        min(halo, low + beyond) + min(halo, max(length - low - side, 0) + beyond)
        for low in range(0, length, side)
    )
    return math.ceil((length + around) / step)


@dataclass(frozen=True)
class Pace:
    """What was measured.

    Parameters
    ----------
    seconds
        Stage -> pass -> seconds of one worker for a unit of work.
    disk
        Array or ``table/column`` -> bytes on disk for a voxel of the volume.
    source
        Of stages' times, where from: for people.
    """

    seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    disk: Mapping[str, float] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)

    def joined(self, other: Pace) -> Pace:
        """The pace, and of what it does not know that of another."""
        return Pace(
            {**other.seconds, **self.seconds},
            {**other.disk, **self.disk},
            {**other.source, **self.source},
        )


def typical(work: Work) -> Pace:
    """What is known of no machine: disk by what other volumes needed."""
    disk = TYPICAL_DISK[work.memory.volume.flat_sections]
    copies = {
        array.at_input: disk[array.name] * (work.input_voxels / work.voxels) ** FINER_DISK
        for stage in STAGES
        for array in stage.arrays
        if array.at_input and work.input_voxels
    }
    return Pace(disk={**disk, **copies})


def measured(run: Run, work: Work, source: str) -> Pace:
    """Pace of the finished stages of an output; stale ones tell the time as well.

    Parameters
    ----------
    run
        Its output was made with its configuration.
    work
        Of the run.
    source
        For people, e.g. ``earlier run``.
    """
    seconds: dict[str, dict[str, float]] = {}
    disk: dict[str, float] = {}
    for stage in STAGES:
        record = run.ledger.record(stage.name)
        if record is None or not record.finished:
            continue
        seconds[stage.name] = _pace_of(stage, record, work)
        for name, folder in places(run, stage):
            disk[name] = folder_bytes(folder) / work.voxels
    return Pace(seconds, disk, dict.fromkeys(seconds, source))


def _pace_of(stage: Stage, record: Record, work: Work) -> dict[str, float]:
    config, context = record.content.get("config", {}), work.memory.context_sections
    predicts = "augmentation" in config
    then = replace(work, orientations=_orientations(config, context)) if predicts else work
    return {
        step.name: step.seconds * record.workers / then.of_pass(stage.name, step.name)
        for step in record.steps
    }


def _orientations(boundaries: Mapping[str, Any], context: int) -> int:
    if boundaries["augmentation"] == "none":
        return 1
    flipped = context > 0 and boundaries.get("augmentation_z") == "flip"
    return 2 * ORIENTATIONS if flipped else ORIENTATIONS


def places(run: Run, stage: Stage) -> Iterable[tuple[str, Path]]:
    """Name and folder of all that a stage leaves in the output; arrays with their pyramids."""
    output = run.output.path
    for spec in stage.writes:
        match spec:
            case ArraySpec():
                yield spec.name, output / group_path(spec.name)
                if spec.at_input and run.input_grid:
                    yield spec.at_input, output / group_path(spec.at_input)
            case TableSpec():
                for column in spec.columns:
                    yield f"{spec.name}/{column}", output / table_path(spec.name) / column


def plain_bytes(spec: ArraySpec) -> int:
    """Bytes of a voxel that is not compressed."""
    return int(np.dtype(spec.dtype).itemsize)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; of the store's root only the levels of its image."""
    if (folder / "graph").is_dir():
        return sum(folder_bytes(one) for one in folder.iterdir() if one.name.isdecimal())
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):  # a run may be at work here
                total += os.stat(os.path.join(place, name)).st_size
    return total

"""One task of a stage, as a worker runs it: read, compute, write.

Tasks are write blocks, steps over tables, blocks of pyramid levels, and files on the input's
finest grid. What a worker opens
(stores, models) it keeps until the job changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import numpy as np
import torch

from pipeline.config import parse_config
from pipeline.contract import (
    BLOCKS,
    ROWS,
    Block,
    Inputs,
    Outputs,
    Parts,
    Resources,
    Rows,
    Stage,
    Step,
    Triple,
    VolumeInfo,
)
from pipeline.corrections import SECTIONS, Corrections
from pipeline.errors import PipelineError, ResourceError
from pipeline.grid import block_at, grid_shape
from pipeline.registry import GIVEN_VOLUMES, STAGES, columns_before, stage
from pipeline.store import MaskVolume, Output, Volume
from workflows.parts import Kept, StoredParts, part_path, save_part
from workflows.provenance import Ledger
from workflows.source import Source

_OPENING = RLock()
VOLUMES = frozenset({*GIVEN_VOLUMES, *(array.name for one in STAGES for array in one.arrays)})


@dataclass(frozen=True)
class Job:
    """Everything a worker needs for the tasks of one stage; small, so that it travels.

    Parameters
    ----------
    stage
        Its name.
    config
        Resolved configuration of the whole pipeline, as JSON text.
    source
        How to open the raw volume and the mask.
    output
        Path of the output store.
    volume
        Geometry of the volume.
    block_shape
        Write block, zyx.
    device
        Of the networks.
    run
        Differs from run to run: workers that outlive a run open files anew.
    spare_bytes
        Memory that a task may use beyond what its block needs.
    """

    stage: str
    config: str
    source: Source
    output: Path
    volume: VolumeInfo
    block_shape: Triple
    device: str
    run: str
    spare_bytes: int = 0

    def blocks(self) -> list[Triple]:
        """Indices of all blocks, z slowest."""
        shape = grid_shape(self.volume.shape, self.block_shape)
        return [(int(z), int(y), int(x)) for z, y, x in np.ndindex(*shape)]


@dataclass(frozen=True, slots=True)
class BlockTask:
    """The pass over one write block."""

    index: Triple

    @property
    def name(self) -> str:
        """``z.y.x``."""
        return ".".join(map(str, self.index))


@dataclass(frozen=True, slots=True)
class StepTask:
    """One task of a step."""

    step: str
    number: int

    @property
    def name(self) -> str:
        """Its number."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class LevelTask:
    """One block of a level of a pyramid."""

    array: str
    kind: Literal["image", "labels"]
    level: int
    index: Triple

    @property
    def name(self) -> str:
        """``z.y.x`` in the grid of its level."""
        return ".".join(map(str, self.index))


@dataclass(frozen=True, slots=True)
class InputTask:
    """One file of the copy of a label array on the input's finest grid."""

    array: str
    at_input: str
    index: Triple

    @property
    def name(self) -> str:
        """``z.y.x`` in the grid of the copy."""
        return ".".join(map(str, self.index))


Task = BlockTask | StepTask | LevelTask | InputTask


@dataclass(frozen=True)
class Opened:
    """What a worker opens once for a job."""

    job: Job
    stage: Stage
    config: Any
    raw: Volume
    mask: MaskVolume | None
    output: Output

    @cached_property
    def models(self) -> Mapping[str, Any]:
        """Networks and forests; what only plans a stage never loads them."""
        return self.stage.opens(self.config, self.job.device) if self.stage.opens else {}

    def resources(self, threads: int) -> Resources:
        """What a task is given."""
        with _OPENING:
            volume, spare = self.job.volume, self.job.spare_bytes
            return Resources(volume, self.models, threads, self.corrections, spare)

    @cached_property
    def corrections(self) -> Corrections | None:
        """Of sections with defects, if the stage reads them."""
        if SECTIONS not in self.stage.reads:
            return None
        return Corrections.of(StoredInputs(self.job, None, BLOCKS)[SECTIONS])

    @property
    def ledger(self) -> Ledger:
        """Done marks and parts."""
        return Ledger(self.job.output)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the columns of earlier stages, as ``table/column``."""
        found: dict[str, Any] = {}
        for name in self.stage.reads:
            if name in VOLUMES:
                continue
            columns = columns_before(self.stage, name)
            for column, values in self.output.read_attributes(name).items():
                if column in columns:
                    found[f"{name}/{column}"] = values
        return found


def opened(job: Job) -> Opened:
    """Open stores and models of a job, once a process, whatever its threads.

    Raises
    ------
    PipelineError
        If they are not there, or the volume is not that of the job.
    """
    with _OPENING:
        return _opened(job)


@lru_cache(maxsize=2)
def _opened(job: Job) -> Opened:
    chosen = stage(job.stage)
    config = parse_config(json.loads(job.config), "the resolved configuration").section(job.stage)
    raw = job.source.open()
    if raw.info != job.volume:
        raise ResourceError(f"{job.source.path}: this worker sees {raw.info}, the run {job.volume}")
    return Opened(
        job,
        chosen,
        config,
        raw,
        job.source.open_mask(raw) if "mask" in chosen.reads else None,
        Output.open(job.output),
    )


@lru_cache(maxsize=32)
def _rows(job: Job, table: str, columns: tuple[str, ...]) -> Rows:
    return opened(job).output.rows(table, columns)


@lru_cache(maxsize=8)
def _parts(job: Job, step: str) -> Parts:
    ledger = opened(job).ledger
    kept = ledger.done(job.stage, step)
    names = sorted(kept, key=lambda name: tuple(int(n) for n in name.split(".")))
    folder = ledger.parts(job.stage, step)
    return StoredParts([part_path(folder, name) for name in names], [kept[n] for n in names])


def forget_opened() -> None:
    """Close what this process holds open."""
    for held in (_opened, _rows, _parts):
        held.cache_clear()


class StoredInputs(Inputs):
    """What a task reads from the stores, fetched when it is asked for.

    Parameters
    ----------
    job
        Of the stage.
    block
        Over which arrays are read; ``None`` in a step.
    step
        The pass or step that reads; it sees what the steps before it wrote.
    """

    def __init__(self, job: Job, block: Block | None, step: str) -> None:
        self._job, self._block = job, block
        self._work = opened(job)
        self._earlier = _steps_before(self._work.stage, step)

    def parts(self, step: str) -> Parts:
        """What an earlier step of this stage kept."""
        return _parts(self._job, step)

    def __getitem__(self, name: str) -> Any:
        if name == "attributes":
            return self._work.attributes
        if name not in set(self):
            raise KeyError(name)
        if name not in VOLUMES:
            return _rows(self._job, name, self._columns(name))
        if self._block is None:
            raise AssertionError(f"a step reads the volume {name}; only blocks may")
        if name == "raw":
            return self._work.raw.read(self._block.read)
        if name == "mask":
            assert self._work.mask is not None
            return self._work.mask.read(self._block.read)
        return self._work.output.read(name, self._block.read)

    def __iter__(self) -> Iterator[str]:
        yield "attributes"
        for name in self._work.stage.reads:
            if name != "mask" or self._work.mask is not None:
                yield name
        own = {spec.name for one in self._earlier for spec in one.writes}
        yield from sorted(own - set(self._work.stage.reads))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _columns(self, table: str) -> tuple[str, ...]:
        own = [c for one in self._earlier for s in one.writes if s.name == table for c in s.columns]
        return (*columns_before(self._work.stage, table), *own)


def _steps_before(chosen: Stage, step: str) -> tuple[Step, ...]:
    """Steps of a stage that are done when a pass or step begins."""
    if step == BLOCKS:
        return chosen.before
    names = [one.name for one in chosen.steps]
    return chosen.steps[: names.index(step)]


def run_task(job: Job, threads: int, task: Task) -> Kept:
    """Compute and write one task.

    Parameters
    ----------
    job
        Of its stage.
    threads
        It may use.
    task
        Block, step, block of a pyramid level or file on the input's grid.

    Returns
    -------
    kept
        Summary of the tables that it kept for later steps; for its done mark.

    Raises
    ------
    PipelineError
        Naming stage, step and task.
    """
    kind = "block" if isinstance(task, BlockTask) else step_of(task)
    where = f"stage {job.stage}, {kind} {task.name}"
    try:
        return _run(job, threads, task)
    except PipelineError as error:
        raise type(error)(f"{error} [{where}]") from error


def step_of(task: Task) -> str:
    """Name of the pass or step that a task belongs to; done marks are kept by it."""
    match task:
        case BlockTask():
            return BLOCKS
        case StepTask():
            return task.step
        case LevelTask():
            return f"{task.array}-{task.level}"
        case InputTask():
            return task.at_input


def _run(job: Job, threads: int, task: Task) -> Kept:
    work = opened(job)
    if isinstance(task, LevelTask):
        work.ledger.check_claim(job.run)
        work.output.write_level_block(task.array, task.kind, task.level, task.index)
        return {}
    if isinstance(task, InputTask):
        assert job.source.finest is not None
        work.ledger.check_claim(job.run)
        work.output.input_labels(task.at_input, task.array, job.source.finest).write(task.index)
        return {}
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    resources = work.resources(threads)
    if isinstance(task, BlockTask):
        return _run_block(work, resources, task)
    step = next(one for one in work.stage.steps if one.name == task.step)
    inputs = StoredInputs(job, None, step.name)
    outputs = step.compute(task.number, inputs, work.config, resources)
    work.ledger.check_claim(job.run)
    if step.tasks is not None:
        folder = work.ledger.parts(job.stage, step.name)
        return save_part(part_path(folder, task.name), outputs)
    for spec in step.writes:
        table = outputs[spec.name]
        columns = {n: table[n].astype(d, copy=False) for n, d in spec.columns.items()}
        work.output.write_rows(spec.name, columns, task.number * ROWS)
    return {}


def _run_block(work: Opened, resources: Resources, task: BlockTask) -> Kept:
    job, chosen = work.job, work.stage
    assert chosen.compute is not None
    halo = chosen.halo(work.config, resources)
    block = block_at(task.index, job.volume.shape, job.block_shape, halo)
    outputs = chosen.compute(block, StoredInputs(job, block, BLOCKS), work.config, resources)
    work.ledger.check_claim(job.run)
    for spec in chosen.arrays:
        work.output.write(spec.name, block.write, outputs[spec.name])
    tables = _tables(outputs)
    if not tables:
        return {}
    return save_part(part_path(work.ledger.parts(job.stage, BLOCKS), task.name), tables)


def _tables(outputs: Outputs) -> Outputs:
    return {name: table for name, table in outputs.items() if isinstance(table, dict)}

"""What a run would do, and why, how long it takes and what it needs; nothing is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.contract import BLOCKS, ArraySpec, Stage
from pipeline.registry import STAGES, inputs_of
from workflows.blocks import BASE_BYTES
from workflows.checks import Finding, check_cores, check_disk, check_memory, check_permission
from workflows.cluster import Workplace
from workflows.estimates import Pace, Work, folder_bytes, places, plain_bytes, typical
from workflows.prepare import Run
from workflows.provenance import Record, State
from workflows.stage_run import BACKGROUND, FINISHED
from workflows.status import state_of, why_stale
from workflows.voxel_size_checks import check_voxel_size


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a run that has not begun.

    Parameters
    ----------
    stage
        Its name.
    state
        Of its output now.
    runs
        Whether it is to be run; else it is current.
    why
        A phrase each.
    blocks, blocks_total
        Write blocks to compute, and in all; 0 if it works on tables only.
    seconds
        Estimated; ``None``: nothing is known.
    seconds_from
        What the estimate rests on.
    memory_bytes
        Of a worker while it runs its blocks, estimated; 0 if it has none.
    disk_bytes
        Of all that it leaves, estimated.
    """

    stage: str
    state: State
    runs: bool
    why: tuple[str, ...]
    blocks: int
    blocks_total: int
    seconds: float | None
    seconds_from: str
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class PlannedArray:
    """Disk that an array needs, its pyramid included.

    Parameters
    ----------
    name, dtype
        Of the array.
    plain_bytes
        Of its voxels, not compressed.
    disk_bytes
        Estimated.
    """

    name: str
    dtype: str
    plain_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Parameters
    ----------
    stages
        All of them, in order.
    arrays
        Disk by array; what is missing to the stages' sum are tables.
    findings
        What was checked.
    workers
        That the times are for; 1 where their number is not known.
    memory_bytes
        Of one worker, estimated, for its blocks.
    disk_bytes
        Still to be written, estimated.
    """

    stages: tuple[PlannedStage, ...]
    arrays: tuple[PlannedArray, ...]
    findings: tuple[Finding, ...]
    workers: int
    memory_bytes: int
    disk_bytes: int

    @property
    def seconds(self) -> float | None:
        """Of all stages that run; ``None`` if that of one is not known."""
        known = [one.seconds for one in self.stages if one.runs]
        return None if None in known else sum(one for one in known if one is not None)

    @property
    def possible(self) -> bool:
        """Whether nothing speaks against it."""
        return all(one.kind != "error" for one in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For machines; keys are stable."""
        return {**asdict(self), "seconds": self.seconds, "possible": self.possible}


def make_plan(
    run: Run, workplace: Workplace, work: Work, pace: Pace, *, fresh: bool = False
) -> Plan:
    """What ``reconstruct`` would do.

    Parameters
    ----------
    run
        From ``prepare``, which may have been told to write nothing.
    workplace
        Where it would work.
    work
        Of the run.
    pace
        From ``measured``, ``calibrate`` or empty; disk that it does not know is typical.
    fresh
        What is in the output would be removed first.
    """
    contents, pace = run.fingerprint_contents(), pace.joined(typical(work))
    workers = workers_of(workplace)
    stages: list[PlannedStage] = []
    for stage in STAGES:
        record = None if fresh else run.ledger.record(stage.name)
        above = [one.stage for one in stages if one.runs and _reads(stage, one.stage)]
        stages.append(
            _planned(run, stage, record, contents[stage.name], above, (work, pace, workers))
        )
    memory = work.memory.needed(run.output.block_shape)
    disk = _still_to_write(run, stages, fresh)
    findings = [
        check_permission(run.output.path),
        check_disk(run.output.path, disk),
        *check_memory(workplace, memory),
        check_cores(workplace),
        *check_voxel_size(run),
    ]
    arrays = tuple(
        one for s in STAGES for spec in s.arrays for one in _planned_arrays(spec, work, pace)
    )
    return Plan(tuple(stages), arrays, tuple(findings), workers, memory, disk)


def workers_of(workplace: Workplace) -> int:
    """Workers of a workplace; 1 where a scheduler is given, for they come and go."""
    if workplace.file:
        return sum(group.workers for group in workplace.file.groups.given().values())
    return workplace.workers * workplace.threads if workplace.scheduler is None else 1


def _reads(stage: Stage, earlier: str) -> bool:
    return any(one.name == earlier for one in inputs_of(stage))


def _planned(
    run: Run,
    stage: Stage,
    record: Record | None,
    content: Mapping[str, Any],
    above: list[str],
    how: tuple[Work, Pace, int],
) -> PlannedStage:
    work, pace, _ = how
    state = state_of(record, content)
    goes_on = state == "unfinished" and not above
    total = _blocks(run, stage, work)
    left = max(0, total - len(run.ledger.done(stage.name, BLOCKS))) if goes_on else total
    runs = state != "done" or bool(above)
    why: tuple[str, ...] = ()
    if state == "missing":
        why = ("missing",)
    elif record and state == "stale":
        why = why_stale(stage, record, content)
    elif above:
        why = tuple(f"depends on {name}" for name in above)
    elif goes_on:
        why = (
            f"interrupted: {total - left} of {total} blocks are done" if total else "interrupted",
        )
    return PlannedStage(
        stage=stage.name,
        state=state,
        runs=runs,
        why=why,
        blocks=left if runs else 0,
        blocks_total=total,
        seconds=_seconds(run, stage, record if goes_on else None, how) if runs else 0.0,
        seconds_from=pace.source.get(stage.name, "") if runs else "",
        memory_bytes=_memory(stage, work),
        disk_bytes=sum(
            round(pace.disk.get(name, 0.0) * work.voxels) for name, _ in places(run, stage)
        ),
    )


def _memory(stage: Stage, work: Work) -> int:
    """Of a worker at a block; 0 where there are none."""
    if stage.compute is None:
        return 0
    return BASE_BYTES + work.memory.of_stage(stage.name, work.block_shape)


def _blocks(run: Run, stage: Stage, work: Work) -> int:
    """Blocks of a stage; those of background cost nothing, once they are known."""
    if stage.compute is None:
        return 0
    earlier = STAGES[: STAGES.index(stage)]
    known = any(spec.name == BACKGROUND for one in earlier for spec in one.tables)
    return work.blocks - (len(run.output.background) if known else 0)


def _seconds(
    run: Run, stage: Stage, record: Record | None, how: tuple[Work, Pace, int]
) -> float | None:
    """Of what is left of a stage; ``record`` where it goes on."""
    work, pace, workers = how
    if stage.name not in pace.seconds:
        return None
    finished = run.ledger.done(stage.name, FINISHED) if record else {}
    seconds = 0.0
    known = {one.name for one in run.passes(stage)}
    for name, each in pace.seconds[stage.name].items():
        if name not in known or name in finished:
            continue
        share = 1.0
        if name == BLOCKS:
            done = len(run.ledger.done(stage.name, BLOCKS)) if record else 0
            share = max(0, _blocks(run, stage, work) - done) / work.blocks
        parallel = max(1, min(workers, math.ceil(work.blocks * share)))
        seconds += each * work.of_pass(stage.name, name) * share / parallel
    return seconds


def _still_to_write(run: Run, stages: list[PlannedStage], fresh: bool) -> int:
    """Bytes of what runs, less those of what it replaces."""
    needed = 0
    for stage, planned in zip(STAGES, stages, strict=True):
        if planned.runs or fresh:
            held = sum(folder_bytes(folder) for _, folder in places(run, stage))
            needed += max(0, planned.disk_bytes - held)
    return needed


def _planned_arrays(spec: ArraySpec, work: Work, pace: Pace) -> Iterator[PlannedArray]:
    """An array, and its copy on the input's finest grid."""
    copy = [(spec.at_input, work.input_voxels)] if spec.at_input and work.input_voxels else []
    for name, voxels in [(spec.name, work.voxels), *copy]:
        disk = round(pace.disk.get(name, 0.0) * work.voxels)
        yield PlannedArray(name, spec.dtype, plain_bytes(spec) * voxels, disk)

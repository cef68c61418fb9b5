"""What an output holds: which stages and steps are done, current or stale, and why.

Nothing is written and nothing locked, so it can be asked while a run is going on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.contract import BLOCKS, Stage
from pipeline.grid import grid_shape
from pipeline.registry import STAGES, inputs_of
from workflows.prepare import Run
from workflows.provenance import Ledger, Record, State, StepRecord, differences, fingerprint_of
from workflows.stage_run import FINISHED


@dataclass(frozen=True)
class StepStatus:
    """One pass or step of a stage.

    Parameters
    ----------
    name
        ``blocks``, the step's name, or ``<array>-<level>`` of a pyramid.
    state
        ``waiting``, ``unfinished`` or ``done``.
    tasks
        In all; ``None`` until it begins.
    done
        Tasks that are done.
    failed
        Names of tasks that failed and were not done since.
    seconds, voxels, rows, peak_bytes
        See ``StepRecord``.
    """

    name: str
    state: Literal["waiting", "unfinished", "done"]
    tasks: int | None
    done: int
    failed: tuple[str, ...]
    seconds: float
    voxels: int
    rows: int
    peak_bytes: int


@dataclass(frozen=True)
class StageStatus:
    """One stage of an output.

    Parameters
    ----------
    stage
        Its name.
    state
        ``missing``, ``unfinished``, ``stale`` or ``done``.
    why
        What changed since it was computed, a phrase each; only of stale stages.
    blocks_done, blocks
        Write blocks, 0 if it works on tables only.
    steps
        Passes and steps in order.
    record
        What is known of it.
    """

    stage: str
    state: State
    why: tuple[str, ...]
    blocks_done: int
    blocks: int
    steps: tuple[StepStatus, ...]
    record: Record | None


def status(run: Run) -> list[StageStatus]:
    """State of every stage.

    Raises
    ------
    OutputError
        If a record is damaged.
    """
    contents = run.fingerprint_contents()
    return [_stage_status(run, stage, contents[stage.name]) for stage in STAGES]


def state_of(record: Record | None, content: Mapping[str, Any]) -> State:
    """State of a stage by its record and what decides its result now."""
    if record is None:
        return "missing"
    if record.fingerprint != fingerprint_of(content):
        return "stale"
    return "done" if record.finished else "unfinished"


def why_stale(stage: Stage, record: Record, content: Mapping[str, Any]) -> tuple[str, ...]:
    """What changed since a stage was computed, e.g. ``multicut.beta: 0.6 -> 0.5``."""
    if record.unreadable:
        return (record.unreadable,)
    fields = type(stage.config()).model_fields
    earlier = {one.name for one in inputs_of(stage)}
    found = []
    for phrase in differences(record.content, content):
        first = phrase.partition(":")[0]
        if first in fields:
            found.append(f"{stage.name}.{phrase}")
        elif phrase.removesuffix(" changed") in earlier:
            found.append(f"depends on {phrase.removesuffix(' changed')}")
        else:
            found.append(phrase)
    return tuple(found)


def _stage_status(run: Run, stage: Stage, content: Mapping[str, Any]) -> StageStatus:
    record = run.ledger.record(stage.name)
    state = state_of(record, content)
    why = why_stale(stage, record, content) if record and state == "stale" else ()
    steps = tuple(
        _step_status(run.ledger, stage, one.name, record)
        for one in run.passes(stage)
        if not one.name.endswith("-pyramid")
    )
    blocks = next((step for step in steps if step.name == BLOCKS), None)
    count = 0
    if blocks is not None:
        z, y, x = grid_shape(run.volume.shape, run.output.block_shape)
        count = z * y * x if blocks.tasks is None else blocks.tasks
    done = blocks.done if blocks else 0
    return StageStatus(stage.name, state, why, done, count, steps, record)


def _step_status(ledger: Ledger, stage: Stage, name: str, record: Record | None) -> StepStatus:
    found = next((step for step in record.steps if step.name == name), None) if record else None
    known = found or StepRecord(name, 0)
    done = len(ledger.done(stage.name, name))
    whole = record is not None and (record.finished or name in ledger.done(stage.name, FINISHED))
    return StepStatus(
        name=name,
        state="done" if whole else "unfinished" if done or found else "waiting",
        tasks=found.tasks if found else None,
        done=done,
        failed=tuple(ledger.failed(stage.name, name)),
        seconds=known.seconds,
        voxels=known.voxels,
        rows=known.rows,
        peak_bytes=known.peak_bytes,
    )


def as_json(run: Run, stages: list[StageStatus]) -> dict[str, Any]:
    """Everything for machines; keys are stable."""
    return {
        "output": str(run.output.path),
        "input": str(run.source.path),
        "shape": list(run.volume.shape),
        "voxel_size_nm": list(run.volume.voxel_size_nm),
        "block_shape": list(run.output.block_shape),
        "finished": all(one.state == "done" for one in stages),
        "stages": [_stage_json(one) for one in stages],
    }


def _stage_json(one: StageStatus) -> dict[str, Any]:
    record = one.record or Record(one.stage, "", False)
    return {
        "stage": one.stage,
        "state": one.state,
        "reason": list(one.why),
        "blocks": one.blocks,
        "blocks_done": one.blocks_done,
        "failed": [f"{step.name} {name}" for step in one.steps for name in step.failed],
        "seconds": record.seconds,
        "voxels": record.voxels,
        "peak_bytes": record.peak_bytes,
        "solution": list(record.solution),
        "warnings": list(record.warnings),
        "workers": record.workers,
        "fingerprint": record.fingerprint,
        "started": record.started,
        "ended": record.ended,
        "steps": [
            {
                "step": step.name,
                "state": step.state,
                "tasks": step.tasks,
                "done": step.done,
                "failed": list(step.failed),
                "seconds": step.seconds,
                "voxels": step.voxels,
                "rows": step.rows,
                "peak_bytes": step.peak_bytes,
            }
            for step in one.steps
        ],
    }

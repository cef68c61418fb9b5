"""From a raw volume to neurons: every stage skipped if current, run if not, recorded.

For each stage: fingerprint; skip if done and equal; else forget it and what depends on it,
run the missing blocks, merge, build the pyramid, record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.contract import Halo, Stage, Triple
from pipeline.errors import OutputError
from pipeline.grid import block_at, whole
from pipeline.registry import STAGES, inputs_of
from workflows.blockwise import (
    Executor,
    Job,
    Opened,
    available_cores,
    forget_opened,
    merged,
    opened,
    read_tables,
)
from workflows.memory import PeakMemory
from workflows.parts import part_path
from workflows.prepare import Run
from workflows.progress import Advance, progress_bar
from workflows.provenance import Record, State


@dataclass(frozen=True)
class StageStatus:
    """One line of ``status``."""

    stage: str
    state: State
    blocks_done: int
    blocks: int
    record: Record | None


def reconstruct(
    run: Run,
    *,
    workers: int = 1,
    memory_bytes: int | None = None,
    order: Callable[[Sequence[Triple]], Sequence[Triple]] = lambda blocks: blocks,
    until: str | None = None,
) -> None:
    """Bring every stage up to date.

    Parameters
    ----------
    run
        From ``prepare``.
    workers
        Processes; 1 runs here.
    memory_bytes
        Limit of one worker.
    order
        Order in which a stage's blocks are computed; does not change the result.
    until
        Last stage to run; all by default.
    """
    forget_opened()
    threads = min(torch.get_num_threads(), max(1, available_cores() // workers))
    with run.ledger.lock(), Executor(workers, memory_bytes) as executor:
        fingerprints = run.fingerprints()
        for stage in STAGES:
            print_now = fingerprints[stage.name]
            old = run.ledger.record(stage.name)
            if old and old.finished and old.fingerprint == print_now:
                _verify_finished(run, stage)
            else:
                _run_stage(run, stage, print_now, executor, threads, order)
            if stage.name == until:
                break
        run.output.set_attributes({"stages": _records(run)})


def status(run: Run) -> list[StageStatus]:
    """State of every stage: current, stale, unfinished or missing."""
    fingerprints = run.fingerprints()
    rows = []
    for stage in STAGES:
        record = run.ledger.record(stage.name)
        state: State
        if record is None:
            state = "missing"
        elif record.fingerprint != fingerprints[stage.name]:
            state = "stale"
        else:
            state = "done" if record.finished else "unfinished"
        done = len(run.ledger.done(stage.name))
        rows.append(StageStatus(stage.name, state, done, record.blocks if record else 0, record))
    return rows


def _run_stage(
    run: Run,
    stage: Stage,
    fingerprint_now: str,
    executor: Executor,
    threads: int,
    order: Callable[[Sequence[Triple]], Sequence[Triple]],
) -> None:
    job = run.job(stage, threads)
    indices = job.blocks() if stage.scope == "blocks" else [(0, 0, 0)]
    record = _start(run, stage, fingerprint_now, len(indices))
    done = _done(run, stage)
    _verify(run, stage, done)
    names = [".".join(map(str, index)) for index in indices]
    missing = [i for i, name in zip(indices, names, strict=True) if name not in done]
    began, peak = time.monotonic(), PeakMemory()
    try:
        with peak, progress_bar(stage.name, len(indices), len(indices) - len(missing)) as advance:
            if stage.scope == "blocks":
                _compute_blocks(run, stage, job, executor, order(missing), advance)
            elif missing:
                _compute_whole(run, stage, job)
                advance(1, "")
            if stage.merge:
                _write_tables(run, opened(job), merged(job, names, run.ledger.parts(stage.name)))
            for spec in stage.arrays:
                run.output.build_pyramid(spec.name, spec.kind)
    except BaseException:
        with suppress(OSError):
            run.ledger.save(record.worked(time.monotonic() - began, peak.bytes))
        raise
    run.ledger.finish(record.worked(time.monotonic() - began, peak.bytes))


def _done(run: Run, stage: Stage) -> set[str]:
    """Blocks whose outputs are there; one whose part was removed is computed again."""
    done = run.ledger.done(stage.name)
    if stage.merge is None:
        return done
    parts = run.ledger.parts(stage.name)
    return {name for name in done if part_path(parts, name).is_file()}


def _start(run: Run, stage: Stage, fingerprint_now: str, blocks: int) -> Record:
    """Go on with an unfinished stage, or forget it and all that depends on it.

    What depends on it goes first, and every record before its outputs: killed anywhere in
    here, the stage itself still is not current, so the next run starts here again.
    """
    old = run.ledger.record(stage.name)
    if old and not old.finished and (old.fingerprint, old.blocks) == (fingerprint_now, blocks):
        return old
    for later in reversed(dependents(stage)):
        run.ledger.forget(later.name)
        for array in later.arrays:
            if run.output.has_array(array.name):
                run.output.remove(array.name)
        for table in later.tables:
            run.output.remove_table(table.name, list(table.columns))
    run.output.set_attributes({"stages": _records(run)})
    for array in stage.arrays:
        run.output.create_array(array)
    return run.ledger.start(stage.name, fingerprint_now, blocks)


def dependents(stage: Stage) -> list[Stage]:
    """A stage and all that depend on it, in order."""
    found = [stage]
    for later in STAGES[STAGES.index(stage) + 1 :]:
        if any(s in found for s in inputs_of(later)):
            found.append(later)
    return found


def _compute_blocks(
    run: Run,
    stage: Stage,
    job: Job,
    executor: Executor,
    indices: Sequence[Triple],
    advance: Advance,
) -> None:
    began, voxels = time.monotonic(), 0
    per_block = run.output.block_shape[0] * run.output.block_shape[1] * run.output.block_shape[2]

    def done(name: str) -> None:
        nonlocal voxels
        run.ledger.mark(stage.name, name)
        voxels += per_block
        advance(1, f"{voxels / 1e6 / max(time.monotonic() - began, 1e-3):.1f} Mvoxel/s")

    executor.run(job, indices, run.ledger.parts(stage.name), done)


def _compute_whole(run: Run, stage: Stage, job: Job) -> None:
    work = opened(job)
    tables, attributes = read_tables(job)
    inputs = {**tables, "attributes": attributes}
    block = whole(run.volume.shape)
    _write_tables(run, work, stage.compute(block, inputs, work.config, work.resources))
    run.ledger.mark(stage.name, block.name)


def _write_tables(run: Run, work: Opened, tables: Mapping[str, Any]) -> None:
    for spec in work.stage.tables:
        columns = {
            name: tables[spec.name][name].astype(dtype, copy=False)
            for name, dtype in spec.columns.items()
        }
        run.output.write_table(spec.name, columns, _attributes(work, spec.name))


def _attributes(work: Opened, table: str) -> dict[str, Mapping[str, Any]]:
    """Attributes of a table's columns, such as feature names."""
    if work.stage.attributes is None:
        return {}
    given = work.stage.attributes(work.config, work.resources)
    return {
        key.partition("/")[2]: value
        for key, value in given.items()
        if key.partition("/")[0] == table
    }


def _verify_finished(run: Run, stage: Stage) -> None:
    """Every file of a finished stage is there."""
    with _remedy(run, stage):
        for spec in stage.arrays:
            run.output.verify(spec.name, whole(run.volume.shape).write)
        for table in stage.tables:
            run.output.read_table(table.name, list(table.columns), slice(0, 0))


def _verify(run: Run, stage: Stage, done: set[str]) -> None:
    """Every block that is marked done has its file."""
    for name in done if stage.arrays else ():
        z, y, x = (int(i) for i in name.split("."))
        block = block_at((z, y, x), run.volume.shape, run.output.block_shape, Halo())
        with _remedy(run, stage):
            for spec in stage.arrays:
                run.output.verify(spec.name, block.write)


@contextmanager
def _remedy(run: Run, stage: Stage) -> Iterator[None]:
    """Say how to go on where finished data are gone."""
    try:
        yield
    except OutputError as error:
        record = run.ledger.folder / f"{stage.name}.json"
        raise OutputError(
            f"{error}; it was finished before. Remove {record} to compute the stage again"
        ) from error


def _records(run: Run) -> dict[str, Any]:
    records = (run.ledger.record(s.name) for s in STAGES)
    return {
        r.stage: {
            "seconds": round(r.seconds, 2),
            "blocks": r.blocks,
            "peak_bytes": r.peak_bytes,
            "fingerprint": r.fingerprint,
            "ended": r.ended,
        }
        for r in records
        if r and r.finished
    }

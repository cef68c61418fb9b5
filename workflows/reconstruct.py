"""From a raw volume to neurons: every stage skipped if current, run if not, recorded.

For each stage: fingerprint; skip if done and equal; else forget it and what depends on it,
run its passes (``stage_run``), record.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.contract import Stage
from pipeline.errors import OutputError
from pipeline.grid import whole
from pipeline.registry import STAGES, inputs_of
from workflows.cluster import Workplace
from workflows.deaths import Deaths
from workflows.executor import Executor
from workflows.kept_records import keep_records
from workflows.prepare import Run
from workflows.progress import stage_ended, stage_warned
from workflows.provenance import Record, fingerprint_of
from workflows.stage_run import Order, StageRun
from workflows.status import status
from workflows.tasks import forget_opened

LOG = logging.getLogger(__name__)

__all__ = ["STAGES", "dependents", "reconstruct", "status"]


def reconstruct(
    run: Run,
    workplace: Workplace | None = None,
    *,
    order: Order = list,
    until: str | None = None,
) -> None:
    """Bring every stage up to date.

    Parameters
    ----------
    run
        From ``prepare``.
    workplace
        Where tasks run; by default in this process.
    order
        Order in which a pass's tasks are given out; does not change the result.
    until
        Last stage to run; all by default.
    """
    forget_opened()
    name = uuid.uuid4().hex
    with run.ledger.lock(), Executor(workplace or Workplace()) as executor:
        run.ledger.claim(name)
        run.output.remove_leftovers()
        deaths = _deaths(run, executor.workplace)
        contents = run.fingerprint_contents()
        keep_records(run, contents)
        for stage in STAGES:
            content = contents[stage.name]
            old = run.ledger.record(stage.name)
            if old and old.finished and old.fingerprint == fingerprint_of(content):
                _verify_finished(run, stage)
                run.ledger.remove_parts(stage.name)  # a kill may have left them
            else:
                record = _start(run, stage, content)
                job = run.job(stage, name, executor.workplace.share_bytes())
                StageRun(run, stage, job, executor, deaths, order)(record)
                _say(run, stage)
            if stage.name == until:
                break
        run.output.set_attributes({"stages": _records(run)})


def _deaths(run: Run, workplace: Workplace) -> Deaths:
    """What earlier runs died of that worked in their own process."""
    deaths = Deaths(run.ledger.folder)
    if not workplace.here:
        deaths.end()
    elif deaths.warning:
        LOG.warning("%s", deaths.warning)
    return deaths


def _start(run: Run, stage: Stage, content: Mapping[str, Any]) -> Record:
    """Go on with an unfinished stage, or forget it and all that depends on it.

    What depends on it goes first, and every record before its outputs: killed anywhere in
    here, the stage itself still is not current, so the next run starts here again.
    """
    fingerprint = fingerprint_of(content)
    old = run.ledger.record(stage.name)
    if old and not old.finished and old.fingerprint == fingerprint:
        return old
    for later in reversed(dependents(stage)):
        run.ledger.forget(later.name)
        for name in (n for array in later.arrays for n in (array.name, array.at_input) if n):
            if run.output.has_array(name):
                run.output.remove(name)
        for table in later.tables:
            run.output.remove_table(table.name, list(table.columns))
    run.output.set_attributes({"stages": _records(run)})
    for array in stage.arrays:
        run.output.create_array(array)
    return run.ledger.start(stage.name, fingerprint, content)


def dependents(stage: Stage) -> list[Stage]:
    """A stage and all that depend on it, in order."""
    found = [stage]
    for later in STAGES[STAGES.index(stage) + 1 :]:
        if any(s in found for s in inputs_of(later)):
            found.append(later)
    return found


def _verify_finished(run: Run, stage: Stage) -> None:
    """Every file of a finished stage is there."""
    with _remedy(run, stage):
        for spec in stage.arrays:
            run.output.verify(spec.name, whole(run.volume.shape).write)
            if spec.at_input and run.input_grid:
                run.output.input_labels(spec.at_input, spec.name, run.input_grid).check()
        for table in stage.tables:
            run.output.verify_table(table.name, list(table.columns))


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


def _say(run: Run, stage: Stage) -> None:
    """One line for a stage that was brought up to date, and what people should know after it."""
    record = run.ledger.record(stage.name)
    if record:
        stage_ended(stage.name, record.blocks, record.seconds, record.voxels)
        stage_warned(stage.name, record.warnings)


def _records(run: Run) -> dict[str, Any]:
    records = (run.ledger.record(s.name) for s in STAGES)
    return {r.stage: r.summary() for r in records if r and r.finished}

"""One stage of a run: its steps, its pass over blocks and its pyramids, task by task.

The order is: steps before the blocks, the blocks, the pyramids of what they wrote (and labels
on the input's finest grid), steps after the blocks. Every pass goes on from its done marks, and
is whole before the next one begins.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pipeline.contract import BLOCKS, Halo, Resources, Stage, Step, Triple
from pipeline.corrections import SECTIONS
from pipeline.errors import OutputError, ResourceError
from pipeline.grid import block_at
from pipeline.registry import STAGES
from pipeline.sections.report import describe
from pipeline.store.input_labels import InputLabels
from pipeline.store.remote_trouble import without_secrets
from pipeline.tables import row_range, row_tasks
from workflows.blocks import BASE_BYTES, OVERLAPPED
from workflows.deaths import Deaths
from workflows.executor import Executor, Failures
from workflows.failed_tasks import described, error_of
from workflows.memory import PeakMemory
from workflows.parts import Kept, is_whole, part_path
from workflows.passes import Pass
from workflows.prepare import Run
from workflows.progress import progress_bar
from workflows.provenance import Record
from workflows.tasks import (
    BlockTask,
    InputTask,
    Job,
    LevelTask,
    StepTask,
    StoredInputs,
    Task,
    opened,
    run_task,
)

LOG = logging.getLogger(__name__)

BACKGROUND = "background"
"""Table of the blocks without tissue."""
SOLUTION = "solution"
"""A kept table that goes into the stage's record."""
FINISHED = "finished"
"""Marks under this name are of whole passes."""
STEP_BYTES = 256 << 20
"""What a task of a step needs that does not say more."""

Order = Callable[[Sequence[Task]], Sequence[Task]]


@dataclass(frozen=True)
class StageRun:
    """A stage that is being brought up to date.

    Parameters
    ----------
    run
        What is reconstructed.
    stage
        Which stage.
    job
        For its workers.
    executor
        Runs the tasks.
    deaths
        Is told of every task that runs in this process.
    order
        In which tasks are given out; does not change the result.
    """

    run: Run
    stage: Stage
    job: Job
    executor: Executor
    deaths: Deaths
    order: Order = list

    def __call__(self, record: Record) -> None:
        """Run what is missing, then note that the stage is finished.

        Raises
        ------
        PipelineError
            If tasks failed; the others are done, and a later run tries only these.
        """
        finished = self.run.ledger.done(self.stage.name, FINISHED)
        for one in self.run.passes(self.stage):
            if one.name not in finished or not self._is_whole(one):
                record = self._run(one, record)
        self.run.ledger.finish(self._with_warnings(record))

    def tasks(self, one: Pass) -> list[Task]:
        """All tasks of a pass; background blocks have none."""
        if one.step is not None:
            return [StepTask(one.step.name, n) for n in range(self._count(one.step))]
        if one.name == BLOCKS:
            background = self._background()
            return [BlockTask(index) for index in self.job.blocks() if index not in background]
        if one.at_input:
            found = self._input_labels(one).blocks()
            return [InputTask(one.array, one.at_input, index) for index in found]
        if one.level == 0:
            return []
        kind = next(spec.kind for spec in self.stage.arrays if spec.name == one.array)
        indices = self.run.output.level_blocks(one.level)
        return [LevelTask(one.array, kind, one.level, index) for index in indices]

    def _run(self, one: Pass, record: Record) -> Record:
        tasks = self.tasks(one)
        self._check_memory(one)
        if not tasks and one.step is not None:  # a level of the solver that is not needed
            return record
        done = self._prepare(one)
        missing = [task for task in tasks if task.name not in done]
        workers = self.executor.workplace.workers
        self.run.ledger.save(record.worked(one.name, len(tasks), 0.0, 0, workers=workers))
        began, peak, ended = time.monotonic(), PeakMemory(), list[Task]()
        try:
            with peak:
                failures = self._run_tasks(one, len(tasks), missing, ended)
        finally:
            record = record.worked(
                one.name,
                len(tasks),
                time.monotonic() - began,
                peak.bytes,
                voxels=self._voxels(ended),
                rows=self._rows_of(one.step, ended) if one.step and one.step.writes else 0,
                workers=workers,
            )
            self.run.ledger.save(record)
        self._raise(one, failures)
        record = self._with_solution(one, record)
        self._finish(one)
        self.run.ledger.mark(self.stage.name, FINISHED, one.name, {})
        return record

    def _with_solution(self, one: Pass, record: Record) -> Record:
        """What a step tells of the problem that it solved is kept in the record."""
        kept = self.run.ledger.done(self.stage.name, one.name)
        if one.step is None or not any(SOLUTION in tables for tables in kept.values()):
            return record
        rows: list[Mapping[str, Any]] = []
        for part in StoredInputs(self.job, None, one.name).parts(one.name):
            columns = {name: values.tolist() for name, values in part[SOLUTION].items()}
            found = zip(*columns.values(), strict=True)
            rows += [dict(zip(columns, row, strict=True)) for row in found]
        if not self.executor.workplace.here:  # there its own log is seen
            for row in rows:
                LOG.info("%s: %s", self.stage.name, told(row))
        record = replace(record, solution=tuple(rows))
        self.run.ledger.save(record)
        return record

    def _with_warnings(self, record: Record) -> Record:
        """Defects of the sections are kept in the record."""
        if SECTIONS not in {spec.name for spec in self.stage.tables}:
            return record
        found = describe(self.run.output.read_table(SECTIONS))
        if found:
            found += self._counted()
        return replace(record, warnings=tuple(found))

    def _counted(self) -> list[str]:
        """Which section is number 0, where it is not that of the volume which was given."""
        source, where = self.run.source, []
        if source.level:
            where.append(f"on level {source.level}")
        if source.roi is not None and source.roi.begin[0]:
            where.append(f"from section {source.roi.begin[0]}, the first of --roi")
        return [f"sections are counted {' '.join(where)}"] if where else []

    def _run_tasks(
        self, one: Pass, total: int, missing: Sequence[Task], ended: list[Task]
    ) -> Failures:
        """Run what is missing; tasks that are done are added to ``ended``."""
        ledger, stage = self.run.ledger, self.stage.name
        on_device = self.stage.on_device and one.name == BLOCKS
        threads = self.executor.threads_for(len(missing), on_device=on_device)
        title = stage if one.name == BLOCKS else f"{stage}, {one.name}"
        voxels = self._voxels(missing) // max(len(missing), 1)
        with progress_bar(title, total, total - len(missing), voxels) as advance:

            def done(task: Task, kept: Kept) -> None:
                ledger.mark(stage, one.name, task.name, kept)
                ended.append(task)
                advance(1, "")

            return self.executor.run(
                self._work(one, threads),
                self.order(missing),
                name=lambda task: task.name,
                done=done,
                on_device=on_device,
                at_once=OVERLAPPED if on_device and self.job.device.startswith("cuda") else 1,
            )

    def _work(self, one: Pass, threads: int) -> Callable[[Task], Kept]:
        """What is done for a task; one that runs in this process is noted first."""
        work = partial(run_task, self.job, threads)
        if not self.executor.workplace.here:
            return work

        def noted(task: Task) -> Kept:
            self.deaths.begin(f"{self._where(one)} {task.name}")
            try:
                return work(task)
            finally:
                self.deaths.end()

        return noted

    def _voxels(self, tasks: Sequence[Task]) -> int:
        """That some tasks write."""
        shape, block = self.job.volume.shape, self.job.block_shape
        indices = [task.index for task in tasks if isinstance(task, BlockTask)]
        return sum(block_at(index, shape, block, Halo()).write.size for index in indices)

    def _background(self) -> Container[Triple]:
        """Blocks without tissue, once the stage that finds them is done."""
        earlier = STAGES[: STAGES.index(self.stage)]
        known = any(spec.name == BACKGROUND for one in earlier for spec in one.tables)
        return self.run.output.background if known else ()

    def _count(self, step: Step) -> int:
        if step.tasks is not None:
            return step.tasks(*self._seen_by(step))
        return row_tasks(self._rows(step))

    def _rows(self, step: Step) -> int:
        assert step.rows is not None
        return step.rows(*self._seen_by(step))

    def _rows_of(self, step: Step, tasks: Sequence[Task]) -> int:
        """That some tasks of a step wrote."""
        rows = self._rows(step)
        ranges = [row_range(t.number, rows) for t in tasks if isinstance(t, StepTask)]
        return sum(end - begin for begin, end in ranges)

    def _seen_by(self, step: Step) -> tuple[StoredInputs, Any, Resources]:
        """Inputs, configuration and resources of the functions that plan a step."""
        inputs = StoredInputs(self.job, None, step.name)
        threads = self.executor.threads_for(1)
        return inputs, opened(self.job).config, Resources(self.job.volume, {}, threads)

    def _check_memory(self, one: Pass) -> None:
        """A step says what it needs before it starts."""
        limit = self.executor.memory_bytes
        if one.step is None or limit is None:
            return
        asks = one.step.memory
        needed = BASE_BYTES + (asks(*self._seen_by(one.step)) if asks else STEP_BYTES)
        if needed > limit:
            raise ResourceError(
                f"{self._where(one)} needs about {needed / 2**30:.1f} GiB in one "
                f"process, more than the {limit / 2**30:.1f} GiB of --memory; raise it"
                + (f", or lower {one.step.smaller_by}" if one.step.smaller_by else "")
            )

    def _prepare(self, one: Pass) -> set[str]:
        """Make what the pass writes into; names of the tasks whose outputs are there."""
        ledger, output = self.run.ledger, self.run.output
        marked = set(ledger.done(self.stage.name, one.name))
        if one.step is not None and one.step.writes:
            damaged = one.name in ledger.done(self.stage.name, FINISHED)
            return marked if self._open_tables(one.step, fresh=damaged or not marked) else set()
        if one.level and not (marked and output.has_level(one.array, one.level)):
            ledger.unmark(self.stage.name, one.name)  # marks never outlive what they speak of
            output.create_level(one.array, one.level)
            return set()
        if one.at_input and not (marked and self._input_labels(one).exists()):
            ledger.unmark(self.stage.name, one.name)
            output.create_input_labels(self._input_labels(one))
            return set()
        lost = self._lost(one)
        if lost:
            LOG.info("%s: %d tasks lost what they wrote and run again", self._where(one), len(lost))
        return marked - lost

    def _open_tables(self, step: Step, *, fresh: bool) -> bool:
        """Whether rows that were written before are kept."""
        rows, output = self._rows(step), self.run.output
        kept = not fresh and all(
            output.has_partial(spec.name, list(spec.columns), rows) for spec in step.writes
        )
        if not kept:
            self.run.ledger.unmark(self.stage.name, step.name)
            attributes = self._attributes()
            for spec in step.writes:
                names = {c: attributes.get(f"{spec.name}/{c}", {}) for c in spec.columns}
                widths = {c: len(a["names"]) for c, a in names.items() if "names" in a}
                output.create_table(spec, {**spec.widths, **widths}, rows, names)
        return kept

    def _attributes(self) -> Mapping[str, Mapping[str, Any]]:
        if self.stage.attributes is None:
            return {}
        return self.stage.attributes(opened(self.job).config, Resources(self.job.volume))

    def _is_whole(self, one: Pass) -> bool:
        """Whether what a finished pass left is still there."""
        try:
            for spec in one.step.writes if one.step else ():
                self.run.output.verify_table(spec.name, list(spec.columns))
        except OutputError:
            return False
        return not self._lost(one)

    def _lost(self, one: Pass) -> set[str]:
        """Marked tasks whose part or files are gone, empty, or (parts) cut short."""
        folder = self.run.ledger.parts(self.stage.name, one.name)
        kept = self.run.ledger.done(self.stage.name, one.name)
        lost = {name for name in kept if kept[name] and not is_whole(part_path(folder, name))}
        arrays = [one.array] if one.level else [spec.name for spec in self.stage.arrays]
        for array in arrays if one.level or one.name == BLOCKS else ():
            indices = map(_index_of, kept)
            missing = self.run.output.missing_blocks(array, one.level, indices)
            lost |= {BlockTask(index).name for index in missing}
        if one.at_input:
            missing = self._input_labels(one).missing(map(_index_of, kept))
            lost |= {BlockTask(index).name for index in missing}
        return lost

    def _input_labels(self, one: Pass) -> InputLabels:
        assert self.run.source.finest is not None
        return self.run.output.input_labels(one.at_input, one.array, self.run.source.finest)

    def _where(self, one: Pass) -> str:
        return f"stage {self.stage.name}, {one.name}"

    def _finish(self, one: Pass) -> None:
        if one.step is not None:
            self._finish_tables(one.step)
        elif one.at_input:
            self.run.output.finish_input_labels(self._input_labels(one))
        elif one.array and one.level == 0:
            kind = next(spec.kind for spec in self.stage.arrays if spec.name == one.array)
            self.run.output.finish_pyramid(one.array, kind)

    def _finish_tables(self, step: Step) -> None:
        try:
            for spec in step.writes:
                self.run.output.finish_table(spec.name, list(spec.columns))
        except OutputError as error:
            self.run.ledger.unmark(self.stage.name, step.name)
            raise OutputError(f"{error}; the same command computes these rows again") from error

    def _raise(self, one: Pass, failures: Failures) -> None:
        """Record every failure; the first ones are in the message."""
        for failure in failures:
            text = without_secrets(failure.traceback or failure.message)
            self.run.ledger.note_failure(self.stage.name, one.name, failure.name, text)
        if not failures:
            return
        raise error_of(failures)(
            f"{self._where(one)}: {described(failures)}. The same command tries them again; "
            f"tracebacks are in {self.run.ledger.failures(self.stage.name, one.name)}"
        )


def told(row: Mapping[str, Any]) -> str:
    """One problem of the solver, as people read it.

    >>> told({"level": 1, "nodes": 1200, "edges": 9000, "energy": -5.25})
    'level 1, nodes 1,200, edges 9,000, energy -5.250'
    """
    numbers = {
        name: f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
        for name, value in row.items()
    }
    return ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in numbers.items())


def _index_of(name: str) -> Triple:
    z, y, x = (int(i) for i in name.split("."))
    return z, y, x

"""What is known of a stage of an output: when, how long, with how much memory, from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from pipeline.contract import BLOCKS

State = Literal["missing", "unfinished", "done", "stale"]


@dataclass(frozen=True)
class StepRecord:
    """What is known of one pass or step of a stage.

    Parameters
    ----------
    name
        ``blocks`` or that of the step.
    tasks
        Number of its tasks.
    seconds
        Wall time, with that of runs that an error or Ctrl-C ended.
    voxels
        That its tasks wrote.
    rows
        Of tables, that its tasks wrote.
    peak_bytes
        Largest resident memory of the process tree seen while it ran.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    tasks: int
    seconds: float = 0.0
    voxels: int = 0
    rows: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True)
class Record:
    """What is known of one stage of an output.

    Parameters
    ----------
    stage
        Name.
    fingerprint
        Of everything that decides the result.
    finished
        Whether outputs are complete.
    content
        What the fingerprint was made of, see ``fingerprint_content``.
    steps
        Passes and steps in the order in which they ran.
    workers
        Of the last run that worked on it.
    solution
        Of the multicut: a row for every level of the solver and for what was solved at last,
        with sizes, energy and seconds; see ``pipeline.multicut.rest``.
    warnings
        What people should know of the data; see ``pipeline.sections.report``.
    started, ended
        Times with their zone.
    unreadable
        Why nothing is known: the record is of another version of this program. Such a record
        has no fingerprint, so the stage is stale.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    stage: str
    fingerprint: str
    finished: bool
    content: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[StepRecord, ...] = ()
    workers: int = 1
    solution: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    started: str = ""
    ended: str = ""
    unreadable: str = ""

    @property
    def blocks(self) -> int:
        """Write blocks that were computed; 0 where there is no pass over them."""
        return sum(step.tasks for step in self.steps if step.name == BLOCKS)

    @property
    def seconds(self) -> float:
        """Wall time."""
        return sum(step.seconds for step in self.steps)

    @property
    def voxels(self) -> int:
        """Voxels that were written."""
        return sum(step.voxels for step in self.steps)

    @property
    def peak_bytes(self) -> int:
        """Largest resident memory of the process tree seen while it ran."""
        return max((step.peak_bytes for step in self.steps), default=0)

    def worked(
        self,
        step: str,
        tasks: int,
        seconds: float,
        peak_bytes: int,
        *,
        voxels: int = 0,
        rows: int = 0,
        workers: int = 1,
    ) -> Record:
        """With the time, work and memory of one more run of a pass or step.

        Parameters
        ----------
        step
            Its name.
        tasks
            Its number of tasks, those of earlier runs counted.
        seconds, voxels, rows
            Of this run.
        peak_bytes
            Of this run.
        workers
            Of this run.
        """
        steps = {one.name: one for one in self.steps}
        old = steps.get(step, StepRecord(step, tasks))
        steps[step] = StepRecord(
            step,
            tasks,
            old.seconds + seconds,
            old.voxels + voxels,
            old.rows + rows,
            max(old.peak_bytes, peak_bytes),
        )
        return replace(self, steps=tuple(steps.values()), workers=workers)

    def summary(self) -> dict[str, Any]:
        """For people's machines: all but what the fingerprint was made of, with the totals."""
        known = asdict(self)
        del known["content"], known["unreadable"]
        totals = {
            name: getattr(self, name) for name in ("blocks", "seconds", "voxels", "peak_bytes")
        }
        return known | totals

"""Progress for people: a rich bar on a terminal, plain lines elsewhere.

Titles of a run's passes begin with the stage, ``superpixels`` or ``graph, ranges``. Most passes
are short, so in lines they are silent, until they take long; ``stage_ended`` gives each stage
its one line.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pipeline.registry import STAGES
from workflows.quantities import duration, rates

Advance = Callable[[int, str], None]

PLAIN_SECONDS = 10.0
"""Between two lines."""
ALIVE_SECONDS = 20.0
"""After which a line says that work goes on where nothing else did."""


def progress_bar(
    name: str, total: int, completed: int = 0, voxels_per_task: int = 0
) -> AbstractContextManager[Advance]:
    """A bar to call as ``advance(steps, message)``; it goes to standard error.

    Parameters
    ----------
    name
        What is done: ``stage`` (its blocks), ``stage, step``, or anything else.
    total
        Steps in all.
    completed
        Steps that were done before.
    voxels_per_task
        Of a block; 0: voxels are not what is counted.
    """
    if sys.stderr.isatty():
        return _bar(name, total, completed, voxels_per_task)
    return _Lines(name, total, completed, voxels_per_task)


def stage_ended(stage: str, blocks: int, seconds: float, voxels: int) -> None:
    """The one line of a stage that has been brought up to date.

    Parameters
    ----------
    stage
        Its name.
    blocks
        That it has; 0: it works on tables only.
    seconds
        Of work, with that of earlier runs which were interrupted.
    voxels
        Of the volume.
    """
    amount = f"{blocks} block{'s' if blocks > 1 else ''}" if blocks else "done"
    speed = f", {voxels / max(seconds, 1e-9) / 1e6:.3g} Mvoxel/s" if blocks else ""
    print(f"{titled(stage)}: {amount} in {duration(seconds)}{speed}", file=sys.stderr, flush=True)


def stage_warned(stage: str, warnings: Sequence[str]) -> None:
    """What people should know after a stage, in one line; none if there is nothing."""
    if warnings:
        print(f"{titled(stage)}: {'; '.join(warnings)}", file=sys.stderr, flush=True)


def titled(name: str) -> str:
    """The title with its stage's place, ``[5/11] superpixels``; other titles as they are."""
    place = _place(name)
    return f"[{place}/{len(STAGES)}] {name}" if place else name


def _place(name: str) -> int:
    """Number of the stage that a title begins with, from 1; 0: it is of no stage."""
    names = [stage.name for stage in STAGES]
    stage = name.partition(",")[0]
    return names.index(stage) + 1 if stage in names else 0


def _unit(name: str) -> str:
    if not _place(name):
        return "steps"
    return "tasks" if "," in name else "blocks"


class _Rates(ProgressColumn):
    """Tasks and voxels in a second, over the whole pass."""

    def __init__(self, unit: str, voxels_per_task: int, completed: int) -> None:
        super().__init__()
        self._unit, self._voxels, self._first = unit, voxels_per_task, completed

    def render(self, task: Task) -> Text:
        """The rates, once there are some."""
        done = round(task.completed) - self._first
        if not done or not task.elapsed:
            return Text("")
        return Text(rates(done, task.elapsed, self._unit, self._voxels))


@contextmanager
def _bar(name: str, total: int, completed: int, voxels_per_task: int) -> Iterator[Advance]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rates(_unit(name), voxels_per_task, completed),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    transient = _place(name) > 0  # the stage's own line stays
    with Progress(*columns, console=Console(stderr=True), transient=transient) as bar:
        task = bar.add_task(titled(name), total=total, completed=completed, message="")
        yield lambda steps, message: bar.update(task, advance=steps, message=message)


class _Lines:
    """Lines for logs: on progress, and a sign of life where one task takes long."""

    def __init__(self, name: str, total: int, completed: int, voxels_per_task: int) -> None:
        self._title, self._unit = titled(name), _unit(name)
        self._quiet = _place(name) > 0
        self._total, self._done, self._first = total, completed, completed
        self._voxels = voxels_per_task
        self._began = self._shown = time.monotonic()
        self._stop = threading.Event()
        self._alive = threading.Thread(target=self._say_alive, daemon=True)

    def __enter__(self) -> _Lines:
        self._alive.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stop.set()
        self._alive.join()

    def _say_alive(self) -> None:
        while not self._stop.wait(ALIVE_SECONDS / 4):
            now = time.monotonic()
            if now - self._shown >= ALIVE_SECONDS:
                self._print(now, "working")

    def __call__(self, steps: int, message: str) -> None:
        self._done += steps
        now = time.monotonic()
        ended = self._done >= self._total and not self._quiet
        if ended or now - self._shown >= PLAIN_SECONDS:
            self._print(now, message)

    def _print(self, now: float, message: str) -> None:
        self._shown = now
        seconds, done = now - self._began, self._done - self._first
        parts = [f"{self._done}/{self._total} {self._unit}", duration(seconds)]
        if done:
            left = seconds / done * (self._total - self._done)
            parts += [rates(done, seconds, self._unit, self._voxels), f"{duration(left)} left"]
        parts += [message] if message else []
        print(f"{self._title}: {', '.join(parts)}", file=sys.stderr, flush=True)


@contextmanager
def counted(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar to call as ``progress(done, total)``."""
    with ExitStack() as stack:
        state: dict[str, Advance] = {}
        last = 0

        def progress(done: int, total: int) -> None:
            nonlocal last
            if "bar" not in state:
                state["bar"] = stack.enter_context(progress_bar(name, total))
            state["bar"](done - last, "")
            last = done

        yield progress

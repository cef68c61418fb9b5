"""Progress for people: a rich bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int, str], None]

PLAIN_SECONDS = 10.0


@contextmanager
def progress_bar(name: str, total: int, completed: int = 0) -> Iterator[Advance]:
    """A bar to call as ``advance(steps, message)``; it goes to standard error."""
    if sys.stderr.isatty():
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=total, completed=completed, message="")
            yield lambda steps, message: bar.update(task, advance=steps, message=message)
        return
    yield _Plain(name, total, completed)


class _Plain:
    def __init__(self, name: str, total: int, completed: int) -> None:
        self.name, self.total, self.done, self.first = name, total, completed, completed
        self.began = self.shown = time.monotonic()

    def __call__(self, steps: int, message: str) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.shown < PLAIN_SECONDS and self.done < self.total:
            return
        self.shown = now
        left = (now - self.began) / max(self.done - self.first, 1) * (self.total - self.done)
        print(
            f"{self.name}: {self.done}/{self.total}, {now - self.began:.0f} s, {left:.0f} s left"
            + (f", {message}" if message else ""),
            file=sys.stderr,
            flush=True,
        )


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

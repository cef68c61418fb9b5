"""Progress for people: a rich bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
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
ALIVE_SECONDS = 20.0


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
    with _Plain(name, total, completed) as lines:
        yield lines


class _Plain:
    """Lines for logs: on progress, and a sign of life where one block takes long."""

    def __init__(self, name: str, total: int, completed: int) -> None:
        self.name, self.total, self.done, self.first = name, total, completed, completed
        self.began = self.shown = time.monotonic()
        self._stop = threading.Event()
        self._alive = threading.Thread(target=self._say_alive, daemon=True)

    def __enter__(self) -> _Plain:
        self._alive.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stop.set()
        self._alive.join()

    def _say_alive(self) -> None:
        while not self._stop.wait(ALIVE_SECONDS):
            if time.monotonic() - self.shown >= ALIVE_SECONDS:
                seconds = time.monotonic() - self.began
                line = f"{self.name}: {self.done}/{self.total}, {seconds:.0f} s, working"
                print(line, file=sys.stderr, flush=True)

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

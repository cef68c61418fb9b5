"""Runs independent tasks: here in the process, or on dask workers; knows nothing of stages.

The driver keeps few tasks in flight, counts deaths of workers itself, and names the task that
kills its worker; which task is tried when is decided in ``attempts``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar
from uuid import uuid4

from pipeline.errors import ResourceError
from workflows.attempts import Attempt, Attempts, Failure, Failures
from workflows.cluster import Workplace, connected
from workflows.site import LOST, Site, scheduler_at_hand

__all__ = ["Executor", "Failure", "Failures"]

IN_FLIGHT = 2
"""Tasks per thread of the workers: one runs, one waits beside it."""
LOOK_SECONDS = 1.0
"""How often the driver looks at the cluster while nothing ends."""
RESULT_SECONDS = 30.0
"""How long the result of a finished task may take to arrive."""
AT_ONCE = 64
"""Results that are fetched together, at most."""

T = TypeVar("T")
R = TypeVar("R")


class Executor:
    """Context in which tasks are run; workers start with the first task.

    Parameters
    ----------
    workplace
        Where.
    """

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self._stack = ExitStack()
        self._site: Site | None = None

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *args: Any) -> None:
        self._site = None
        self._stack.__exit__(*args)

    @property
    def memory_bytes(self) -> int | None:
        """What one task may use, if that is limited."""
        return self.workplace.task_bytes()

    @property
    def scheduler_address(self) -> str:
        """Where the scheduler of the started workers listens."""
        return str(self._started().client.scheduler.address)

    def threads_for(self, tasks: int, *, on_device: bool = False) -> int:
        """Threads that each of so many tasks may use."""
        return self.workplace.task_threads(tasks, on_device=on_device)

    def run(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        name: Callable[[T], str],
        done: Callable[[T, R], None],
        on_device: bool = False,
        at_once: int = 1,
    ) -> Failures:
        """Run all tasks.

        Parameters
        ----------
        work
            A function of a module (or a ``partial`` of one), so that it travels.
        tasks
            Small values that travel.
        name
            Of a task, for messages.
        done
            Called here with every task that succeeded and its result, as results arrive.
        on_device
            Whether the tasks should have a GPU, where workers have announced one.
        at_once
            Tasks that run at the same time where they run in this process.

        Returns
        -------
        failures
            Tasks that failed for good; the others are done, but for ``failures.untried``.

        Raises
        ------
        PipelineError, OSError
            If all other tasks would fail too: no disk space, a damaged model, a lost scheduler.
        """
        attempts = Attempts(tasks, name)
        if not tasks:
            return attempts.end()
        if self.workplace.here and at_once > 1:
            _run_overlapped(work, attempts, done, at_once)
        elif self.workplace.here:
            _run_here(work, attempts, done)
        else:
            self._run_there(work, attempts, done, on_device)
        return attempts.end()

    def ask(self, work: Callable[[T], R], task: T, *, on_device: bool = False) -> R:
        """Result of one task, e.g. what a GPU worker says of its GPU.

        Raises
        ------
        ResourceError
            If it fails.
        """
        found: list[R] = []
        failures = self.run(
            work,
            [task],
            name=lambda _: getattr(work, "__name__", "what it was asked"),
            done=lambda _, result: found.append(result),
            on_device=on_device,
        )
        if failures:
            raise ResourceError(f"a worker cannot do {failures[0].name}: {failures[0].message}")
        return found[0]

    def _started(self) -> Site:
        if self._site is None:
            self._site = self._stack.enter_context(connected(self.workplace))
        return self._site

    def _run_there(
        self,
        work: Callable[[T], R],
        attempts: Attempts[T],
        done: Callable[[T, R], None],
        on_device: bool,
    ) -> None:
        flight = _Flight(self._started(), work, on_device)
        try:
            while attempts.unfinished:
                flight.fill(attempts)
                for attempt, outcome in flight.landed(attempts.seconds_to_next):
                    match outcome:
                        case _Died():
                            attempts.died(attempt, outcome.workers)
                        case _Raised():
                            attempts.raised(attempt, outcome.error, outcome.trace)
                        case _:
                            done(attempt.task, outcome)
                            attempts.succeeded(attempt)
        finally:
            flight.withdraw()


def _run_here(work: Callable[[T], R], attempts: Attempts[T], done: Callable[[T, R], None]) -> None:
    while attempts.unfinished:
        attempt = attempts.next()
        if attempt is None:
            time.sleep(attempts.seconds_to_next or 0.0)
            continue
        try:
            result = work(attempt.task)
        except Exception as error:
            attempts.raised(attempt, error, error.__traceback__)
        else:
            done(attempt.task, result)
            attempts.succeeded(attempt)


def _run_overlapped(
    work: Callable[[T], R], attempts: Attempts[T], done: Callable[[T, R], None], at_once: int
) -> None:
    """Tasks in threads: one reads or writes while the device computes for another.

    All that decides and records happens in this thread, as for tasks one after the other.
    """
    running: dict[Future[R], Attempt[T]] = {}
    with ThreadPoolExecutor(at_once, thread_name_prefix="task") as threads:
        while attempts.unfinished:
            while len(running) < at_once and (attempt := attempts.next()) is not None:
                running[threads.submit(work, attempt.task)] = attempt
            if not running:
                time.sleep(attempts.seconds_to_next or 0.0)
                continue
            # a task that is due again needs a free thread
            seconds = attempts.seconds_to_next if len(running) < at_once else None
            for future in wait(running, seconds, FIRST_COMPLETED).done:
                attempt = running.pop(future)
                error = future.exception()
                if error is not None:
                    attempts.raised(attempt, error, error.__traceback__)
                else:
                    done(attempt.task, future.result())
                    attempts.succeeded(attempt)


@dataclass(frozen=True)
class _Died:
    """Outcome of a task: so many workers died while it was on them."""

    workers: int


@dataclass(frozen=True)
class _Raised:
    """Outcome of a task: an error, and where in the worker."""

    error: BaseException
    trace: TracebackType | None


class _Flight:
    """Tasks of one run that are on the workers; futures are let go as they end."""

    def __init__(self, place: Site, work: Callable[[Any], Any], on_device: bool) -> None:
        self._site, self._work = place, work
        self._resource = place.resource(on_device)
        named = getattr(work, "func", work)
        self._label = getattr(named, "__name__", "task").strip("_")
        self._aloft: dict[str, tuple[Attempt[Any], Any]] = {}
        self._ended: SimpleQueue[Any] = SimpleQueue()

    def fill(self, attempts: Attempts[Any]) -> None:
        """Send tasks until there are as many as the workers need to be busy."""
        room = max(1, IN_FLIGHT * self._site.slots(self._resource))
        while len(self._aloft) < room:
            attempt = attempts.next()
            if attempt is None:
                return
            self._send(attempt)

    def _send(self, attempt: Attempt[Any]) -> None:
        key = f"{self._label}-{uuid4().hex}"
        with scheduler_at_hand():
            future = self._site.client.submit(
                self._work,
                attempt.task,
                key=key,
                pure=False,
                retries=0,
                resources={self._resource: 1} if self._resource else None,
            )
        self._aloft[key] = attempt, future
        future.add_done_callback(self._ended.put)

    def landed(self, seconds: float | None) -> Iterator[tuple[Attempt[Any], Any]]:
        """Tasks that have ended, with their results, ``_Died`` or ``_Raised``.

        Parameters
        ----------
        seconds
            Longest time to wait for the first, if that is less than usual.
        """
        ended = self._ended_within(LOOK_SECONDS if seconds is None else seconds)
        for future, outcome in _outcomes(self._site.client, ended):
            if outcome is _LATER:
                future.add_done_callback(self._ended.put)
                continue
            future.release()
            self._site.landed()
            yield self._aloft.pop(future.key)[0], outcome

    def _ended_within(self, seconds: float) -> list[Any]:
        """Futures that have ended; waits for one, not for more."""
        ended = []
        with suppress(Empty):
            ended.append(self._ended.get(timeout=min(seconds, LOOK_SECONDS)))
            while len(ended) < AT_ONCE:
                ended.append(self._ended.get_nowait())
        return ended

    def withdraw(self) -> None:
        """Take back what has not ended; what runs on a worker is not waited for."""
        with suppress(Exception):
            futures = [future for _, future in self._aloft.values()]
            self._site.client.cancel(futures, force=True)
        self._aloft.clear()


_LATER = object()
"""In place of a result that was lost with its worker: it is computed again."""


def _outcomes(client: Any, futures: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Results of tasks that have ended, ``_Died``, ``_Raised`` or ``_LATER``.

    Raises
    ------
    ResourceError
        If the scheduler has forgotten them.
    """
    finished = [one for one in futures if one.status == "finished"]
    yield from zip(finished, _results(client, finished), strict=True)
    for future in futures:
        if future not in finished:
            yield future, _result(future)


def _results(client: Any, futures: Sequence[Any]) -> list[Any]:
    """Results fetched together, for each journey takes its time.

    Raises
    ------
    ResourceError
        If the scheduler is lost.
    """
    if not futures:
        return []
    with suppress(Exception):
        found: list[Any] = client.sync(
            partial(client.gather, futures, asynchronous=True), callback_timeout=RESULT_SECONDS
        )
        return found
    if client.status != "running":
        raise ResourceError(LOST)
    return [_result(future) for future in futures]


def _result(future: Any) -> Any:
    from distributed.scheduler import KilledWorker

    with scheduler_at_hand():
        if future.status == "pending":  # lost with its worker, and computed again by now
            return _LATER
        if future.status == "error":
            error = future.exception(timeout=RESULT_SECONDS)
            if isinstance(error, KilledWorker):
                return _Died(error.allowed_failures + 1)
            return _Raised(error, future.traceback(timeout=RESULT_SECONDS))
        try:
            return future.result(timeout=RESULT_SECONDS)
        except Exception as error:
            if isinstance(error, TimeoutError) or future.status == "error":
                return _LATER
            raise

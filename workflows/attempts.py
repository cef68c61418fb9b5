"""Which task is tried next, and which have failed for good; knows nothing of where they run.

1. A task that raises is tried again, later and at most ``ATTEMPTS`` times in all, unless time
   cannot heal its error.
2. A task whose worker dies is tried again too. One that was in flight at ``DEATHS`` deaths is
   suspect: it runs once more when nothing else does, so that only it can be blamed.
3. What all others would meet too is raised: a full disk, a model that cannot be opened.
4. If the first ``HOPELESS`` tasks to end all failed, or as many in a row killed their workers
   or got no answer from a remote store, the rest is not tried.
"""

from __future__ import annotations

import errno
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from types import TracebackType
from typing import Generic, TypeVar

from pipeline.errors import (
    BlockError,
    ConfigError,
    ModelError,
    PipelineError,
    ResourceError,
    StoreError,
)

ATTEMPTS = 3
"""Of a task that raises."""
PAUSE_SECONDS = (0.5, 3.0)
"""How long a task that raised waits for its second and its third attempt."""
DEATHS = 3
"""Of workers, until a task that was in flight at all of them is suspect."""
HOPELESS = 8
DIED = "worker died"

MET_BY_ALL = (ConfigError, ModelError, ResourceError)
MET_BY_ALL_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
NOT_HEALED_BY_TIME = (
    AssertionError,
    AttributeError,
    ImportError,
    NameError,
    NotImplementedError,
    TypeError,
)
"""Faults of the program: they come again."""

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """A task that failed for good.

    Parameters
    ----------
    name
        Of the task.
    kind
        Type of the exception, or ``worker died``.
    message
        One line.
    traceback
        Of the worker; empty if it died.
    attempts
        How often the task was tried.
    """

    name: str
    kind: str
    message: str
    traceback: str
    attempts: int


class Failures(list[Failure]):
    """Tasks that failed, in the order in which they did; ``untried`` others were given up."""

    def __init__(self) -> None:
        super().__init__()
        self.untried = 0


@dataclass(eq=False)
class Attempt(Generic[T]):
    """A task and what befell it so far."""

    task: T
    tried: int = 0
    raised: int = 0
    died: int = 0
    alone: bool = False
    failure: Failure | None = None


class Attempts(Generic[T]):
    """The queue of a run's tasks.

    Parameters
    ----------
    tasks
        In the order in which they are tried first.
    name
        Of a task, for its failure.
    """

    def __init__(self, tasks: Sequence[T], name: Callable[[T], str]) -> None:
        self._tasks, self._name = tasks, name
        self._begun = 0
        self._waiting: list[tuple[float, int, Attempt[T]]] = []
        self._suspects: deque[Attempt[T]] = deque()
        self._running: set[Attempt[T]] = set()
        self._succeeded = 0
        self._died_in_a_row = 0
        self._unanswered_in_a_row = 0
        self._one_alone = False
        self._stopped = False
        self.failures = Failures()

    @property
    def unfinished(self) -> bool:
        """Whether tasks run or are still to be tried."""
        if self._running:
            return True
        left = self._begun < len(self._tasks) or self._waiting or self._suspects
        return bool(left) and not self._stopped

    @property
    def seconds_to_next(self) -> float | None:
        """Until a task may be tried again; ``None``: none waits for that."""
        if not self._waiting or self._stopped:
            return None
        return max(0.0, self._waiting[0][0] - time.monotonic())

    def next(self) -> Attempt[T] | None:
        """The next task to start; ``None``: none now."""
        attempt = self._choose()
        if attempt is not None:
            attempt.tried += 1
            self._running.add(attempt)
        return attempt

    def _choose(self) -> Attempt[T] | None:
        if self._stopped or self._one_alone:
            return None
        if len(self._suspects) < HOPELESS:
            if self._waiting and self._waiting[0][0] <= time.monotonic():
                return heappop(self._waiting)[2]
            if self._begun < len(self._tasks) and not self._all_in_trouble:
                self._begun += 1
                return Attempt(self._tasks[self._begun - 1])
        if self._running or not self._suspects:
            return None
        if self._waiting and len(self._suspects) < HOPELESS:
            return None
        attempt = self._suspects.popleft()
        attempt.alone = self._one_alone = True
        return attempt

    @property
    def _all_in_trouble(self) -> bool:
        """Whether enough tasks were begun to see if any can succeed."""
        troubled = len(self._waiting) + len(self._suspects) + len(self.failures)
        return self._succeeded == 0 and troubled >= HOPELESS

    def succeeded(self, attempt: Attempt[T]) -> None:
        """Note that a task is done."""
        self._leave(attempt)
        self._succeeded += 1
        self._died_in_a_row = self._unanswered_in_a_row = 0

    def raised(
        self, attempt: Attempt[T], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Note that a task raised.

        Raises
        ------
        BaseException
            The error itself, if all other tasks would meet it too.
        """
        self._leave(attempt)
        if is_met_by_all(error):
            raise error
        attempt.raised += 1
        attempt.failure = Failure(
            self._name(attempt.task),
            type(error).__name__,
            str(error) or type(error).__name__,
            "".join(traceback.format_exception(type(error), error, trace)),
            attempt.tried,
        )
        attempt.alone = False
        if attempt.raised >= ATTEMPTS or not is_healed_by_time(error):
            self._died_in_a_row = 0
            unanswered = isinstance(error, StoreError)
            self._unanswered_in_a_row = self._unanswered_in_a_row + 1 if unanswered else 0
            self._fail(attempt)
        else:
            self._wait(attempt, PAUSE_SECONDS[attempt.raised - 1])

    def died(self, attempt: Attempt[T], workers: int = 1) -> None:
        """Note that so many workers died on which a task was, one after the other."""
        self._leave(attempt)
        attempt.died += workers
        how = "while nothing else ran" if attempt.alone else "while this task was in flight"
        attempt.failure = Failure(
            self._name(attempt.task),
            DIED,
            f"its worker died {attempt.died} times, the last time {how}: out of memory, or a "
            "crash in a library",
            "",
            attempt.tried,
        )
        if attempt.alone:
            self._died_in_a_row += 1
            self._fail(attempt)
        elif attempt.died >= DEATHS:
            self._suspects.append(attempt)
        else:
            self._wait(attempt, 0.0)

    def _leave(self, attempt: Attempt[T]) -> None:
        self._running.remove(attempt)
        self._one_alone = False

    def _wait(self, attempt: Attempt[T], seconds: float) -> None:
        key = (time.monotonic() + seconds, id(attempt), attempt)
        heappush(self._waiting, key)

    def _fail(self, attempt: Attempt[T]) -> None:
        assert attempt.failure is not None
        self.failures.append(attempt.failure)
        none_ever = self._succeeded == 0 and len(self.failures) >= HOPELESS
        if none_ever or max(self._died_in_a_row, self._unanswered_in_a_row) >= HOPELESS:
            self._stopped = True

    def end(self) -> Failures:
        """All failures; of a run that was given up also of tasks that would be tried again."""
        given_up = [entry[2] for entry in self._waiting] + list(self._suspects)
        self.failures += [one.failure for one in given_up if one.failure is not None]
        unblamed = sum(one.failure is None for one in given_up)
        self.failures.untried = len(self._tasks) - self._begun + unblamed
        return self.failures


def is_met_by_all(error: BaseException) -> bool:
    """Whether every other task would end the same way."""
    if isinstance(error, OSError):
        return error.errno in MET_BY_ALL_ERRNO
    return isinstance(error, MET_BY_ALL) or not isinstance(error, Exception)


def is_healed_by_time(error: BaseException) -> bool:
    """Whether the same task may succeed later."""
    if isinstance(error, PipelineError):
        return isinstance(error, BlockError)
    return not isinstance(error, NOT_HEALED_BY_TIME)

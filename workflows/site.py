"""Connected workers, as the executor sees them: how many there are, and whether they are there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import ResourceError
from workflows.job_watch import JobWatch
from workflows.worker_specs import announced

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How long the size of the cluster counts as known."""
ANSWER_SECONDS = 60.0
"""How long the scheduler may take to answer."""
SAY_SECONDS = 60.0
"""How often a person is told that workers are awaited."""
LOST = (
    "lost the scheduler: it has ended, or the connection to it is broken; run the same command "
    "again, finished blocks are kept"
)


@contextmanager
def scheduler_at_hand() -> Iterator[None]:
    """Turn every sign of a lost scheduler into one clear error.

    Raises
    ------
    ResourceError
        That says what to do.
    """
    try:
        yield
    except (CancelledError, OSError) as error:
        raise ResourceError(LOST) from error


@dataclass
class Site:
    """Connected workers.

    Parameters
    ----------
    client
        Of dask.
    minutes
        How long workers are awaited.
    groups
        Resources that workers will announce, also those that have not come yet.
    jobs
        Looks after the jobs of a queue.
    """

    client: Any
    minutes: float
    groups: frozenset[str] = frozenset()
    jobs: JobWatch | None = None
    _workers: Mapping[str, Any] = field(default_factory=dict)
    _looked: float = float("-inf")
    _empty_since: float | None = None
    _said: float = float("-inf")

    def resource(self, on_device: bool) -> str | None:
        """What tasks must ask for, so that they go to the right group; ``None``: to any."""
        self._look()
        there = {name for one in self._workers.values() for name in one["resources"]}
        wanted = announced("gpu" if on_device else "cpu")
        return wanted if wanted in there | self.groups else None

    def slots(self, resource: str | None) -> int:
        """Tasks that the workers can run at the same time now.

        Raises
        ------
        ResourceError
            If the scheduler is lost, or workers do not come.
        """
        self._look()
        workers = self._workers.values()
        found = 0
        for one in workers:
            here = int(one["nthreads"])
            found += min(here, int(one["resources"].get(resource, 0))) if resource else here
        if found:
            self._empty_since = None
        else:
            self._await(resource)
        return found

    def landed(self) -> None:
        """Note that a task has ended."""
        if self.jobs:
            self.jobs.fruitful()

    def _look(self) -> None:
        now = time.monotonic()
        if self.client.status != "running":
            raise ResourceError(LOST)
        if now - self._looked < LOOK_SECONDS and self._workers:
            return
        try:
            told = self.client.sync(
                self.client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_SECONDS
            )
        except (OSError, TimeoutError) as error:
            raise ResourceError(LOST) from error
        self._workers, self._looked = told["workers"], now
        if self.jobs:
            self.jobs.look({str(one["name"]) for one in self._workers.values()})

    def _await(self, resource: str | None) -> None:
        now = time.monotonic()
        if self._empty_since is None:
            self._empty_since = self._said = now
        waited = (now - self._empty_since) / 60
        kind = f"{resource} workers" if resource else "workers"
        logs = f"; what their jobs print is in {self.jobs.logs}" if self.jobs else ""
        if waited > self.minutes:
            words = self.jobs.last_words() if self.jobs else ""
            raise ResourceError(f"no {kind} came within {self.minutes:g} minutes{logs}{words}")
        if now - self._said > SAY_SECONDS:
            self._said = now
            LOG.info("waiting for %s since %.0f minutes%s", kind, waited, logs)

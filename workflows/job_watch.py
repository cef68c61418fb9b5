"""Jobs of a queue: those that end while there is work are submitted again, but not for ever."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.errors import ResourceError
from workflows.cluster_file import ClusterFile
from workflows.worker_specs import Specs

GONE_SECONDS = 30.0
"""A job is over when its workers have been away for so long: a worker that died comes back."""
FRUITLESS = 3
"""Submissions of a job again, while no task ends anywhere."""
ASK_SECONDS = 60.0
"""How often the queue is asked whether jobs without workers are still in it."""
ASK = {
    "slurm": ["squeue", "--noheader", "--format=%T", "--jobs"],
    "lsf": ["bjobs", "-noheader", "-o", "stat"],
    "pbs": ["qstat"],
    "sge": ["qstat", "-j"],
}
OVER = frozenset({"DONE", "EXIT", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "BOOT_FAIL"})
LINES = 8


class JobWatch:
    """Looks after the jobs of a cluster.

    Parameters
    ----------
    cluster
        Dask's cluster of jobs.
    file
        What it was made from.
    specs
        Of its jobs.
    """

    def __init__(self, cluster: Any, file: ClusterFile, specs: Specs) -> None:
        self._cluster, self._file = cluster, file
        self._workers = {
            job: {f"{job}{suffix}" for suffix in spec.get("group", [""])}
            for job, spec in specs.items()
        }
        self._seen: set[str] = set()
        self._gone: dict[str, float] = {}
        self._again: dict[str, int] = {}
        self._asked = self._began = time.monotonic()
        self._began_at = time.time()

    @property
    def logs(self) -> Path:
        """Folder where jobs print."""
        return self._file.logs.absolute()

    def fruitful(self) -> None:
        """Note that a task has ended."""
        self._again.clear()

    def look(self, present: Collection[str]) -> None:
        """Submit jobs again that have ended.

        Parameters
        ----------
        present
            Names of the workers that are there.

        Raises
        ------
        ResourceError
            If no job is left that could bring a worker.
        """
        now, ended = time.monotonic(), []
        for job, workers in self._workers.items():
            if not workers.isdisjoint(present):
                self._seen.add(job)
                self._gone.pop(job, None)
            elif job in self._seen and now - self._gone.setdefault(job, now) > GONE_SECONDS:
                ended.append(job)
        if not present and now - self._asked > ASK_SECONDS:
            self._asked = now
            ended += [job for job in self._workers if job not in ended and self._left(job)]
        again = [job for job in ended if self._again.get(job, 0) < FRUITLESS]
        if again:
            self._submit(again)
        elif ended and not present:
            raise ResourceError(
                "the jobs of the workers end, and no task does; what they print is in "
                f"{self.logs}{self.last_words()}"
            )

    def _submit(self, jobs: list[str]) -> None:
        for job in jobs:
            self._again[job] = self._again.get(job, 0) + 1
            self._seen.discard(job)
            self._gone.pop(job, None)
            self._cluster.workers.pop(job, None)
        self._cluster.scale(len(self._workers))  # starts those that are not among its workers

    def _left(self, job: str) -> bool:
        """Whether the queue no longer has a job that brought no worker."""
        number = getattr(self._cluster.workers.get(job), "job_id", None)
        command = ASK[self._file.kind]
        if number is None or shutil.which(command[0]) is None:
            return False
        told = subprocess.run(
            [*command, str(number)], capture_output=True, text=True, timeout=60, check=False
        )
        return told.returncode != 0 or not told.stdout.strip() or told.stdout.strip() in OVER

    def last_words(self) -> str:
        """Last lines of the newest file in the folder of logs, for a message."""
        try:
            files = [p for p in self.logs.iterdir() if p.stat().st_mtime >= self._began_at]
            newest = max((p for p in files if p.stat().st_size), key=lambda p: p.stat().st_mtime)
            lines = newest.read_text("utf-8", errors="replace").splitlines()[-LINES:]
        except (OSError, ValueError):
            return ""
        return f". The newest, {newest.name}, ends with:\n" + "\n".join(lines)

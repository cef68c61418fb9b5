"""Measurements in processes of their own, so that neither memory nor threads mix.

A module that measures has ``main = child_main(measure)``; ``measured`` starts it with
``python -m``, hands it a job as JSON and takes its result as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.reports import ROOT

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def measured(
    module: str, job: dict[str, Any], *, threads: int, timeout_s: float = 3600.0
) -> dict[str, Any]:
    """Run ``python -m module`` on a job and return its result.

    Parameters
    ----------
    module
        Its ``__main__`` calls ``child_main``.
    job
        JSON.
    threads
        Of every library that reads an environment variable.
    timeout_s
        The process is ended after so many seconds.

    Returns
    -------
    result
        JSON of the child; ``{"error": sentence}`` if it failed or took too long.
    """
    environment = {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    with tempfile.TemporaryDirectory() as folder:
        task, result = Path(folder) / "job.json", Path(folder) / "result.json"
        task.write_text(json.dumps(job))
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, str(task), str(result)],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not finished within {timeout_s:g} s"}
        if done.returncode != 0 or not result.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": f"ended with {done.returncode}: {last}"}
        answer: dict[str, Any] = json.loads(result.read_text())
    return answer


def child_main(measure: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The child's side: job in, result out, by the two paths on the command line."""
    task, result = sys.argv[1:]
    Path(result).write_text(json.dumps(measure(json.loads(Path(task).read_text()))))


class Steps:
    """CPU and wall seconds and peak memory of named steps, in the order in which they ran.

    CPU seconds count all threads; the peak is that of the whole process while the step ran.
    """

    def __init__(self) -> None:
        self.measured: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what runs inside."""
        forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.measured[name] = {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "peak_bytes": peak_bytes(),
        }


def medians(runs: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Median of every step over repeated runs, each of its values by itself.

    >>> medians([{"fit": {"cpu": 1.0, "wall": 3.0}}, {"fit": {"cpu": 2.0, "wall": 5.0}}])
    {'fit': {'cpu': 1.5, 'wall': 4.0}}
    """
    return {
        step: {kind: median(run[step][kind] for run in runs) for kind in runs[0][step]}
        for step in runs[0]
    }


def resident_bytes() -> int:
    """Memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """The most memory that this process held since it began, or since ``forget_peak``.

    ``getrusage`` alone would also count what the parent held when it started this process.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> None:
    """Count the peak from now on, where the system can; elsewhere it stays that of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")

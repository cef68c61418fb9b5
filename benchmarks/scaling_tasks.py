"""What a task costs beside its work, and what the runner's notes of tasks cost; a child process.

Tasks that do nothing are run by the executor, in the process and on dask workers, and marked
done as in a run. Marks are written and read as by the driver and by workers that look for parts.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.children import child_main
from pipeline.contract import ROWS, TableSpec
from pipeline.store import Output
from workflows.cluster import Workplace, connected
from workflows.executor import Executor
from workflows.parts import Kept
from workflows.provenance import Ledger

STAGE, STEP = "nothing", "nothing"
KEPT: Kept = {"nodes": (1000, 1, 10**15), "edges": (6000, 1, 10**15), "overlaps": (3000, 1, 10**15)}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds per task for each number of workers, and per mark.

    Parameters
    ----------
    job
        ``tasks``, ``marks``, ``heads``: how many; ``workers``: list, 0 = in the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = [executor_row(Path(folder), count, job["tasks"]) for count in job["workers"]]
        return {
            "tasks": job["tasks"],
            "executor": rows,
            "marks": marks(Path(folder), job["marks"]),
            "heads": heads(Path(folder), job["heads"]),
        }


def executor_row(folder: Path, workers: int, tasks: int) -> dict[str, float]:
    """Wall and CPU seconds of the driver for each of some tasks that do nothing."""
    if not workers:
        return _timed(folder, Workplace(), workers, tasks)
    with connected(Workplace(workers=workers)) as place:
        place.client.wait_for_workers(workers)
        address = place.client.scheduler.address
        return _timed(folder, Workplace(scheduler=address), workers, tasks)


def _timed(folder: Path, workplace: Workplace, workers: int, tasks: int) -> dict[str, float]:
    ledger = Ledger(folder)
    with Executor(workplace) as executor:
        executor.ask(abs, 1)
        wall, cpu = time.perf_counter(), _cpu_seconds()
        failures = executor.run(
            abs,
            range(tasks),
            name=str,
            done=lambda task, _: ledger.mark(STAGE, STEP, str(task), {}),
        )
        wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    if failures:
        raise RuntimeError(f"{len(failures)} of {tasks} tasks that do nothing failed")
    return {
        "workers": workers,
        "seconds_per_task": wall / tasks,
        "driver_cpu_per_task": cpu / tasks,
    }


def heads(folder: Path, count: int) -> dict[str, float]:
    """Seconds to read the first row of each of ``count`` stretches of a sorted column."""
    output = Output(folder / "heads", (1, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 1, 1))
    output.path.mkdir()
    spec = TableSpec("nodes", {"id": "uint64"})
    output.create_table(spec, {}, count * ROWS, {})
    for number in range(count):
        ids = np.arange(number * ROWS, (number + 1) * ROWS, dtype=np.uint64)
        output.write_rows("nodes", {"id": ids * np.uint64(900) + np.uint64(1)}, number * ROWS)
    output.finish_table("nodes", ["id"])
    began = time.perf_counter()
    found = output.rows("nodes", ["id"]).heads("id")
    seconds = time.perf_counter() - began
    if len(found) != count:
        raise RuntimeError(f"{count} stretches were written, {len(found)} heads read")
    return {"count": count, "seconds": seconds / count}


def _cpu_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def marks(folder: Path, count: int) -> dict[str, float]:
    """Seconds to write and to read a mark, its bytes on disk and in memory."""
    ledger = Ledger(folder / "marks")
    began = time.perf_counter()
    for number in range(count):
        ledger.mark(STAGE, STEP, f"{number // 1000}.{number % 1000}.0", KEPT)
    written = time.perf_counter() - began
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    found = ledger.done(STAGE, STEP)
    read = time.perf_counter() - began
    grown = psutil.Process().memory_info().rss - before
    size = sum(path.stat().st_size for path in (folder / "marks").rglob(STEP))
    if len(found) != count:
        raise RuntimeError(f"{count} marks were written, {len(found)} read")
    return {
        "count": count,
        "write_seconds": written / count,
        "read_seconds": read / count,
        "file_bytes": size / count,
        "memory_bytes": grown / count,
    }


if __name__ == "__main__":
    child_main(measure)

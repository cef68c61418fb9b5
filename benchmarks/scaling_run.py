"""One reconstruction, measured pass by pass; ``scaling.py`` starts it in a process of its own.

A pass begins when its tasks are given out (the ``order`` of ``reconstruct``) and ends when the
next one begins. CPU time and I/O are read from the process tree at these moments; peaks of
resident memory are the system's own high-water marks of every process, set back at each pass.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.children import child_main
from benchmarks.datasets import ISBI2012
from benchmarks.scaling_volumes import shape_of, write_tiled
from pipeline.config import load_config
from pipeline.contract import Box
from pipeline.registry import STAGES
from workflows.cluster import Workplace, connected
from workflows.passes import passes
from workflows.prepare import Run, prepare
from workflows.reconstruct import reconstruct
from workflows.source import Source
from workflows.tasks import Task, step_of

IO = ("read_count", "read_chars", "write_count", "write_chars")
PRESET = "isbi2012"
CORNER = (4, 128, 128)
"""Voxels on which workers warm up."""
IDLE_SECONDS = 3.0


@dataclass(frozen=True)
class Counters:
    """What processes have used since they began; process id -> numbers."""

    wall: float
    cpu: dict[int, float]
    io: dict[int, tuple[int, ...]]

    @classmethod
    def now(cls) -> Counters:
        """Of this process and all that it started."""
        cpu, io = {}, {}
        for one in tree():
            with suppress(psutil.Error):
                times = one.cpu_times()
                cpu[one.pid] = times.user + times.system
                counted: Any = one.io_counters()
                io[one.pid] = tuple(int(getattr(counted, name)) for name in IO)
        return cls(time.perf_counter(), cpu, io)

    def since(self, before: Counters, own: int) -> dict[str, float]:
        """Wall and CPU seconds (also of process ``own`` alone), and I/O of the other ones."""
        cpu = {pid: value - before.cpu.get(pid, 0.0) for pid, value in self.cpu.items()}
        io = np.zeros(len(IO), np.int64)
        for pid, values in self.io.items():
            if pid != own:  # which reads much to see how the others are
                io += np.subtract(values, before.io.get(pid, (0,) * len(IO)))
        return {
            "wall": self.wall - before.wall,
            "cpu": sum(cpu.values()),
            "driver_cpu": cpu.get(own, 0.0),
            **dict(zip(IO, io.tolist(), strict=True)),
        }


def tree() -> list[psutil.Process]:
    """The process that measures, and all below it."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def high_water(pid: int) -> int:
    """The most resident memory of a process since ``set_back``, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def set_back(pid: int) -> None:
    """Count the high-water mark of a process from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@dataclass
class Watch:
    """Stands in the way of the tasks of every pass, and notes what was used meanwhile.

    Parameters
    ----------
    expected
        (stage, pass) in the order in which they run; those without tasks may be left out.
    own
        This process.
    """

    expected: deque[tuple[str, str]]
    own: int
    measured: list[dict[str, Any]] = field(default_factory=list)
    _open: tuple[dict[str, Any], Counters] | None = None

    def __call__(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Called with the tasks of a pass before they run; gives them back."""
        self.close()
        if tasks:
            name = step_of(tasks[0])
            stage, found = self.expected.popleft()
            while found != name:
                stage, found = self.expected.popleft()
            for one in tree():
                with suppress(OSError):
                    set_back(one.pid)
            self._open = {"stage": stage, "step": name, "tasks": len(tasks)}, Counters.now()
        return tasks

    def close(self) -> None:
        """The pass that ran until now has ended."""
        if self._open is None:
            return
        facts, before = self._open
        used = Counters.now().since(before, self.own)
        peaks = {}
        for one in tree():
            with suppress(OSError):
                peaks[one.pid] = high_water(one.pid)
        others = [value for pid, value in peaks.items() if pid != self.own]
        worker = max(others, default=peaks[self.own])
        self.measured.append({**facts, **used, "worker_peak": worker})
        self._open = None


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Write the volume if need be, reconstruct it, and say what each pass used.

    Parameters
    ----------
    job
        ``folder`` (of ``scaling_volumes.make``), ``kind`` grey or mapped, ``unit``,
        ``factor``, ``workers`` (0: tasks run in this process), ``memory_bytes``,
        ``overrides`` of the configuration, ``tile``, ``keep`` the output, ``until`` a stage.
    """
    folder = Path(job["folder"])
    volume, shape = _volume(folder, job)
    output = folder / f"{job['kind']}-{job['factor']}-{job.get('output', 'run')}.neurons.zarr"
    run = prepare(
        Source(volume, None, ISBI2012.voxel_size_nm, None),
        load_config(PRESET, _overrides(folder, job)),
        output,
        device="cpu",
        memory_bytes=job["memory_bytes"],
        overwrite=not job.get("again", False),
    )
    with _place(job) as (workplace, start_seconds):
        _warm_up(folder, volume, job, workplace)
        idle = _idle_reads()
        watch = Watch(_expected(run), psutil.Process().pid)
        began = time.perf_counter()
        reconstruct(run, workplace, order=watch, until=job.get("until"))
        seconds = time.perf_counter() - began
        watch.close()
    result = {
        "shape": shape,
        "voxels": int(np.prod(shape)),
        "block_shape": run.output.block_shape,
        "blocks": len(run.job(STAGES[0], "").blocks()),
        "workers": job["workers"],
        "memory_bytes": job["memory_bytes"],
        "seconds": seconds,
        "start_seconds": start_seconds,
        "idle_reads_per_second": idle,
        "passes": [{**one, **_recorded(run, one)} for one in watch.measured],
        "rows": rows_of(run),
        "contraction": contraction(run),
        "files": written(output),
    }
    if not job.get("keep"):
        shutil.rmtree(output)
        shutil.rmtree(volume)
    return result


def _overrides(folder: Path, job: dict[str, Any]) -> list[str]:
    found = list(job["overrides"])
    if job["kind"] == "mapped":
        found += [f"boundaries.model={folder / 'darkness.safetensors'}"]
        found += ["boundaries.augmentation=none"]
    if job.get("tile"):
        found.append(f"boundaries.tile={list(job['tile'])}")
    return found


def _volume(folder: Path, job: dict[str, Any]) -> tuple[Path, tuple[int, int, int]]:
    z, y, x = job["unit"]
    shape = shape_of((z, y, x), job["factor"])
    path = folder / f"{job['kind']}-{job['factor']}.zarr"
    if not path.exists():
        partial = path.with_suffix(".partial")
        write_tiled(partial, np.load(folder / f"{job['kind']}.npy"), shape)
        partial.rename(path)
    return path, shape


@contextmanager
def _place(job: dict[str, Any]) -> Iterator[tuple[Workplace, float]]:
    """Workers that run already and have loaded the program; how long that took."""
    memory = job["memory_bytes"]
    if not job["workers"]:
        yield Workplace(memory_bytes=memory), 0.0
        return
    began = time.perf_counter()
    with connected(Workplace(workers=job["workers"], memory_bytes=memory)) as place:
        place.client.wait_for_workers(job["workers"])
        place.client.run(_load)
        address = place.client.scheduler.address
        yield Workplace(scheduler=address, memory_bytes=memory), time.perf_counter() - began


def _warm_up(folder: Path, volume: Path, job: dict[str, Any], workplace: Workplace) -> None:
    """All stages on a corner of the volume: afterwards models and compiled functions are read."""
    if job.get("again"):
        return
    corner = Box((0, 0, 0), CORNER)
    output = folder / "warm-up.neurons.zarr"
    overrides = [*_overrides(folder, job), f"boundaries.tile={[1, *(n // 2 for n in CORNER[1:])]}"]
    source = Source(volume, None, ISBI2012.voxel_size_nm, corner)
    config = load_config(PRESET, overrides)
    reconstruct(prepare(source, config, output, device="cpu", overwrite=True), workplace)
    shutil.rmtree(output)


def _idle_reads() -> float:
    """Read calls a second of workers that wait: dask looks at the machine."""
    before = Counters.now()
    time.sleep(IDLE_SECONDS)
    used = Counters.now().since(before, psutil.Process().pid)
    return used["read_count"] / used["wall"]


def _load() -> None:
    """What every task imports."""
    import workflows.tasks  # noqa: F401


def _expected(run: Run) -> deque[tuple[str, str]]:
    levels = run.output.pyramid_levels
    return deque((stage.name, one.name) for stage in STAGES for one in passes(stage, levels))


def _recorded(run: Run, one: dict[str, Any]) -> dict[str, Any]:
    """From the record of the stage: peak of the process tree, rows written."""
    record = run.ledger.record(one["stage"])
    steps = {step.name: step for step in record.steps} if record else {}
    step = steps[one["step"]]
    return {"tree_peak": step.peak_bytes, "rows": step.rows}


def rows_of(run: Run) -> dict[str, int]:
    """Rows of the tables of the graph, as far as they are finished."""
    found = {}
    for table, column in (("nodes", "id"), ("edges", "uv"), ("lifted", "uv"), ("overlaps", "uv")):
        with suppress(Exception):
            found[table] = int(run.output.rows(table, [column]).count)
    return found


def contraction(run: Run) -> dict[str, dict[str, int]]:
    """Nodes, edges and lifted edges that each level of the solver left, by step."""
    found = {}
    for step in run.ledger.steps("multicut"):
        if "-contract-" in step:
            kept = run.ledger.done("multicut", step).values()
            tables = ("nodes", "edges", "lifted")
            sums = {t: sum(one[t][0] for one in kept if t in one) for t in tables}
            found[step] = {**sums, "domains": len(kept)}
    return found


def written(output: Path) -> dict[str, dict[str, int]]:
    """Files and bytes of an output: volumes, tables, and what the runner notes."""
    found: dict[str, dict[str, int]] = {}
    for path in output.rglob("*"):
        if path.is_file():
            top = path.relative_to(output).parts[0]
            kind = {"graph": "tables", ".pipeline": "notes"}.get(top, "volumes")
            total = found.setdefault(kind, {"files": 0, "bytes": 0})
            total["files"] += 1
            total["bytes"] += path.stat().st_size
    return found


if __name__ == "__main__":
    child_main(measure)

"""How fast scores are computed, and in how much memory, beside scikit-image and elf.

Synthetic labels of growing size; every program in processes of its own, alternating, one thread,
medians. Then a volume on disk that is larger than the memory in which it is scored.

``python -m benchmarks.scores [--output FOLDER] [--repeats N] [--quick]``
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.children import measured
from benchmarks.endings import as_program
from benchmarks.published import NOT_MEASURED, Cell, Table, publish
from benchmarks.score_runs import IN_MEMORY, ON_DISK, write_arrays, write_stores
from pipeline.contract import Triple

SHAPES: tuple[Triple, ...] = ((16, 256, 256), (40, 512, 512), (100, 1024, 1024))
ON_DISK_SHAPE: Triple = (512, 1024, 1024)
QUICK_SHAPES: tuple[Triple, ...] = ((4, 96, 96), (8, 128, 128))
QUICK_ON_DISK_SHAPE: Triple = (24, 128, 128)
MEBIBYTE = 2**20
IDS_BYTES = 2 * np.dtype(np.uint32).itemsize
"""Of prediction and truth, a voxel."""

Run = dict[str, Any]


def main() -> None:
    """Measure and report."""
    options = arguments()
    shapes = QUICK_SHAPES if options.quick else SHAPES
    on_disk = QUICK_ON_DISK_SHAPE if options.quick else ON_DISK_SHAPE
    repeats = 1 if options.quick else options.repeats
    memory = {shape: in_memory(shape, repeats, options.timeout) for shape in shapes}
    disk = streamed(on_disk, options.timeout)
    publish(
        options.output,
        "scores",
        "Speed and memory of scores",
        [memory_table(memory), disk_table(on_disk, disk)],
        text="One thread. Memory is the peak beyond what was held before, the arrays of the first "
        f"table left out. Medians of {repeats} alternating run(s).",
        quick=options.quick,
        values={
            "in_memory": {"x".join(map(str, shape)): runs for shape, runs in memory.items()},
            "on_disk": disk,
        },
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--repeats", type=int, default=3, help="runs of every program in memory")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds, of one run")
    parser.add_argument("--quick", action="store_true", help="tiny volumes, once")
    return parser.parse_args()


def in_memory(shape: Triple, repeats: int, timeout_s: float) -> dict[str, Run]:
    """Every program on arrays of a shape, in turn; of several runs the medians."""
    with tempfile.TemporaryDirectory() as folder:
        write_arrays(Path(folder), shape)
        runs: dict[str, list[Run]] = {program: [] for program in IN_MEMORY}
        for _ in range(repeats):
            for program, found in runs.items():
                job = {"folder": folder, "what": program, "on_disk": False}
                found.append(_run(job, timeout_s))
    return {program: summary(found) for program, found in runs.items()}


def streamed(shape: Triple, timeout_s: float) -> dict[str, Run]:
    """Each scoring of a volume on disk, once."""
    with tempfile.TemporaryDirectory() as folder:
        write_stores(Path(folder), shape)
        jobs = {what: {"folder": folder, "what": what, "on_disk": True} for what in ON_DISK}
        return {what: _run(job, timeout_s) for what, job in jobs.items()}


def _run(job: dict[str, Any], timeout_s: float) -> Run:
    run = measured("benchmarks.score_runs", job, threads=1, timeout_s=timeout_s)
    print(f"{job['what']}: {run.get('error', 'done')}", flush=True)
    return run


def summary(runs: Sequence[Run]) -> Run:
    """Medians of runs of one program, whose numbers are the same; or the first error."""
    failed = [run for run in runs if "error" in run]
    if failed:
        return failed[0]
    return {
        "seconds": median(run["seconds"] for run in runs),
        "bytes": median(run["bytes"] for run in runs),
        "numbers": runs[0]["numbers"],
    }


def memory_table(memory: dict[Triple, dict[str, Run]]) -> Table:
    """A row a size and program, with how many times ours it takes."""
    rows: list[tuple[Cell, ...]] = []
    for shape, runs in memory.items():
        ours = runs["ours"]
        for program, run in runs.items():
            size: Cell = f"{prod(shape):.2g}" if program == "ours" else ""
            rows.append((size, program, *_cells(run, ours)))
    return Table(
        "Adapted Rand error and VOI of labels in memory",
        (
            "voxels",
            "program",
            "s",
            "times ours",
            "memory, MiB",
            "adapted Rand error",
            "VOI split",
            "VOI merge",
        ),
        tuple(rows),
        "scikit-image is given one contingency table for both scores, elf computes both in one "
        "call (`cremi_score`). elf counts a voxel as a pair with itself, which changes its Rand "
        "error by about one part in the size of an object; true 0 is left out by all.",
    )


def disk_table(shape: Triple, disk: dict[str, Run]) -> Table:
    """Scorings of the volume on disk."""
    size = prod(shape) * IDS_BYTES / MEBIBYTE
    rows: list[tuple[Cell, ...]] = []
    for what, run in disk.items():
        seconds, _, mebibytes, *numbers = _cells(run, run)
        rows.append((what, seconds, mebibytes, *numbers, run.get("numbers", {}).get("v_rand")))
    return Table(
        "Labels on disk, slab by slab",
        ("what", "s", "memory, MiB", "adapted Rand error", "VOI split", "VOI merge", "V_rand"),
        tuple(rows),
        f"{'×'.join(map(str, shape))} voxels in zarr arrays; prediction and truth together are "
        f"{size:.0f} MiB.",
    )


def _cells(run: Run, ours: Run) -> tuple[Cell, ...]:
    if "error" in run:
        return (NOT_MEASURED,) * 6
    ratio = run["seconds"] / ours["seconds"] if "error" not in ours else None
    numbers = run["numbers"]
    return (
        f"{run['seconds']:.3g}",
        NOT_MEASURED if ratio is None else f"{ratio:.1f}",
        f"{run['bytes'] / MEBIBYTE:.0f}",
        *(numbers[name] for name in ("arand_error", "split", "merge")),
    )


if __name__ == "__main__":
    as_program(main)

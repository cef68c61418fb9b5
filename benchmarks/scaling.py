"""How time and memory grow with the volume and with workers, and what limits larger ones.

``python -m benchmarks.scaling [--data DATA] --output FOLDER [--quick]``

1. Volumes of 1 to 64 times 30 x 512 x 512 voxels, boundary maps given: all stages but the
   network, two dask workers, ``--memory 4GiB``; and the shipped network at 1 and 2 times.
2. The same volume in one process, on one dask worker, on two; tasks that do nothing.
3. A model fitted to these numbers: larger volumes on more workers (``scaling_model``).

Every measurement runs in a process of its own and is kept in ``FOLDER/rows``; a second call
measures only what is missing. Remove a row to measure it again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import measured
from benchmarks.datasets import require_folder
from benchmarks.endings import as_program
from benchmarks.published import publish
from benchmarks.reports import commit, write_whole
from benchmarks.scaling_model import predictions
from benchmarks.scaling_report import drawn, markdown
from pipeline.contract import Triple

MEMORY = 4 << 30
HOURS = 2.0


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Parameters
    ----------
    unit
        Voxels of size 1.
    tile
        Prediction tile; ``None``: the default.
    factors
        Sizes with boundary maps given.
    full
        Sizes with the shipped network.
    speed
        Size for 0, 1 and 2 dask workers.
    tasks, marks, heads
        How many tasks that do nothing, done marks, and heads of a column.
    levels
        Parameters for solving the largest problem again, so that it takes several levels.
    """

    unit: Triple
    tile: Triple | None
    factors: tuple[int, ...]
    full: tuple[int, ...]
    speed: int
    tasks: int
    marks: int
    heads: int
    levels: tuple[str, ...]

    def jobs(self, folder: Path) -> dict[str, tuple[str, dict[str, Any], int]]:
        """Name -> module, job and threads; in an order in which each finds what it needs."""
        common: dict[str, Any] = {
            "folder": str(folder),
            "unit": self.unit,
            "tile": self.tile,
            "overrides": [],
        }
        run = "benchmarks.scaling_run"
        mapped = {**common, "kind": "mapped"}
        found: dict[str, tuple[str, dict[str, Any], int]] = {}
        counts = {
            "tasks": self.tasks,
            "marks": self.marks,
            "heads": self.heads,
            "workers": [0, 1, 2],
        }
        found["tasks"] = "benchmarks.scaling_tasks", counts, 1
        for factor in self.factors:
            job = {**mapped, "factor": factor, "workers": 2, "memory_bytes": MEMORY}
            last = factor == self.factors[-1]
            found[f"size-{factor}"] = run, {**job, "keep": last}, 1
        again = {"again": True, "until": "multicut", "overrides": list(self.levels)}
        found["levels"] = run, {**job, **again}, 1
        for workers in (0, 1, 2):
            job = {**mapped, "factor": self.speed, "workers": workers, "memory_bytes": None}
            found[f"workers-{workers}"] = run, {**job, "output": f"workers-{workers}"}, 1
        for factor in self.full:
            job = {**common, "kind": "grey", "factor": factor, "workers": 0, "memory_bytes": None}
            found[f"full-{factor}"] = run, job, os.cpu_count() or 1
        return found


WHOLE = Plan(
    unit=(30, 512, 512),
    tile=None,
    factors=(1, 4, 16, 64),
    full=(1, 2),
    speed=8,
    tasks=1000,
    marks=100_000,
    heads=200,
    levels=("multicut.solve_at_once_edges=250000",),
)
QUICK = Plan(
    unit=(8, 192, 192),
    tile=(1, 192, 192),
    factors=(1, 2, 4),
    full=(1,),
    speed=4,
    tasks=200,
    marks=10_000,
    heads=20,
    levels=("multicut.solve_at_once_edges=1000", "multicut.domain_nodes=200"),
)


def main() -> None:
    """Measure what is missing, fit the model, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets; else synthetic EM")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="small volumes, about two minutes")
    options = parser.parse_args()
    if options.data is not None:
        require_folder(options.data)
    plan = QUICK if options.quick else WHOLE
    with tempfile.TemporaryDirectory(dir=_made(options.output)) as scratch:
        rows = measure_all(plan, options.data, options.output / "rows", Path(scratch))
    values = {"real": bool(options.data), "rows": rows, "model": predictions(rows)}
    publish(
        options.output,
        "scaling",
        "Scaling",
        (),
        text=markdown(values),
        quick=options.quick,
        values=values,
        figures=drawn(rows),
    )


def measure_all(
    plan: Plan, data: Path | None, kept: Path, scratch: Path
) -> dict[str, dict[str, Any]]:
    """All rows of a plan, those that are kept already as they are."""
    _made(kept)
    rows: dict[str, dict[str, Any]] = {}
    jobs = plan.jobs(scratch)
    if any(not (kept / f"{name}.json").exists() for name in jobs):
        source = {"folder": str(scratch), "unit": plan.unit, "data": str(data) if data else None}
        made = measured("benchmarks.scaling_volumes", source, threads=os.cpu_count() or 1)
        if "error" in made:
            raise SystemExit(f"the volumes cannot be made: {made['error']}")
    for name, (module, job, threads) in jobs.items():
        path = kept / f"{name}.json"
        if not path.exists():
            print(f"measuring {name}", flush=True)
            answer = measured(module, job, threads=threads, timeout_s=HOURS * 3600)
            if "error" in answer:
                print(f"{name}: {answer['error']}", flush=True)
                rows[name] = answer
                continue
            write_whole(path, json.dumps({**answer, "commit": commit()}, indent=1))
        rows[name] = json.loads(path.read_text())
    return rows


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    as_program(main)

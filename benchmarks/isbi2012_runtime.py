"""Time and memory of the pipeline on the whole ISBI 2012 stack, from raw zarr to labels."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets import ISBI2012
from benchmarks.published import Table
from pipeline.store.importers import import_volume
from workflows.memory import PeakMemory


def runtime(
    data: Path, output: Path, config: str | None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """``run`` on the whole stack of 30 sections from zarr, in a process of its own.

    Parameters
    ----------
    data
        Folder of the data sets.
    output
        Folder of the volume and of its output store, which are made anew.
    config, overrides
        As for ``run``.

    Returns
    -------
    timing
        ``seconds`` with start-up and pictures, ``peak_bytes`` of the process tree, and
        ``stages`` as ``status`` gives them.
    """
    volume, store = output / "isbi2012.zarr", output / "isbi2012.neurons.zarr"
    output.mkdir(parents=True, exist_ok=True)
    for old in (volume, store):
        shutil.rmtree(old, ignore_errors=True)
    import_volume(data / ISBI2012.raw, volume, voxel_size_nm=ISBI2012.voxel_size_nm)
    command = [sys.executable, "-m", "pipeline", "run", str(volume), "--output", str(store)]
    command += ["--config", config] if config else []
    command += [part for override in overrides for part in ("--set", override)]
    began = time.monotonic()
    with PeakMemory() as peak:
        subprocess.run(command, check=True)
    seconds = time.monotonic() - began
    status = subprocess.run(
        [sys.executable, "-m", "pipeline", "status", "--json", str(store)],
        check=True,
        capture_output=True,
        text=True,
    )
    stages = {row["stage"]: row for row in json.loads(status.stdout)["stages"]}
    return {"seconds": seconds, "peak_bytes": peak.bytes, "stages": stages}


def runtime_table(timing: dict[str, Any]) -> Table:
    """Seconds of each stage and of all."""
    rows = [(name, float(row["seconds"])) for name, row in timing["stages"].items()]
    return Table(
        "Time and memory of the whole stack",
        ("stage", "s"),
        (*rows, ("all, with start-up and pictures", float(timing["seconds"]))),
        "30 sections of 512 x 512 pixels, from raw zarr to labels. Peak memory of the process "
        f"tree: {timing['peak_bytes'] / 2**30:.2f} GiB.",
        decimals=1,
    )

"""ISBI 2012: quality on sections 14-19, and time and memory of the whole stack.

``python -m benchmarks.isbi2012 --data DATA``
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.datasets import ISBI2012
from benchmarks.quality import arguments, as_markdown, graph_sentence, run
from benchmarks.reports import report
from pipeline.store.importers import import_volume
from workflows.memory import PeakMemory


def main() -> None:
    """Run and report."""
    options = arguments(__doc__ or "")
    rows, result = run(ISBI2012, options)
    timing = runtime(options.data, options.output, options.config, options.set)
    text = (
        f"# ISBI 2012, sections {ISBI2012.validate[0]}-{ISBI2012.validate[1] - 1}\n\n"
        + as_markdown(rows)
        + f"\n{graph_sentence(result)}\n\n"
        + _runtime_table(timing)
    )
    values = {"rows": [asdict(r) for r in rows], "runtime": timing}
    report(options.output, "isbi2012", text, values)


def runtime(
    data: Path, output: Path, config: str | None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """``run`` on the whole stack of 30 sections from zarr, in a process of its own."""
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


def _runtime_table(timing: dict[str, Any]) -> str:
    lines = ["Whole stack, 30×512×512, from raw zarr to labels:\n", "| stage | s |", "|---|---:|"]
    lines += [f"| {name} | {r['seconds']:.1f} |" for name, r in timing["stages"].items()]
    lines.append(f"| **all, with start-up and pictures** | **{timing['seconds']:.1f}** |")
    peak = timing["peak_bytes"] / 2**30
    return "\n".join(lines) + f"\n\nPeak memory of the process tree: {peak:.2f} GiB.\n"


if __name__ == "__main__":
    main()

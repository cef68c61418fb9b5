"""Our graph stages beside elf's own route on the ISBI 2012 stack, 30×512×512.

Equal boundary map, equal number of threads, processes of their own, alternating, medians.
The forests of both learn from sections 0-9 and are scored on the edges of sections 10-13;
both are training parts. A third run puts our features on elf's superpixels, so that the
features and forests are compared on the very same edges. Then nifty and vigra, where they
are installed (``nifty_parity``).

``python -m benchmarks.peers --data DATA [--boundaries MAP] [--threads N] [--repeats N]``
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import nifty_parity
from benchmarks.boundary_maps import isbi_map
from benchmarks.children import measured, medians
from benchmarks.datasets import ISBI2012
from benchmarks.endings import as_program
from benchmarks.published import publish
from benchmarks.reports import markdown_table

FIT, SCORE = (0, 10), (10, 14)
QUICK_SECTIONS, QUICK_FIT, QUICK_SCORE = 6, (0, 4), (4, 6)
SIDES = ("elf", "ours", "ours on elf's superpixels")
MEBIBYTE = 2**20
FEATURE_STEPS = ("features", "boundary features", "filter features", "region features")
GROUPS = {
    "superpixels": ("superpixels",),
    "graph and features": ("graph", *FEATURE_STEPS),
    "forest fit": ("forest fit",),
    "forest prediction": ("forest prediction",),
    "multicut": ("multicut",),
}
"""Steps that stand side by side in the summary."""


def main() -> None:
    """Measure and report."""
    options = arguments()
    text, values = compared(options)
    if not options.skip_nifty:
        raw, boundaries = isbi_map(options.data, options.output, options.boundaries, options.device)
        sections = slice(0, QUICK_SECTIONS if options.quick else None)
        parity, values["nifty"] = nifty_parity.compared(raw[sections], boundaries[sections])
        text = f"{text}\n{parity}"
    publish(
        options.output,
        "peers",
        "Graph stages beside elf",
        (),
        text=text,
        quick=options.quick,
        values=values,
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--boundaries", type=Path, help="map of all sections, TIFF or npy")
    parser.add_argument("--device", default="cpu", help="of the network, if there is no map")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds, of one run")
    parser.add_argument(
        "--elf-filters",
        choices=("boundary", "both"),
        default="boundary",
        help="what elf's filters see: the boundary map (144 columns), or raw and map (288)",
    )
    parser.add_argument("--skip-nifty", action="store_true")
    parser.add_argument("--quick", action="store_true", help="six sections, once")
    return parser.parse_args()


def compared(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The report against elf; says how to install elf where it is missing."""
    if find_spec("elf") is None or find_spec("elf.segmentation") is None:
        sentence = "Skipped: elf is not installed (`pip install python-elf`).\n"
        return sentence, {"skipped": sentence}
    raw, boundaries = isbi_map(options.data, options.output, options.boundaries, options.device)
    fit, score = (QUICK_FIT, QUICK_SCORE) if options.quick else (FIT, SCORE)
    depth = QUICK_SECTIONS if options.quick else len(raw)
    truth = ISBI2012.load(options.data, ISBI2012.truth, (0, score[1]))
    repeats = 1 if options.quick else options.repeats
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        arrays = {"raw": raw[:depth], "boundaries": boundaries[:depth], "truth": truth}
        for name, array in arrays.items():
            files[name] = str(Path(folder) / f"{name}.npy")
            np.save(files[name], array)
        job = {**files, "fit": fit, "score": score, "threads": options.threads}
        job["elf_filters"] = options.elf_filters
        runs = alternating(job, Path(folder) / "elf.npy", repeats, options.timeout)
    sides = {side: summary(results) for side, results in runs.items()}
    values = {
        "shape": [depth, *raw.shape[1:]],
        "threads": options.threads,
        "repeats": repeats,
        "fit_sections": fit,
        "score_sections": score,
        "sides": sides,
        "runs": runs,
    }
    return as_markdown(values), values


def alternating(
    job: dict[str, Any], fragments: Path, repeats: int, timeout_s: float
) -> dict[str, list[dict[str, Any]]]:
    """Every side ``repeats`` times, in turn; elf's superpixels go on to the third."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    jobs: dict[str, dict[str, Any]] = {
        "elf": {**job, "route": "elf", "save": str(fragments)},
        "ours": {**job, "route": "ours"},
        "ours on elf's superpixels": {**job, "route": "ours", "superpixels": str(fragments)},
    }
    for repeat in range(repeats):
        for side in SIDES:
            result = measured(
                "benchmarks.peer_routes",
                jobs[side],
                threads=job["threads"],
                timeout_s=timeout_s,
            )
            runs[side].append(result)
            print(f"run {repeat + 1}, {side}: {result.get('error', 'done')}", flush=True)
    return runs


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians of one side's runs, or the first error."""
    failed = [run["error"] for run in runs if "error" in run]
    if failed:
        return {"error": failed[0]}
    steps = medians([run["steps"] for run in runs])
    return {
        **{key: runs[0][key] for key in ("superpixels", "edges", "columns", "learned_from", "auc")},
        "steps": steps,
        "total": {
            kind: sum(seconds[kind] for seconds in steps.values()) for kind in ("cpu", "wall")
        },
        "seconds_per_column": sum(
            seconds["cpu"] for step, seconds in steps.items() if step in FEATURE_STEPS
        )
        / runs[0]["columns"],
        "peak_bytes": median(run["peak_bytes"] for run in runs),
        "own_peak_bytes": median(run["peak_bytes"] - run["resident_bytes"] for run in runs),
    }


def as_markdown(values: dict[str, Any]) -> str:
    """Tables of times, and of everything else."""
    sides = {name: side for name, side in values["sides"].items() if "error" not in side}
    failed = [
        f"{name}: {side['error']}\n" for name, side in values["sides"].items() if "error" in side
    ]
    z, y, x = values["shape"]
    began, ended = values["fit_sections"]
    first, last = values["score_sections"]
    lines = [
        f"{z}×{y}×{x} voxels, {values['threads']} thread(s), medians of {values['repeats']} "
        "alternating run(s).\n",
        *failed,
        "CPU seconds (wall seconds) per step:\n",
        _times(sides),
        "Sizes, memory, and the forests' area under the ROC curve on clear edges of sections "
        f"{first}-{last - 1}, learned from sections {began}-{ended - 1}:\n",
        _sizes(sides),
    ]
    return "\n".join(lines)


def _times(sides: dict[str, dict[str, Any]]) -> str:
    head = ["step", *sides]
    both = "elf" in sides and "ours" in sides
    if both:
        head.append("elf / ours")
    rows = []
    for title, steps in GROUPS.items():
        rows.append(_time_row(title, {n: _sum(s["steps"], steps) for n, s in sides.items()}, both))
    rows.append(_time_row("**all**", {n: s["total"] for n, s in sides.items()}, both))
    detail = [
        [step, *(_seconds(side["steps"].get(step)) for side in sides.values())]
        for step in dict.fromkeys(step for side in sides.values() for step in side["steps"])
    ]
    memory = [
        [step, *(_mebibytes(side["steps"].get(step)) for side in sides.values())]
        for step in dict.fromkeys(step for side in sides.values() for step in side["steps"])
    ]
    return "\n".join(
        [
            markdown_table(head, rows),
            markdown_table(["of these", *sides], detail),
            "Peak memory of the process during each step, MiB:\n",
            markdown_table(["step", *sides], memory),
        ]
    )


def _time_row(title: str, seconds: dict[str, dict[str, float]], both: bool) -> list[str]:
    row = [title, *(_seconds(value) for value in seconds.values())]
    if both:
        ours = seconds["ours"]["cpu"]
        row.append(f"{seconds['elf']['cpu'] / ours:.1f}" if ours > 0 else "–")
    return row


def _sum(steps: dict[str, dict[str, float]], chosen: Sequence[str]) -> dict[str, float]:
    return {
        kind: sum(steps[name][kind] for name in chosen if name in steps) for kind in ("cpu", "wall")
    }


def _mebibytes(value: dict[str, float] | None) -> str:
    return "–" if value is None else f"{value['peak_bytes'] / MEBIBYTE:.0f}"


def _seconds(value: dict[str, float] | None) -> str:
    return "–" if value is None else f"{value['cpu']:.2f} ({value['wall']:.2f})"


def _sizes(sides: dict[str, dict[str, Any]]) -> str:
    rows: list[list[Any]] = [
        [title, *(side[key] for side in sides.values())]
        for title, key in (
            ("superpixels", "superpixels"),
            ("edges", "edges"),
            ("edges learned from", "learned_from"),
            ("feature columns", "columns"),
        )
    ]
    rows.append(
        ["CPU ms per column", *(1000 * side["seconds_per_column"] for side in sides.values())]
    )
    for title, key in (
        ("peak memory, MiB", "peak_bytes"),
        ("of it beyond libraries and inputs, MiB", "own_peak_bytes"),
    ):
        rows.append([title, *(f"{side[key] / MEBIBYTE:.0f}" for side in sides.values())])
    for kind in ("all", "in section", "across sections"):
        scores = [side["auc"][kind] for side in sides.values()]
        rows.append([f"AUC, edges: {kind}", *("–" if s is None else f"{s:.4f}" for s in scores)])
    return markdown_table(["", *sides], rows)


if __name__ == "__main__":
    as_program(main)

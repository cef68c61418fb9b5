"""Computational costs: the inference column of the RC-SPCNet paper's Table 4.

ISBI 2012 (512x512x30), mouse cortex (512x512x169 and 256x256x121) and ATUM-SEM (7600x8600x178 at
2 nm), from an OME-Zarr to neurons with the preset of each. A part of the larger ones is measured
(``--fraction``); the time of the whole is extrapolated by voxels and stands in a column that says
so. Killed, the same command goes on; finished lines are kept as long as the commit and the options
stay the same.

``python -m benchmarks.atum_sem [--data DATA] [--device cuda] [--fraction atum_sem=1]``
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure

from benchmarks.cost_runs import Cost, measured
from benchmarks.cost_volumes import COSTED, Costed
from benchmarks.endings import as_program
from benchmarks.papers import paper_table
from benchmarks.published import NOT_MEASURED, Cell, Table, publish
from benchmarks.reports import machine
from benchmarks.scaling_volumes import source_sections
from pipeline.boundaries.device import choose_device
from pipeline.contract import Triple

UNIT: Triple = (14, 512, 512)
QUICK_UNIT: Triple = (4, 128, 128)
LEAST = 1e-9
"""A share that gives the smallest part."""
COLUMNS = (
    *("data", "measured voxels", "of the whole", "network min", "graph min", "all min"),
    *("Mvoxel/s", "peak memory GiB", "whole, extrapolated by voxels, min", "paper inference min"),
)


def main() -> None:
    """Run what is missing, and publish."""
    options = arguments()
    sections = source_sections(options.data, QUICK_UNIT if options.quick else UNIT)
    fractions = fractions_of(options.fraction, quick=options.quick)
    chosen = [replace(costed, fraction=fractions[costed.name]) for costed in COSTED]
    costs = {one.name: measured(one, sections, options) for one in chosen if one.fraction}
    publish(
        options.output,
        "atum_sem",
        "Computational costs",
        [cost_table(costs, device_name(options.device), real=options.data is not None)],
        quick=options.quick,
        values={
            "device": device_name(options.device),
            "costs": {name: vars(cost) | {"voxels": cost.voxels} for name, cost in costs.items()},
        },
        figures={"minutes": drawn(costs)},
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets; else synthetic EM")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--config", help="preset or YAML of all lines; else that of each")
    parser.add_argument("--set", action="append", default=[], metavar="stage.key=value")
    parser.add_argument(
        "--fraction",
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="of the voxels that are measured, 0 leaves a line out; NAME is "
        + ", ".join(f"{one.name} ({one.fraction:g} by default)" for one in COSTED),
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--memory", help="of one worker, e.g. 4GiB")
    parser.add_argument("--quick", action="store_true", help="tiny parts, to try the program")
    return parser.parse_args()


def fractions_of(given: Sequence[str], *, quick: bool) -> dict[str, float]:
    """Share of every line: the default, or as given, or with ``quick`` as little as can be.

    >>> fractions_of(["atum_sem=0.5"], quick=False)["atum_sem"]
    0.5
    """
    found = {one.name: LEAST if quick else one.fraction for one in COSTED}
    for text in given:
        name, _, share = text.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1
        if name not in found or not 0 <= value <= 1:
            names = ", ".join(found)
            raise SystemExit(f"--fraction {text}: NAME=SHARE with NAME of {names}, SHARE 0 to 1")
        found[name] = value
    return found


def cost_table(costs: Mapping[str, Cost], device: str, *, real: bool) -> Table:
    """The paper's lines with our numbers; what was not measured is said to be extrapolated."""
    rows = tuple(_line(costed, costs.get(costed.name)) for costed in COSTED)
    note = (
        f"Ours: {device}; the paper's: Quadro RTX 6000 and Intel Xeon Gold 6234. x×y×z voxels: "
        f"{'sections of ISBI 2012' if real else 'synthetic sections'}, resampled to the pixels of "
        "each volume and mirrored. Sums of all stages, without the start of the program and "
        "pictures; ATUM-SEM is segmented on 4 nm pixels and its labels written on those of 2 nm."
    )
    if len(costs) < len(COSTED):
        note += f" {NOT_MEASURED}: `python -m benchmarks.atum_sem` without `--fraction NAME=0`."
    if any(cost.interrupted for cost in costs.values()):
        note += " *: killed and gone on with; what the killed step had done is not counted."
    return Table("Inference", COLUMNS, rows, note, decimals=2)


def _line(costed: Costed, cost: Cost | None) -> tuple[Cell, ...]:
    data = f"{costed.paper}, {' and '.join(map(sizes, costed.shapes))}"
    paper = paper_table("rc-spcnet", 4).value("inference", costed.paper)
    if cost is None:
        return (data, *[NOT_MEASURED] * (len(COLUMNS) - 2), paper)
    return (
        data,
        " and ".join(map(sizes, cost.shapes)) + (" *" if cost.interrupted else ""),
        f"{100 * cost.voxels / costed.voxels:.3g} %",
        cost.network_seconds / 60,
        cost.graph_seconds / 60,
        cost.seconds / 60,
        f"{cost.voxels / cost.seconds / 1e6:.3g}",
        cost.peak_bytes / 2**30,
        cost.whole_minutes(costed.voxels),
        paper,
    )


def sizes(shape: Triple) -> str:
    """As the paper writes it.

    >>> sizes((30, 512, 256))
    '256×512×30'
    """
    return "×".join(str(n) for n in reversed(shape))


def device_name(device: str) -> str:
    """What the network ran on, in words."""
    facts = machine()
    place = f"{facts['processor']}, {facts['cores']} cores"
    if choose_device(device) == "cpu":
        return f"{place}, no GPU"
    return f"{torch.cuda.get_device_name()}; {place}"


def drawn(costs: Mapping[str, Cost]) -> Figure:
    """Minutes of the whole volumes, ours (hollow: extrapolated) beside the paper's."""
    paper = paper_table("rc-spcnet", 4)
    figure = Figure(figsize=(6, 2.4), layout="constrained")
    axes = figure.subplots()
    names = [costed.paper for costed in COSTED]
    theirs = [paper.value("inference", name) for name in names]
    axes.plot(theirs, names, "s", color="grey", label="paper")
    for measured_whole, fill, label in (
        (True, "full", "ours"),
        (False, "none", "ours, extrapolated"),
    ):
        places, minutes = [], []
        for costed in COSTED:
            cost = costs.get(costed.name)
            if cost is None or (cost.voxels == costed.voxels) != measured_whole:
                continue
            places.append(costed.paper)
            minutes.append(cost.whole_minutes(costed.voxels) or cost.seconds / 60)
        axes.plot(minutes, places, "o", color="tab:blue", fillstyle=fill, label=label)
    axes.set(xscale="log", xlabel="inference, minutes", ylim=(len(names) - 0.5, -0.5))
    axes.set_xlim(left=0.1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    as_program(main)

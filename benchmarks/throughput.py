"""Speed of prediction with 8 orientations and their maximum, for every network.

Beside ours, in the same run: the straight way (8 eager passes in float32, all maps kept), and the
convolutions of the same passes alone, which no prediction by these layers can beat.

On a GPU also in every precision, and with the network called in every way.

``python -m benchmarks.throughput --output FOLDER [--device cuda] [--paper] [--quick]``
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.children import measured
from benchmarks.endings import as_program
from benchmarks.network_table import LABELS
from benchmarks.published import NOT_MEASURED, Cell, Table, publish
from pipeline.boundaries.device import choose_device
from pipeline.boundaries.model import read_shape
from pipeline.boundaries.networks import NETWORKS
from pipeline.packaged import model_path

COLUMNS = (
    "network",
    "shape",
    "precision",
    "compile",
    "naive, Mvoxel/s",
    "ours, Mvoxel/s",
    "convolutions alone, Mvoxel/s",
    "ours / naive",
    "ours / convolutions",
    "largest difference of P",
    "memory, MiB",
    "GPU busy",
)


def networks(*, paper: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(label, shape, what a child must know) of all that are measured."""
    architecture = str(read_shape(model_path("default"))["architecture"])
    yield LABELS[architecture], "shipped: default", {"model": "default"}
    for name, known in NETWORKS.items():
        for size, shape in (("small", known.config()), ("paper", known.paper if paper else None)):
            if shape is not None:
                yield LABELS[name], size, {"architecture": name, "shape": shape.model_dump()}


def ways(device: str) -> tuple[dict[str, str], ...]:
    """Precisions and calls in which each network is measured."""
    if not device.startswith("cuda"):
        return ({"precision": "auto", "compile": "off"},)
    calls = tuple({"precision": "auto", "compile": call} for call in ("off", "graphs", "compile"))
    return *calls, *({"precision": one, "compile": "off"} for one in ("fp16", "fp32"))


def row(label: str, size: str, result: dict[str, Any]) -> tuple[Cell, ...]:
    """A row of the table from what a child measured, or without numbers if it failed."""
    if "error" in result:
        return (label, size, result["error"], *[NOT_MEASURED] * (len(COLUMNS) - 3))
    speed = {way: result["voxels"] / s / 1e6 for way, s in result["seconds"].items()}
    return (
        label,
        size,
        result["precision"],
        result["compile"],
        speed["naive"],
        speed["ours"],
        speed["convolutions"],
        speed["ours"] / speed["naive"],
        speed["ours"] / speed["convolutions"],
        f"{result['largest_difference']:.1e}",
        round(result["memory_bytes"] / 2**20),
        result["busy"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the report")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--side", type=int, default=None, help="of the section, in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="of which medians are taken")
    parser.add_argument("--paper", action="store_true", help="the papers' wide shapes as well")
    parser.add_argument("--quick", action="store_true", help="small sections, one round")
    options = parser.parse_args()
    device = choose_device(options.device)
    side = options.side or (64 if options.quick else 512 if device == "cpu" else 2048)
    rows, device_name = [], device
    given = {
        "device": device,
        "side": side,
        "rounds": 1 if options.quick else options.rounds,
        "threads": options.threads,
    }
    for label, size, network in networks(paper=options.paper):
        for way in ways(device):
            job = {**network, **given, **way}
            result = measured("benchmarks.network_speed", job, threads=options.threads)
            device_name = result.get("device", device_name)
            rows.append(row(label, size, result))
    note = (
        f"Device {device_name}, {options.threads} threads of the CPU; sections of {side} x {side} "
        "pixels, on a CPU as many as threads, one for each; weights are random but of what is "
        "shipped. *Ours* is what a run calls, "
        "without reading and writing. *Naive* is float32 as torch computes it by default, where "
        "convolutions of newer GPUs take TF32. The difference of P is that of ours from float32 "
        "without TF32. Memory is the most that a first prediction adds to the loaded network."
    )
    publish(
        options.output,
        f"throughput-{device.split(':')[0]}",
        "Speed of boundary prediction",
        [Table("", COLUMNS, tuple(rows), note, decimals=3)],
        quick=options.quick,
    )


if __name__ == "__main__":
    as_program(main)

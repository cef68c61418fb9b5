"""Larger volumes on more workers, predicted from the measured rows of ``scaling.py``.

Time on N workers = what takes longest of

- compute: CPU seconds of every pass, in proportion to voxels, over N workers;
- scheduler: tasks, each at the cost of one that does nothing;
- store: requests that workers make, over N workers and below what the store serves;

and, after it, what is not divided: the rest of the multicut, and what every worker reads of the
runner's notes (which task kept what) and of the heads of tables. Measured are CPU time, tasks,
rows, requests and notes; ``Assumed`` holds what is not measured here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.datasets import ISBI2012
from pipeline.cells import Cells
from pipeline.contract import ROWS, Triple, VolumeInfo
from pipeline.grid import grid_shape
from pipeline.lifted.config import LiftedConfig
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.levels import LEVELS
from pipeline.multicut.rest import BYTES_PER_EDGE
from pipeline.store.rows import HEAD_THREADS
from pipeline.subgraphs import STRETCH

Row = Mapping[str, Any]
WORKERS = (2, 64, 1000, 10_000)
NETWORK = "boundaries"
REST = ("multicut", "rest")
CHAINS: Mapping[str, Sequence[str]] = {"multicut": ("edges",), "neuron": ("edges", "lifted")}
"""The problems without and with lifted edges, and the tables of their edges."""
PAPER_HOURS, PAPER_VOXELS = 10.5, 178 * 8600 * 7600
TARGETS: Mapping[str, Triple] = {
    "11.6 Gvoxel (178×8600×7600)": (178, 8600, 7600),
    "1 mm³ (10^15 voxels, 25000×200000×200000)": (25_000, 200_000, 200_000),
}
OVER_BLOCKS = {("graph", "ranges"), ("features", "nodes"), ("features", "edges")}
"""Passes whose tasks read what several blocks kept: those that an interval of ids crosses."""
OVER_CELLS = {("lifted", "order"), ("lifted", "lifted")}
OVER_DOMAINS = {("multicut", "neurons")}
OVER_LAYERS = {
    ("lifted", "cells"),
    ("multicut", "multicut-solve-1"),
    ("multicut", "neuron-solve-1"),
}
"""Passes whose tasks read from all stretches of the tables that lie in the layer of their cell."""
MOST = 3
"""Passes that are named for their requests."""
NOTED = ("intensity", "foreground", "graph", "features")
"""Stages whose workers read what every block kept: each reads the notes of all blocks."""


@dataclass(frozen=True)
class Assumed:
    """What is not measured here.

    Parameters
    ----------
    request_seconds
        Of a small read or write of a store over a network.
    requests_per_second
        That the store serves in all.
    bytes_per_second
        That the store takes in all.
    """

    request_seconds: float = 0.001
    requests_per_second: float = 100_000.0
    bytes_per_second: float = 10e9


@dataclass(frozen=True)
class Volume:
    """What is to be reconstructed, with its rows as dense as measured."""

    shape: Triple
    block: Triple
    rows: Mapping[str, float]

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def info(self) -> VolumeInfo:
        """With the voxel size of ISBI 2012."""
        return VolumeInfo(self.shape, ISBI2012.voxel_size_nm, "uint8")

    def cells(self, superpixels: int) -> Triple:
        """Cells of so many superpixels, as stages over the graph divide the volume."""
        return Cells.of(self.info, int(self.rows["nodes"]), superpixels).shape


def predictions(rows: Mapping[str, Row], assumed: Assumed | None = None) -> dict[str, Any]:
    """Hours of every target on every number of workers, part by part.

    Parameters
    ----------
    rows
        Of ``scaling.measure_all``.
    assumed
        Speeds that are not measured.

    Returns
    -------
    predictions
        By target: its sizes, and ``runs``, one for each number of workers; empty if the rows
        that the model needs are not there.
    """
    assumed = assumed or Assumed()
    sizes = sorted_sizes(rows)
    whole = [row for name, row in rows.items() if name.startswith("full-") and "error" not in row]
    if not sizes or not whole or "error" in rows.get("tasks", {"error": ""}):
        return {}
    found = {}
    for name, shape in TARGETS.items():
        target = volume_like(sizes[-1], shape)
        parts = parts_of(target, sizes[-1], whole[-1], rows, assumed)
        runs = [run_on(workers, parts, target, assumed) for workers in WORKERS]
        found[name] = {**parts, "runs": runs}
    return found


def sorted_sizes(rows: Mapping[str, Row]) -> list[Row]:
    """Rows of growing volumes, smallest first."""
    found = [row for name, row in rows.items() if name.startswith("size-") and "error" not in row]
    return sorted(found, key=lambda row: row["voxels"])


def volume_like(row: Row, shape: Triple) -> Volume:
    """A volume with as many rows for each voxel as a measured one."""
    share = math.prod(shape) / row["voxels"]
    z, y, x = row["block_shape"]
    return Volume(shape, (z, y, x), {name: count * share for name, count in row["rows"].items()})


def parts_of(
    target: Volume, largest: Row, whole: Row, rows: Mapping[str, Row], assumed: Assumed
) -> dict[str, Any]:
    """What does not depend on the number of workers."""
    measured = volume_like(largest, tuple(largest["shape"]))
    share = target.voxels / measured.voxels
    passes = [one for one in largest["passes"] if one["stage"] != NETWORK]
    divided = [one for one in passes if (one["stage"], one["step"]) != REST]
    network = [one for one in whole["passes"] if one["stage"] == NETWORK]
    tasks = share * sum(one["tasks"] for one in largest["passes"])
    idle = largest["idle_reads_per_second"]
    requests = {
        f"{one['stage']} {one['step']}": share
        * requests_of(one, idle)
        * reach_ratio(one, measured, target)
        for one in largest["passes"]
    }
    costs = rows["tasks"]
    notes = costs["marks"]
    blocks = math.prod(grid_shape(target.shape, target.block))
    heads = target.rows["nodes"] / ROWS
    return {
        "shape": target.shape,
        "voxels": target.voxels,
        "blocks": blocks,
        "tasks": tasks,
        "network_cpu": sum(one["cpu"] for one in network) * target.voxels / whole["voxels"],
        "cpu": {
            stage: share * sum(cpu_of(one) for one in divided if one["stage"] == stage)
            for stage in dict.fromkeys(one["stage"] for one in divided)
        },
        "scheduler": tasks * costs["executor"][-1]["seconds_per_task"],
        "requests": sum(requests.values()),
        "most_requests": dict(sorted(requests.items(), key=lambda item: -item[1])[:MOST]),
        "bytes": share * sum(kind["bytes"] for kind in largest["files"].values()),
        "files": share * sum(kind["files"] for kind in largest["files"].values()),
        "rest": rest_of(target, rows),
        "notes_seconds": blocks * notes["read_seconds"] * len(NOTED),
        "notes_bytes": blocks * notes["memory_bytes"],
        "heads": heads,
        "heads_seconds": heads
        * (costs["heads"]["seconds"] + assumed.request_seconds / HEAD_THREADS),
    }


def requests_of(one: Mapping[str, float], idle: float) -> float:
    """Read and write calls of the workers in a pass, without those that dask makes of itself."""
    return max(0.0, one["read_count"] - idle * one["wall"]) + one["write_count"]


def cpu_of(one: Mapping[str, float]) -> float:
    """CPU seconds of the workers in a pass; of the process itself where it had none."""
    return one["cpu"] - one["driver_cpu"] or one["cpu"]


def reach_ratio(one: Mapping[str, Any], measured: Volume, target: Volume) -> float:
    """How many times more files a task of a pass reads in the target."""
    name = (one["stage"], one["step"])
    if name in OVER_LAYERS:
        return layer_stretches(name, target) / layer_stretches(name, measured)
    if name not in OVER_BLOCKS | OVER_CELLS | OVER_DOMAINS:
        return 1.0
    span = measured.voxels / one["tasks"]
    return crossed(target.shape, pieces(name, target), span) / crossed(
        measured.shape, pieces(name, measured), span
    )


def pieces(name: tuple[str, str], volume: Volume) -> Triple:
    """The boxes by which the files that a pass reads are kept."""
    if name in OVER_BLOCKS:
        return volume.block
    lifted = name[0] == "lifted"
    return volume.cells(
        LiftedConfig().superpixels_per_cell if lifted else MulticutConfig().domain_nodes
    )


def layer_stretches(name: tuple[str, str], volume: Volume) -> float:
    """Stretches of rows, one a task that scatters, of a layer of cells; rows are in z's order."""
    depth = pieces(name, volume)[0]
    return max(1.0, volume.rows["edges"] * depth / volume.shape[0] / STRETCH)


def crossed(shape: Triple, piece: Triple, span: float) -> float:
    """Boxes that ``span`` voxels in the order of memory cross, about, in a volume.

    >>> crossed((32, 1024, 1024), (32, 512, 512), 1024 * 1024)
    4.0
    >>> crossed((32, 1024, 1024), (32, 512, 512), 1024)
    2.0
    """
    depth, height, width = (float(n) for n in shape)
    across = math.ceil(width / piece[2])
    down = math.ceil(height / piece[1])
    rows = span / width
    if rows < 1:
        return min(across, 1 + (span - 1) / piece[2])
    if rows < height:
        return across * min(down, 1 + (rows - 1) / piece[1])
    sections = min(rows / height, depth)
    return across * down * min(math.ceil(depth / piece[0]), 1 + (sections - 1) / piece[0])


def rest_of(target: Volume, rows: Mapping[str, Row]) -> dict[str, float]:
    """The last contracted problem: its levels, edges, seconds and bytes.

    A level leaves the share of edges that levels left in the measurement: the first one its
    own, later ones the mean of later ones.
    """
    first, later = ratios(rows.get("levels", {}))
    edges = target.rows["edges"] + target.rows["lifted"]
    limit = MulticutConfig().solve_at_once_edges
    level = 0
    while edges > limit and level < LEVELS:
        edges *= first if level == 0 else later
        level += 1
    return {
        "levels": level,
        "edges": edges,
        "seconds": edges * rest_seconds(rows),
        "bytes": edges * BYTES_PER_EDGE,
    }


def ratios(levels: Row) -> tuple[float, float]:
    """Share of the edges that the first level leaves, and each later one."""
    chain = [
        one["edges"] + one["lifted"]
        for step, one in sorted(levels.get("contraction", {}).items())
        if step.startswith("neuron")
    ]
    if not chain:
        return 1.0, 1.0
    whole = levels["rows"]["edges"] + levels["rows"]["lifted"]
    shares = [after / before for before, after in zip([whole, *chain], chain, strict=False)]
    return shares[0], math.prod(shares[1:]) ** (1 / len(shares[1:])) if shares[1:] else shares[0]


def rest_seconds(rows: Mapping[str, Row]) -> float:
    """CPU seconds for each edge of the problems that are solved at once, in the largest volume."""
    row = sorted_sizes(rows)[-1]
    rest = [one for one in row["passes"] if (one["stage"], one["step"]) == REST]
    edges = sum(left_edges(row, chain, tables) for chain, tables in CHAINS.items())
    return sum(cpu_of(one) for one in rest) / edges


def left_edges(row: Row, chain: str, tables: Sequence[str]) -> int:
    """Edges of a problem as it was solved in one process: after its last level, or all."""
    left = [one for step, one in sorted(row["contraction"].items()) if step.startswith(chain)]
    return sum((left[-1] if left else row["rows"])[table] for table in tables)


def run_on(
    workers: int, parts: Mapping[str, Any], target: Volume, assumed: Assumed
) -> dict[str, Any]:
    """Hours of every part on so many workers, their sum, and the part that limits it."""
    divided = {
        "network": parts["network_cpu"] / workers,
        "other stages": sum(parts["cpu"].values()) / workers,
    }
    at_once = {
        "compute": sum(divided.values()),
        "scheduler": parts["scheduler"],
        "store": max(
            parts["requests"] * assumed.request_seconds / workers,
            parts["requests"] / assumed.requests_per_second,
            parts["bytes"] / assumed.bytes_per_second,
        ),
    }
    after = {
        "rest of the multicut": parts["rest"]["seconds"],
        "notes and heads": parts["notes_seconds"] + parts["heads_seconds"],
    }
    seconds = max(at_once.values()) + sum(after.values())
    without = max(divided["other stages"], at_once["scheduler"], at_once["store"])
    candidates = {**divided, "scheduler": at_once["scheduler"], "store": at_once["store"], **after}
    return {
        "workers": workers,
        "hours": {name: value / 3600 for name, value in candidates.items()},
        "total_hours": seconds / 3600,
        "without_network_hours": (without + sum(after.values())) / 3600,
        "voxels_per_second": target.voxels / seconds,
        "bottleneck": max(candidates, key=lambda name: candidates[name]),
        "bottleneck_without_network": max(
            (name for name in candidates if name != "network"), key=lambda name: candidates[name]
        ),
    }

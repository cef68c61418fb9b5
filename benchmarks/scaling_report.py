"""What ``scaling.py`` measured and predicted, as Markdown and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks.reports import markdown_table
from benchmarks.scaling_model import (
    NETWORK,
    PAPER_HOURS,
    PAPER_VOXELS,
    Assumed,
    Row,
    cpu_of,
    sorted_sizes,
)

MIB = 2**20
GROWN = 1.15
"""A cost that grows by more from the second largest volume to the largest is named."""


def markdown(values: Mapping[str, Any]) -> str:
    """The whole report."""
    rows = values["rows"]
    commits = ", ".join(sorted({row["commit"] for row in rows.values() if "commit" in row}))
    source = "training sections of ISBI 2012" if values["real"] else "synthetic EM"
    parts = [
        f"CPU only. Volumes: {source}, mirrored. "
        f"Rows were measured at commit {commits}; + means with changes.\n",
        "## Size of the volume\n",
        sizes_table(rows),
        stages_table(rows),
        growth_sentence(rows),
        "## Memory\n",
        memory_table(rows),
        "## Workers\n",
        workers_table(rows),
        tasks_sentence(rows),
        "## With the shipped network\n",
        full_table(rows),
        "## Levels of the multicut\n",
        levels_table(rows),
        "## Predictions\n",
        predictions_text(values["model"]),
        *[
            f"Not measured: {name}: {row['error']}\n"
            for name, row in rows.items()
            if "error" in row
        ],
    ]
    return "\n".join(part for part in parts if part)


def by_stage(row: Row, value: str) -> dict[str, float]:
    """Sum over the passes of each stage; ``cpu`` is that of the workers."""
    found: dict[str, float] = {}
    for one in row["passes"]:
        amount = cpu_of(one) if value == "cpu" else one[value]
        found[one["stage"]] = found.get(one["stage"], 0.0) + amount
    return found


def without_network(row: Row, value: str) -> float:
    """Sum over all passes but those of the network."""
    return sum(amount for stage, amount in by_stage(row, value).items() if stage != NETWORK)


def size_name(row: Row) -> str:
    """``z×y×x``."""
    return "×".join(map(str, row["shape"]))


def sizes_table(rows: Mapping[str, Row]) -> str:
    """One line a volume; the network is that set by hand."""
    head = [
        *("voxels", "blocks", "tasks", "s", "Mvoxel/s", "CPU s", "CPU µs/voxel"),
        *("process tree MiB", "largest worker MiB", "files", "MB written"),
    ]
    lines = []
    for row in sorted_sizes(rows):
        written = row["files"].values()
        lines.append(
            [
                size_name(row),
                row["blocks"],
                sum(one["tasks"] for one in row["passes"]),
                row["seconds"],
                row["voxels"] / row["seconds"] / 1e6,
                sum(one["cpu"] for one in row["passes"]),
                1e6 * without_network(row, "cpu") / row["voxels"],
                _mib(max(one["tree_peak"] for one in row["passes"])),
                _mib(max(one["worker_peak"] for one in row["passes"])),
                sum(kind["files"] for kind in written),
                sum(one["write_chars"] for one in row["passes"]) / 1e6,
            ]
        )
    note = (
        "Two dask workers of one thread each, warm, `--memory 4GiB`. The boundary map is given, "
        "by a network set by hand. CPU µs/voxel is that of the workers, without that network.\n\n"
    )
    return note + markdown_table(head, lines)


def stages_table(rows: Mapping[str, Row]) -> str:
    """CPU time of the workers per voxel, stage by stage."""
    sizes = sorted_sizes(rows)
    if not sizes:
        return ""
    lines: list[list[Any]] = []
    for stage in by_stage(sizes[-1], "cpu"):
        costs = [1e6 * by_stage(row, "cpu").get(stage, 0.0) / row["voxels"] for row in sizes]
        lines.append([_stage_name(stage), *costs])
    totals = [1e6 * without_network(row, "cpu") / row["voxels"] for row in sizes]
    lines.append(["**all but the network**", *totals])
    head = ["CPU µs per voxel", *(size_name(row) for row in sizes)]
    return markdown_table(head, lines)


def growth_sentence(rows: Mapping[str, Row]) -> str:
    """Whether the cost of a voxel is flat, and which passes grow."""
    sizes = sorted_sizes(rows)
    if len(sizes) < 2:
        return ""
    before, last = sizes[-2:]
    change = _per_voxel(last) / _per_voxel(before)
    first = _per_voxel(last) / _per_voxel(sizes[0])
    costs = {
        (one["stage"], one["step"]): cpu_of(one) / before["voxels"] for one in before["passes"]
    }
    grown = []
    for one in last["passes"]:
        name, now = (one["stage"], one["step"]), cpu_of(one) / last["voxels"]
        old = costs.get(name, 0.0)
        if now > GROWN * old and now - old > 0.005 * _per_voxel(last):
            grown.append(f"{' '.join(name)} {1e6 * old:.3f} -> {1e6 * now:.3f}")
    return (
        f"The cost of a voxel changes by {change - 1:+.0%} from {size_name(before)} to "
        f"{size_name(last)}, and by {first - 1:+.0%} from the smallest volume, which has no "
        f"halos. Passes that grow (µs/voxel): {'; '.join(grown) or 'none'}.\n"
    )


def memory_table(rows: Mapping[str, Row]) -> str:
    """The largest worker, stage by stage."""
    sizes = sorted_sizes(rows)
    if not sizes:
        return ""
    lines: list[list[Any]] = []
    for stage in by_stage(sizes[-1], "cpu"):
        peaks = [_peak(row, stage) for row in sizes]
        lines.append([_stage_name(stage), *peaks])
    head = ["largest worker, MiB", *(size_name(row) for row in sizes)]
    return markdown_table(head, lines) + "\nResident memory, `--memory 4GiB`.\n"


def workers_table(rows: Mapping[str, Row]) -> str:
    """In the process, one dask worker, two."""
    found = [rows.get(f"workers-{n}", {"error": ""}) for n in (0, 1, 2)]
    if any("error" in row for row in found):
        return ""
    here, one, two = found
    names = ("in the process, one thread", "one dask worker", "two dask workers")
    lines = []
    for name, row in zip(names, found, strict=True):
        lines.append(
            [
                name,
                row["seconds"],
                sum(p["cpu"] for p in row["passes"]),
                sum(p["driver_cpu"] for p in row["passes"]) if row["workers"] else None,
                row["start_seconds"] if row["workers"] else None,
            ]
        )
    tasks = sum(p["tasks"] for p in one["passes"])
    blocks = one["blocks"]
    extra = one["seconds"] - here["seconds"]
    table = markdown_table(["", "s", "CPU s", "of it the driver", "start of workers s"], lines)
    return (
        f"{size_name(here)}, {blocks} blocks of {'×'.join(map(str, here['block_shape']))}, "
        f"{tasks} tasks, boundary map given:\n\n{table}\n"
        f"Two workers are {one['seconds'] / two['seconds']:.2f} times as fast as one; by CPU time "
        f"of the passes that have two tasks or more, {divisible(one):.0%} of the work can be "
        f"shared, which would allow {1 / (1 - divisible(one) / 2):.2f}. Dask adds {extra:.2f} s, "
        f"{extra / blocks:.2f} s a block or {extra / tasks:.3f} s a task, "
        f"{extra / here['seconds']:.1%} of the time.\n"
    )


def divisible(row: Row) -> float:
    """Share of the CPU time that is spent in passes of several tasks."""
    shared = sum(cpu_of(one) for one in row["passes"] if one["tasks"] > 1)
    return shared / sum(cpu_of(one) for one in row["passes"])


def tasks_sentence(rows: Mapping[str, Row]) -> str:
    """Tasks that do nothing, and notes."""
    row = rows.get("tasks", {"error": ""})
    if "error" in row:
        return ""
    places = {0: "in the process", 1: "on one dask worker", 2: "on two"}
    costs = ", ".join(
        f"{1000 * one['seconds_per_task']:.2f} ms {places[one['workers']]}"
        for one in row["executor"]
    )
    notes = row["marks"]
    return (
        f"A task that does nothing, marked done ({row['tasks']} of them): {costs}. A done mark "
        f"with three tables takes {1e6 * notes['write_seconds']:.0f} µs to write, "
        f"{1e6 * notes['read_seconds']:.0f} µs to read, {notes['file_bytes']:.0f} bytes on disk "
        f"and {notes['memory_bytes']:.0f} in memory.\n"
    )


def full_table(rows: Mapping[str, Row]) -> str:
    """The whole pipeline in one process."""
    found = {name: row for name, row in rows.items() if name.startswith("full-")}
    good = [row for row in found.values() if "error" not in row]
    if not good:
        return ""
    lines = []
    for row in good:
        walls = by_stage(row, "wall")
        lines.append(
            [
                size_name(row),
                row["seconds"],
                row["voxels"] / row["seconds"] / 1e6,
                walls[NETWORK],
                100 * walls[NETWORK] / row["seconds"],
                sum(one["cpu"] for one in row["passes"]),
                _mib(max(one["worker_peak"] for one in row["passes"])),
                row["rows"]["edges"] / row["voxels"] * 1000,
            ]
        )
    head = [
        *("voxels", "s", "Mvoxel/s", "network s", "network %", "CPU s", "peak MiB"),
        "edges per 1000 voxels",
    ]
    note = "All stages with the shipped network (8 orientations), in one process on all cores.\n\n"
    return note + markdown_table(head, lines)


def levels_table(rows: Mapping[str, Row]) -> str:
    """How much of the problem each level of the solver leaves."""
    row = rows.get("levels", {"error": ""})
    if "error" in row or not row["contraction"]:
        return ""
    sizes = row["rows"]
    lines: list[list[Any]] = [["before", None, sizes["nodes"], sizes["edges"], sizes["lifted"]]]
    for step, one in sorted(row["contraction"].items()):
        lines.append([step, one["domains"], one["nodes"], one["edges"], one["lifted"]])
    head = ["after", "domains", "nodes", "edges", "lifted edges"]
    return markdown_table(head, lines)


def predictions_text(model: Mapping[str, Any]) -> str:
    """Tables of the model, with what it assumes."""
    if not model:
        return ""
    assumed = Assumed()
    texts = [
        "Measured: CPU seconds, tasks, rows, read and write calls and bytes of the largest volume "
        "(the network's from the largest full run), the cost of a task that does nothing, "
        "notes, what the solver's levels leave. Extrapolated: all of it in proportion to voxels, "
        "but for reads of tasks that cross blocks or cells, which grow with the section, and the "
        "rest of the multicut. Assumed: cores as fast as these, "
        f"{1000 * assumed.request_seconds:g} ms a request, {assumed.requests_per_second:g} "
        f"requests and {assumed.bytes_per_second / 1e9:g} GB a second for the whole store.\n"
    ]
    for name, parts in model.items():
        texts.append(_prediction(name, parts))
    paper = PAPER_VOXELS / PAPER_HOURS / 3600 / 1e6
    texts.append(
        f"The paper took {60 * PAPER_HOURS:.0f} minutes for the 11.6 Gvoxel ({paper:.2f} Mvoxel/s) "
        "with GPUs for the network. No GPU was used here: the column without the network says "
        "what all else takes.\n"
    )
    return "\n".join(texts)


def _prediction(name: str, parts: Mapping[str, Any]) -> str:
    rest = parts["rest"]
    most = ", ".join(
        f"{name} {count / parts['requests']:.0%}" for name, count in parts["most_requests"].items()
    )
    kinds = list(parts["runs"][0]["hours"])
    head = [
        *("workers", *(f"{kind} h" for kind in kinds), "all h", "Mvoxel/s", "bottleneck"),
        *("without network h", "its bottleneck"),
    ]
    lines = [
        [
            run["workers"],
            *(run["hours"][kind] for kind in kinds),
            run["total_hours"],
            run["voxels_per_second"] / 1e6,
            run["bottleneck"],
            run["without_network_hours"],
            run["bottleneck_without_network"],
        ]
        for run in parts["runs"]
    ]
    return (
        f"### {name}\n\n{parts['blocks']:.3g} blocks, {parts['tasks']:.3g} tasks, "
        f"{parts['requests']:.3g} requests ({most}), "
        f"{parts['bytes'] / 1e12:.3g} TB in "
        f"{parts['files']:.3g} files. Rest of the multicut after {rest['levels']} levels: "
        f"{rest['edges']:.3g} edges, {rest['seconds']:.0f} s, {rest['bytes'] / 2**30:.3g} GiB in "
        f"one process. Notes of all blocks in every worker: "
        f"{parts['notes_bytes'] / 2**30:.3g} GiB; heads of a column: {parts['heads']:.3g} reads a "
        f"worker.\n\n{markdown_table(head, lines)}"
    )


def drawn(rows: Mapping[str, Row]) -> dict[str, Figure]:
    """Cost of a voxel and peak of a worker against the size of the volume; none without rows."""
    sizes = sorted_sizes(rows)
    if not sizes:
        return {}
    voxels = [row["voxels"] / 1e6 for row in sizes]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    base = [0.0] * len(sizes)
    for stage in by_stage(sizes[-1], "cpu"):
        if stage != NETWORK:
            top = _stacked(base, sizes, stage)
            left.fill_between(voxels, base, top, label=stage)
            base = top
    left.set(xscale="log", ylim=(0, None), xlabel="Mvoxel", ylabel="CPU µs per voxel")
    left.legend(fontsize="x-small", ncols=2)
    for key, label in (("worker_peak", "largest worker"), ("tree_peak", "process tree")):
        peaks = [max(one[key] for one in row["passes"]) / 2**30 for row in sizes]
        right.plot(voxels, peaks, "o-", label=label)
    right.axhline(4, color="grey", linestyle="--", label="--memory")
    right.set(xscale="log", ylim=(0, None), xlabel="Mvoxel", ylabel="peak, GiB")
    right.legend(fontsize="x-small")
    return {"sizes": figure}


def _stacked(base: Sequence[float], sizes: Sequence[Row], stage: str) -> list[float]:
    return [
        below + 1e6 * by_stage(row, "cpu").get(stage, 0.0) / row["voxels"]
        for below, row in zip(base, sizes, strict=True)
    ]


def _per_voxel(row: Row) -> float:
    return without_network(row, "cpu") / float(row["voxels"])


def _peak(row: Row, stage: str) -> int:
    return _mib(max((p["worker_peak"] for p in row["passes"] if p["stage"] == stage), default=0))


def _stage_name(stage: str) -> str:
    return f"{stage} (set by hand)" if stage == NETWORK else stage


def _mib(size: float) -> int:
    return round(size / MIB)

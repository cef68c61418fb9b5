"""Options that several verbs share, and their parsing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.contract import Box
from pipeline.errors import ConfigError
from pipeline.packaged import packaged_presets

Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        help=f"Preset ({', '.join(packaged_presets())}) or YAML file; none is needed.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one parameter: stage.key=value. May be repeated."),
]
VoxelSize = Annotated[
    str | None,
    typer.Option("--voxel-size", help="Z,Y,X in nanometres, where the metadata lack it."),
]
Level = Annotated[
    int | None,
    typer.Option("--level", help="Pyramid level of an OME-Zarr; default: what the network knows."),
]
Channel = Annotated[
    int | None, typer.Option("--channel", min=0, help="Of a volume with several, from 0.")
]
TimePoint = Annotated[
    int | None, typer.Option("--time", min=0, help="Of a volume with several, from 0.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
PLACE = "Where it runs"
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        rich_help_panel=PLACE,
        help="Processes on this machine; default 1, which uses all cores.",
        show_default=False,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        rich_help_panel=PLACE,
        help="Address of a dask scheduler that runs already, e.g. tcp://node7:8786.",
    ),
]
Cluster = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        rich_help_panel=PLACE,
        help="YAML file that says which jobs to submit to a queue (Slurm, LSF, PBS).",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        rich_help_panel=PLACE,
        help="Of one worker, e.g. 4GiB: blocks of the volume are made small enough for it.",
    ),
]
Dashboard = Annotated[
    bool,
    typer.Option(
        "--dashboard",
        rich_help_panel=PLACE,
        help="Show the workers in a browser, at 127.0.0.1:8787; for 2 workers or more.",
    ),
]
DashboardAddress = Annotated[
    str | None,
    typer.Option(
        "--dashboard-address",
        rich_help_panel=PLACE,
        metavar="HOST:PORT",
        help="Show it there instead.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--performance-report",
        rich_help_panel=PLACE,
        metavar="FILE.html",
        help="Write dask's report of what every worker did when.",
    ),
]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="How to reach a remote volume: anon=true, endpoint_url=..., profile=..., region=..., "
        "attempts=N, timeout_seconds=N. May be repeated. Keys and tokens: by the environment.",
    ),
]
Data = Annotated[Path, typer.Option("--data", help="Folder that the paths in CONFIG start from.")]

if TYPE_CHECKING:
    from workflows.cluster import Workplace

UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


def parse_voxel_size(text: str | None) -> tuple[float, float, float] | None:
    """``50,4,4`` -> (50.0, 4.0, 4.0)."""
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--voxel-size {text!r}: give Z,Y,X in nanometres, e.g. 50,4,4") from None
    if not all(0 < v < 1e6 for v in (z, y, x)):
        raise ConfigError(f"--voxel-size {text!r}: sizes must lie between 0 and 1,000,000 nm")
    return z, y, x


def parse_roi(text: str | None) -> Box | None:
    """``0:30,0:512,0:512`` -> Box, half-open, z y x."""
    if text is None:
        return None
    try:
        pairs = [tuple(int(n) for n in part.split(":")) for part in text.split(",")]
        (z0, z1), (y0, y1), (x0, x1) = pairs
    except ValueError:
        raise ConfigError(f"--roi {text!r}: give z0:z1,y0:y1,x0:x1 in voxels") from None
    return Box((z0, y0, x0), (z1, y1, x1))


def parse_memory(text: str | None) -> int | None:
    """``4GiB`` -> bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]i?)?b?\s*", text.lower())
    try:
        if match:
            return int(float(match[1]) * UNITS[match[2] or ""])
    except ValueError:
        pass
    raise ConfigError(f"--memory {text!r}: give a size such as 4GiB")


def parse_workplace(
    workers: int | None,
    scheduler: str | None,
    cluster: Path | None,
    memory: str | None,
    dashboard: str | bool,
    report: Path | None,
) -> Workplace:
    """Where a run works.

    Parameters
    ----------
    workers, scheduler, cluster, memory, report
        As given.
    dashboard
        Whether, or the address where.

    Raises
    ------
    ConfigError
        If options contradict each other.
    """
    from workflows.cluster import Workplace

    elsewhere = "--scheduler" if scheduler else "--cluster" if cluster else ""
    if elsewhere and workers is not None:
        raise ConfigError(
            f"give --workers (processes on this machine) or {elsewhere}, not both: the number of "
            "workers is said there"
        )
    if cluster is not None and memory is not None:
        raise ConfigError("give the workers' memory in the --cluster file, not as --memory")
    if report is not None and not report.absolute().parent.is_dir():
        raise ConfigError(f"--performance-report {report}: there is no folder {report.parent}")
    return Workplace(
        workers=workers or 1,
        memory_bytes=parse_memory(memory),
        scheduler=scheduler,
        cluster=cluster,
        dashboard=dashboard,
        report=report,
    )

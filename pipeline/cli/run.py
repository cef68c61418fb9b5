"""``run``: a volume to neurons; again after a kill, it goes on."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    Channel,
    Cluster,
    Config,
    Dashboard,
    DashboardAddress,
    Device,
    Level,
    Memory,
    Report,
    Scheduler,
    Set,
    StorageOption,
    TimePoint,
    VoxelSize,
    Workers,
    parse_roi,
    parse_voxel_size,
    parse_workplace,
)
from pipeline.cli.places import output_of, parse_places
from pipeline.config import load_config
from pipeline.errors import ConfigError, InputError

if TYPE_CHECKING:
    from workflows.cluster import Workplace
    from workflows.prepare import Run

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of Ctrl-C, and of SIGTERM, by which queues end jobs."""


def run(
    volume: Annotated[
        str,
        typer.Argument(help="OME-Zarr group or zarr array: a folder, s3://, gs:// or https://."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Default: VOLUME.neurons.zarr beside it; of a remote one, here."
        ),
    ] = None,
    config: Config = None,
    overrides: Set = None,
    voxel_size: VoxelSize = None,
    level: Level = None,
    roi: Annotated[
        str | None,
        typer.Option(
            "--roi",
            help="Only this box: z0:z1,y0:y1,x0:x1, voxels of --level, else of the finest level.",
        ),
    ] = None,
    channel: Channel = None,
    time_point: TimePoint = None,
    mask: Annotated[
        str | None,
        typer.Option("--mask", help="Only where this volume is not 0: OME-Zarr, zarr or TIFF."),
    ] = None,
    storage_option: StorageOption = None,
    device: Device = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the output of an earlier run first.")
    ] = False,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="Ground-truth labels: score and picture them.")
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Write PNGs to OUTPUT.pictures.")] = True,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say what would be done and why, how long it takes, and what is needed.",
        ),
    ] = False,
    calibration: Annotated[
        bool,
        typer.Option(help="With --dry-run: measure the time on a small piece of the volume."),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: for machines.")] = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    dashboard: Dashboard = False,
    dashboard_address: DashboardAddress = None,
    report: Report = None,
) -> None:
    """Segment VOLUME into neurons. Run it again after a kill or a change: it goes on."""
    from workflows.prepare import prepare
    from workflows.source import Source

    place, mask_place = parse_places(volume, mask, storage_option)
    if as_json and not dry_run:
        raise ConfigError("--json goes with --dry-run; what a run has done says: status --json")
    began = time.monotonic()
    target = output_of(place, output)
    workplace = parse_workplace(
        workers, scheduler, cluster, memory, dashboard_address or dashboard, report
    )
    source = Source(
        place, level, parse_voxel_size(voxel_size), parse_roi(roi), mask_place, channel, time_point
    )
    if truth is not None and not truth.exists():
        raise InputError(f"{truth}: does not exist")

    def prepared(*, write: bool) -> Run:
        return prepare(
            source,
            load_config(config, overrides or []),
            target,
            device=device,
            memory_bytes=workplace.task_bytes(),
            overwrite=overwrite,
            command=" ".join(["python -m pipeline", *sys.argv[1:]]),
            workplace=workplace,
            write=write,
        )

    foreseen = prepared(write=False)
    _describe(foreseen, workplace)
    if dry_run:
        from pipeline.cli.dry_run import show_plan

        show_plan(foreseen, workplace, fresh=overwrite, calibration=calibration, as_json=as_json)
        return
    _check(foreseen, workplace, truth, overwrite)
    made = prepared(write=True)
    with endings():
        _reconstruct(made, workplace)
    print(f"{target}: done in {time.monotonic() - began:.0f} s", file=sys.stderr)
    _show(made, truth, pictures)


def _describe(run: Run, workplace: Workplace) -> None:
    """What is segmented, how and where."""
    from workflows.voxel_size_checks import chosen_for_you

    info = run.volume.info
    mode = run.config.section("superpixels").model_dump()["mode"]
    flat = "sections (2D superpixels)" if mode == "2d" else "a volume (3D superpixels)"
    print(
        f"{run.source.path}: {' x '.join(map(str, info.shape))} {info.dtype}, voxels of "
        f"{' x '.join(f'{v:g}' for v in info.voxel_size_nm)} nm, treated as {flat}; "
        f"{run.device}, blocks of {' x '.join(map(str, run.output.block_shape))}; "
        f"{_place(workplace)}",
        file=sys.stderr,
    )
    for line in chosen_for_you(run):
        print(line, file=sys.stderr)


def _place(workplace: Workplace) -> str:
    """Where the work is done."""
    from workflows.quantities import size

    if workplace.scheduler is not None:
        return f"on the workers of {workplace.scheduler}"
    if workplace.file is not None:
        groups = workplace.file.groups.given()
        named = " and ".join(f"{group.workers} {name} workers" for name, group in groups.items())
        return f"{named} of {workplace.cluster}"
    limit = "" if workplace.memory_bytes is None else f", each up to {size(workplace.memory_bytes)}"
    return (
        f"{workplace.workers} worker{'s' if workplace.workers > 1 else ''} on this machine{limit}"
    )


def _check(run: Run, workplace: Workplace, truth: Path | None, fresh: bool) -> None:
    """All that can be known before hours are spent; warnings go to standard error."""
    from workflows.checks import refuse
    from workflows.estimates import Work, measured
    from workflows.plan import make_plan
    from workflows.truth import open_truth

    if truth is not None:
        open_truth(truth, run.volume.shape, run.source.roi, run.input_grid)
    work = Work.of(run)
    plan = make_plan(run, workplace, work, measured(run, work, "earlier run"), fresh=fresh)
    refuse(plan.findings)
    for finding in plan.findings:
        if finding.kind == "warning":
            print(f"warning: {finding.text}", file=sys.stderr)
    for stage in plan.stages:
        if stage.state == "stale":
            print(f"{stage.stage} is computed again: {'; '.join(stage.why)}", file=sys.stderr)


def _reconstruct(run: Run, workplace: Workplace) -> None:
    from workflows.reconstruct import reconstruct

    reconstruct(run, workplace)


def _show(run: Run, truth: Path | None, pictures: bool) -> None:
    """Pictures and scores."""
    from workflows.results import draw_pictures, print_scores

    if pictures:
        print(f"pictures: {draw_pictures(run, truth)}", file=sys.stderr)
    if truth is not None:
        print_scores(run.output.path, truth, region=run.source.roi, allow_seen=True)


class _Terminated(KeyboardInterrupt):
    """SIGTERM: the run ends as by Ctrl-C."""


@contextmanager
def endings() -> Iterator[None]:
    """Ctrl-C and SIGTERM end with one message; finished blocks are kept."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as error:
        print(
            "\ninterrupted; finished blocks are kept: the same command goes on from here",
            file=sys.stderr,
        )
        code = TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
        raise SystemExit(code) from None
    finally:
        signal.signal(signal.SIGTERM, before)

"""``run``: a volume to neurons; again after a kill, it goes on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import (
    Config,
    Device,
    Set,
    VoxelSize,
    parse_memory,
    parse_roi,
    parse_voxel_size,
)
from pipeline.config import load_config
from pipeline.errors import ConfigError, InputError


def run(
    volume: Annotated[Path, typer.Argument(help="OME-Zarr group or zarr array, zyx.")],
    output: Annotated[
        Path | None, typer.Option("--output", help="Default: VOLUME.neurons.zarr beside it.")
    ] = None,
    config: Config = None,
    overrides: Set = None,
    voxel_size: VoxelSize = None,
    level: Annotated[
        int | None, typer.Option("--level", help="Pyramid level of an OME-Zarr; default 0.")
    ] = None,
    roi: Annotated[
        str | None, typer.Option("--roi", help="Only this box: z0:z1,y0:y1,x0:x1 in voxels.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", help="Only where this volume is not 0: OME-Zarr, zarr or TIFF."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Of one worker, e.g. 4GiB; decides the blocks.")
    ] = None,
    device: Device = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the output of an earlier run first.")
    ] = False,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="Ground-truth labels: score and picture them.")
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Write PNGs to OUTPUT.pictures.")] = True,
) -> None:
    """Segment VOLUME into neurons. Run it again after a kill or a change: it goes on."""
    from workflows.blockwise import Source
    from workflows.prepare import prepare
    from workflows.reconstruct import reconstruct
    from workflows.results import draw_pictures, print_scores, read_truth

    if volume.suffix.lower() in (".tif", ".tiff"):
        raise ConfigError(
            f"{volume} is a TIFF; first: python -m pipeline import {volume} NAME.zarr"
        )
    began = time.monotonic()
    resolved = load_config(config, overrides or [])
    target = output or volume.with_name(f"{volume.name.removesuffix('.zarr')}.neurons.zarr")
    limit = parse_memory(memory)
    source = Source(volume, level, parse_voxel_size(voxel_size), parse_roi(roi), mask)
    if truth is not None and not truth.exists():
        raise InputError(f"{truth}: does not exist")
    prepared = prepare(
        source,
        resolved,
        target,
        device=device,
        memory_bytes=limit,
        overwrite=overwrite,
        command=" ".join(["python -m pipeline", *sys.argv[1:]]),
    )
    info = prepared.volume.info
    mode = prepared.config.section("superpixels").model_dump()["mode"]
    flat = "sections (2D superpixels)" if mode == "2d" else "a volume (3D superpixels)"
    print(
        f"{volume}: {' x '.join(map(str, info.shape))} {info.dtype}, voxels of "
        f"{' x '.join(f'{v:g}' for v in info.voxel_size_nm)} nm, treated as {flat}; "
        f"{prepared.device}, blocks of {' x '.join(map(str, prepared.output.block_shape))}",
        file=sys.stderr,
    )
    if truth is not None:
        read_truth(truth, prepared.volume.shape, source.roi)
    try:
        reconstruct(prepared, workers=workers, memory_bytes=limit)
    except KeyboardInterrupt:
        print(
            "\ninterrupted; finished blocks are kept: the same command goes on from here",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
    print(f"{target}: done in {time.monotonic() - began:.0f} s", file=sys.stderr)
    if pictures:
        print(f"pictures: {draw_pictures(prepared, truth)}", file=sys.stderr)
    if truth is not None:
        print_scores(target, truth, region=source.roi)

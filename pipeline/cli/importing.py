"""``import``: other formats to OME-Zarr; again after a kill, it goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import VoxelSize, parse_roi, parse_voxel_size

INTERRUPTED = 130


def import_volume(
    source: Annotated[
        str,
        typer.Argument(help="File, folder of sections or URL; FILE:DATASET for one of several."),
    ],
    volume: Annotated[Path, typer.Argument(help="The OME-Zarr to make, e.g. volume.zarr.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="In place of FILE:DATASET.")
    ] = None,
    level: Annotated[
        int, typer.Option("--level", min=0, help="Of a format with several resolutions.")
    ] = 0,
    axes: Annotated[
        str | None, typer.Option("--axes", help="Order of the axes, slowest first, e.g. xyz, czyx.")
    ] = None,
    channel: Annotated[
        int | None, typer.Option("--channel", min=0, help="Which one, from 0.")
    ] = None,
    time: Annotated[
        int | None, typer.Option("--time", min=0, help="Which time point, from 0.")
    ] = None,
    roi: Annotated[
        str | None, typer.Option("--roi", help="Only this box: z0:z1,y0:y1,x0:x1 in voxels.")
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="SOURCE holds ids, 0 = background, not grey values.")
    ] = False,
    voxel_size: VoxelSize = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace VOLUME.")] = False,
) -> None:
    """Turn SOURCE into VOLUME, block by block, with a pyramid. The same command goes on."""
    from pipeline.store.importers import import_volume as write_volume
    from pipeline.store.importers import partial_folder
    from workflows.progress import counted

    try:
        with counted("import") as progress:
            made = write_volume(
                source,
                volume,
                dataset=dataset,
                level=level,
                axes=axes,
                channel=channel,
                time=time,
                labels=labels,
                roi=parse_roi(roi),
                voxel_size_nm=parse_voxel_size(voxel_size),
                progress=progress,
                overwrite=overwrite,
            )
    except KeyboardInterrupt:
        print(
            f"\ninterrupted; what is done stays in {partial_folder(volume)}: the same command goes "
            "on from here",
            file=sys.stderr,
        )
        raise SystemExit(INTERRUPTED) from None
    shape = " x ".join(map(str, made.shape))
    size = " x ".join(f"{edge:g}" for edge in made.voxel_size_nm)
    after = (
        f"python -m pipeline evaluate OUTPUT {volume}"
        if labels
        else f"python -m pipeline run {volume}"
    )
    print(f"{volume}: {shape} {made.dtype}, voxels of {size} nm; next: {after}", file=sys.stderr)

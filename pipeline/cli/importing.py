"""``import``: other formats to OME-Zarr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import VoxelSize, parse_voxel_size
from pipeline.errors import InputError


def import_volume(
    source: Annotated[Path, typer.Argument(help="A TIFF stack.")],
    volume: Annotated[Path, typer.Argument(help="The OME-Zarr to make, e.g. volume.zarr.")],
    voxel_size: VoxelSize = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace VOLUME.")] = False,
) -> None:
    """Turn SOURCE into VOLUME, section by section, with a pyramid."""
    from pipeline.store.importers import IMPORTERS
    from workflows.progress import counted

    importer = IMPORTERS.get(source.suffix.lower())
    if importer is None:
        raise InputError(
            f"{source}: no importer for {source.suffix or 'this'!r}; known: {', '.join(IMPORTERS)}"
        )
    with counted("import") as progress:
        importer(
            source,
            volume,
            voxel_size_nm=parse_voxel_size(voxel_size),
            progress=progress,
            overwrite=overwrite,
        )
    print(f"{volume}: ready; next: python -m pipeline run {volume}", file=sys.stderr)

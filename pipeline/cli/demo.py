"""``demo``: the main job on the real sample that comes with the program."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.run import run

VOXEL_SIZE_NM = (8.0, 8.0, 8.0)


def demo(
    folder: Annotated[Path, typer.Argument(help="Gets the volume, the output, the pictures.")] = (
        Path("demo")
    ),
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
) -> None:
    """Segment a piece of fly brain, score it against its ground truth, draw pictures."""
    from pipeline.store.importers import import_volume

    sample = Path(str(resources.files("pipeline") / "data" / "sample"))
    volume = folder / "sample.zarr"
    if not volume.exists():
        folder.mkdir(parents=True, exist_ok=True)
        import_volume(sample / "raw.tif", volume, voxel_size_nm=VOXEL_SIZE_NM)
    print(f"sample: {sample / 'README.md'}", file=sys.stderr)
    run(str(volume), truth=sample / "bodies.tif", workers=workers)

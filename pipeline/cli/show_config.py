"""``show-config``: every parameter, its value and its sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Config, Set, VoxelSize, parse_voxel_size
from pipeline.config import as_yaml, load_config
from pipeline.contract import VolumeInfo


def show_config(
    volume: Annotated[
        Path | None, typer.Argument(help="Decide every auto for this volume.")
    ] = None,
    config: Config = None,
    overrides: Set = None,
    voxel_size: VoxelSize = None,
) -> None:
    """Print the whole resolved configuration as YAML, with a sentence per key."""
    loaded = load_config(config, overrides or [])
    size = parse_voxel_size(voxel_size)
    if volume is not None:
        from pipeline.store import open_volume

        loaded = loaded.resolved(open_volume(volume, voxel_size_nm=size).info)
    elif size is not None:
        loaded = loaded.resolved(VolumeInfo((1, 1, 1), size, "uint8"))
    print(as_yaml(loaded, sentences=True), end="")

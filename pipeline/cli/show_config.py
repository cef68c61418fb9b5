"""``show-config``: every parameter, its value and its sentence."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import (
    Channel,
    Config,
    Level,
    Set,
    StorageOption,
    TimePoint,
    VoxelSize,
    parse_voxel_size,
)
from pipeline.cli.places import parse_places
from pipeline.config import as_yaml, load_config
from pipeline.contract import VolumeInfo


def show_config(
    volume: Annotated[str | None, typer.Argument(help="Decide every auto for this volume.")] = None,
    config: Config = None,
    overrides: Set = None,
    voxel_size: VoxelSize = None,
    level: Level = None,
    channel: Channel = None,
    time_point: TimePoint = None,
    storage_option: StorageOption = None,
) -> None:
    """Print the whole resolved configuration as YAML, with a sentence per key."""
    loaded = load_config(config, overrides or [])
    size = parse_voxel_size(voxel_size)
    if volume is not None:
        from workflows.input_level import with_level
        from workflows.source import Source

        place, _ = parse_places(volume, None, storage_option)
        source = Source(place, level, size, None, None, channel, time_point)
        loaded = loaded.resolved(with_level(source, loaded).open().info)
    elif size is not None:
        loaded = loaded.resolved(VolumeInfo((1, 1, 1), size, "uint8"))
    print(as_yaml(loaded, sentences=True), end="")

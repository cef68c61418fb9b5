"""Options that several verbs share, and their parsing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

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
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Data = Annotated[Path, typer.Option("--data", help="Folder that the paths in CONFIG start from.")]

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


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
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmg]i?)?b?\s*", text.lower())
    try:
        if match:
            return int(float(match[1]) * UNITS[match[2] or ""])
    except ValueError:
        pass
    raise ConfigError(f"--memory {text!r}: give a size such as 4GiB")

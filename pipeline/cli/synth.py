"""``synth``: a synthetic EM stack with ground truth, for trying things out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline.cli.options import VoxelSize, parse_voxel_size
from pipeline.errors import ConfigError


def synth(
    folder: Annotated[Path, typer.Argument(help="Gets volume.zarr, truth.tif and raw.tif.")],
    shape: Annotated[str, typer.Option("--shape", help="Z,Y,X in voxels.")] = "12,256,256",
    voxel_size: VoxelSize = "50,4,4",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Make a synthetic EM stack and its neurons."""
    from pipeline.synthesis import synthesise
    from workflows.results import write_synthetic

    try:
        z, y, x = (int(n) for n in shape.split(","))
    except ValueError:
        raise ConfigError(f"--shape {shape!r}: give Z,Y,X in voxels, e.g. 12,256,256") from None
    size = parse_voxel_size(voxel_size) or (50.0, 4.0, 4.0)
    made = synthesise((z, y, x), voxel_size_nm=size, rng=np.random.default_rng(seed))
    volume, truth = write_synthetic(folder, made.raw, made.neurons, size)
    print(f"{volume}\n{truth}", file=sys.stderr)

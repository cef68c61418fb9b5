"""``reproduce --train``: a network learned from the learning part of the same data, alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from workflows.annotated_volume import AnnotatedVolume
from workflows.fine_tuning import boundary_training
from workflows.reproduction import Form, Reproduction
from workflows.reproduction_data import Found, by_first_voxel, read_voxels
from workflows.train_boundaries import train_boundaries


def train_network(
    reproduction: Reproduction,
    files: Mapping[str, Found],
    form: Form,
    folder: Path,
    *,
    device: str,
    command: str,
) -> Path:
    """Train a network from scratch; the same call goes on from the last checkpoint.

    Parameters
    ----------
    reproduction
        Says what it learns from.
    files
        ``raw`` and truths.
    form
        ``quick`` takes but a few steps, to try the program.
    folder
        Gets the learning part, checkpoints and the model.
    device, command
        As of ``train_boundaries``.

    Raises
    ------
    ConfigError
        If there is nothing to learn from.
    """
    learning = reproduction.learning
    if learning is None:
        raise ConfigError(
            f"{reproduction.name} has no part to learn from; leave --train out, and the shipped "
            "network is taken"
        )
    if learning.truth not in files:
        raise ConfigError(f"{reproduction.name}: --train needs the truth {learning.truth}")
    wanted = {name: files[name] for name in ("raw", learning.truth)}
    voxels = read_voxels(reproduction, wanted, learning.extent, folder, {})
    truth = _written(voxels.truths[learning.truth], folder / "truth.tif")
    kind = reproduction.truths[learning.truth].kind
    volume = AnnotatedVolume(
        name=reproduction.name,
        raw=str(voxels.volume.absolute()),
        truth=str(truth.absolute()),
        truth_kind="labels" if kind == "labels" else "cells",
        voxel_size_nm=reproduction.voxel_size_nm,
        licence=reproduction.terms,
    )
    steps = learning.quick_steps if form == "quick" else learning.steps
    settings = boundary_training(
        [volume], f"{reproduction.name}-trained", start=None, steps=steps, hold_back=False
    )
    return train_boundaries(settings, Path(), folder / "network", device=device, command=command)


def _written(truth: NDArray[Any], path: Path) -> Path:
    """Ids, or a mask, as a TIFF: those of neurons, where the file of the data has fragments."""
    partial = path.with_name(f".{path.name}.partial")
    ids = by_first_voxel(truth)
    tifffile.imwrite(partial, ids, photometric="minisblack", compression="zlib")
    partial.replace(path)
    return path

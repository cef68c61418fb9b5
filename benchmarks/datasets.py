"""The volumes of ``--data``: where they lie, and what of them trains, validates, or is held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from workflows.training_data import read_tiff


def require_folder(data: Path) -> None:
    """Refuse a ``--data`` that is not there, before anything is computed.

    Raises
    ------
    InputError
        If it is no folder.
    """
    if not data.is_dir():
        raise InputError(f"--data {data}: no such folder; docs/data.md says what it holds")


@dataclass(frozen=True)
class Dataset:
    """One volume with ground truth.

    Parameters
    ----------
    raw, truth
        TIFFs below ``--data``.
    membranes
        TIFF of a membrane mask (0 = membrane) for V_rand and V_info, where there is one.
    voxel_size_nm
        z, y, x.
    train, validate
        Sections that models, forests and parameters may see, and those they never saw.
    region
        y begin, y end, x begin, x end of the part that is used; ``None``: all.
    """

    name: str
    raw: str
    truth: str
    voxel_size_nm: tuple[float, float, float]
    train: tuple[int, int]
    validate: tuple[int, int]
    membranes: str | None = None
    region: tuple[int, int, int, int] | None = None

    @property
    def kind(self) -> str:
        """Which forests and presets serve it."""
        return "anisotropic" if self.voxel_size_nm[0] >= 3 * self.voxel_size_nm[2] else "isotropic"

    def load(self, data: Path, path: str, sections: tuple[int, int]) -> NDArray[Any]:
        """Sections of one of its TIFFs."""
        stack = read_tiff(data / path)[sections[0] : sections[1]]
        if self.region is not None:
            top, bottom, left, right = self.region
            stack = stack[:, top:bottom, left:right]
        return np.ascontiguousarray(stack)


ISBI2012 = Dataset(
    name="isbi2012",
    raw="isbi2012/raw.tif",
    truth="isbi2012/neurites_z00-19.tif",
    membranes="isbi2012/membranes_z00-19.tif",
    voxel_size_nm=(50, 4, 4),
    train=(0, 14),
    validate=(14, 20),
)
SNEMI3D = Dataset(
    name="snemi3d",
    raw="snemi3d/raw_z00-79.tif",
    truth="snemi3d/neurites_z00-79.tif",
    voxel_size_nm=(30, 6, 6),
    train=(0, 60),
    validate=(60, 80),
)
FIB25 = Dataset(
    name="fib25",
    raw="fib25/raw_z000-149.tif",
    truth="fib25/bodies_z000-149.tif",
    voxel_size_nm=(8, 8, 8),
    train=(0, 100),
    validate=(100, 150),
)

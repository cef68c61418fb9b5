"""The volumes of the table of computational costs: their sizes, and stand-ins of any size.

Nobody has all three at hand, and the grey values do not matter for time as long as membranes are
as wide and profiles as large as in tissue: so real sections of ISBI 2012 (or synthetic ones) are
resampled to the pixels of each volume and mirrored at every seam.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from skimage.transform import resize

from benchmarks.datasets import ISBI2012
from benchmarks.scaling_volumes import mirrored
from pipeline.contract import Triple
from pipeline.store.importers import import_volume

SMALLEST: Triple = (4, 128, 128)
"""Voxels; a smaller part is all border."""
SLAB_SECTIONS = 16


@dataclass(frozen=True)
class Costed:
    """One line of the table.

    Parameters
    ----------
    name
        For ``--fraction``.
    paper
        How the paper's Table 4 calls it.
    shapes
        Its volumes, zyx voxels.
    voxel_size_nm
        zyx.
    preset
        Configuration of its runs.
    fraction
        Of its voxels that are measured by default.
    """

    name: str
    paper: str
    shapes: tuple[Triple, ...]
    voxel_size_nm: tuple[float, float, float]
    preset: str
    fraction: float

    @property
    def voxels(self) -> int:
        """Of the whole."""
        return sum(prod(shape) for shape in self.shapes)


COSTED = (
    Costed("isbi", "ISBI", ((30, 512, 512),), (50, 4, 4), "isbi2012", 1.0),
    Costed(
        "cortex",
        "Mouse Cortex",
        ((169, 512, 512), (121, 256, 256)),
        (40, 7, 7),
        "piriform",
        0.15,
    ),
    Costed("atum_sem", "Mouse ATUM-SEM", ((178, 8600, 7600),), (50, 2, 2), "atum_sem", 0.002),
)


def part_shape(shape: Triple, fraction: float) -> Triple:
    """A smaller volume of the same proportions, but nowhere smaller than ``SMALLEST``.

    Parameters
    ----------
    shape
        zyx voxels of the whole.
    fraction
        Of its voxels, 0 .. 1; what comes out has about so many.

    >>> part_shape((160, 8000, 8000), 0.125)
    (80, 4000, 4000)
    """
    scale = fraction ** (1 / 3)
    z, y, x = (
        min(whole, max(least, round(whole * scale)))
        for whole, least in zip(shape, SMALLEST, strict=True)
    )
    return z, y, x


def resampled(sections: NDArray[np.uint8], pixel_nm: float) -> NDArray[np.uint8]:
    """Sections of ISBI 2012 on other pixels, linearly; smoothed first where they get larger.

    Parameters
    ----------
    sections
        (Z, Y, X) of 4 nm pixels.
    pixel_nm
        Of the result.
    """
    factor = ISBI2012.voxel_size_nm[2] / pixel_nm
    if factor == 1:
        return sections
    size = tuple(round(n * factor) for n in sections.shape[1:])
    smooth = factor < 1
    found = [resize(s, size, 1, preserve_range=True, anti_aliasing=smooth) for s in sections]
    return np.rint(found).astype(np.uint8)


def write_volume(
    path: Path,
    sections: NDArray[np.uint8],
    shape: Triple,
    voxel_size_nm: tuple[float, float, float],
) -> None:
    """An OME-Zarr with a pyramid of the mirrored sections; it appears when it is complete.

    Parameters
    ----------
    path
        Of the OME-Zarr; beside it a file of the same size lies meanwhile.
    sections
        (Z, Y, X) uint8.
    shape, voxel_size_nm
        Of the volume, zyx.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = path.with_suffix(".npy")
    written = open_memmap(flat, mode="w+", dtype=np.uint8, shape=shape)
    z, y, x = (mirrored(n, 0, end) for n, end in zip(sections.shape, shape, strict=True))
    for begin in range(0, shape[0], SLAB_SECTIONS):
        end = min(begin + SLAB_SECTIONS, shape[0])
        written[begin:end] = sections[np.ix_(z[begin:end], y, x)]
    written.flush()
    import_volume(flat, path, voxel_size_nm=voxel_size_nm, overwrite=True)
    flat.unlink()

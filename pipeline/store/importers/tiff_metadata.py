"""Voxel size of a TIFF stack: ImageJ and OME-TIFF say it, others do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile

from pipeline.errors import InputError
from pipeline.store.layout import Nanometres
from pipeline.store.units import HINT, nanometres_per, scale_to_nm

OME_DEFAULT_UNIT = "µm"


def stack_voxel_size(
    src: Path, tif: tifffile.TiffFile, given: tuple[float, ...] | None
) -> Nanometres:
    """The given voxel size, or that of the file: zyx, in nanometres.

    Raises
    ------
    InputError
        If there is none.
    """
    if given is not None:
        found = scale_to_nm(given, ("nm",) * len(given)) if len(given) == 3 else "not 3 numbers"
    elif tif.is_ome:
        found = _from_ome(tif)
    elif tif.is_imagej:
        found = _from_imagej(tif)
    else:
        found = "the TIFF has no voxel size"
    if isinstance(found, str):
        raise InputError(f"{src}: {found}; {HINT}")
    return found


def _from_ome(tif: tifffile.TiffFile) -> Nanometres | str:
    try:
        image = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
        pixels: dict[str, Any] = (image[0] if isinstance(image, list) else image)["Pixels"]
        scale = [float(pixels[f"PhysicalSize{axis}"]) for axis in "ZYX"]
    except (KeyError, TypeError, ValueError):
        return "its OME metadata has no PhysicalSizeZ, Y and X"
    units = [pixels.get(f"PhysicalSize{axis}Unit", OME_DEFAULT_UNIT) for axis in "ZYX"]
    return scale_to_nm(scale, units)


def _from_imagej(tif: tifffile.TiffFile) -> Nanometres | str:
    """Spacing of sections, and pixels a unit, of an ImageJ stack."""
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ")
    tags = tif.pages[0].tags
    try:
        spacing = float(metadata["spacing"])
        y, x = (_inverse(tags[name].value) for name in ("YResolution", "XResolution"))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return "its ImageJ metadata has no spacing and resolution"
    if nanometres_per(unit) is None:
        return f"its ImageJ metadata has no unit of length (unit {unit!r})"
    return scale_to_nm((spacing, y, x), (unit,) * 3)


def _inverse(fraction: tuple[int, int]) -> float:
    numerator, denominator = fraction
    return denominator / numerator

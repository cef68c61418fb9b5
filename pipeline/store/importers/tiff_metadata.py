"""Voxel size of a TIFF stack: ImageJ and OME-TIFF say it, others do not."""

from __future__ import annotations

from typing import Any

import tifffile

from pipeline.store.layout import Nanometres
from pipeline.store.units import nanometres_per, scale_to_nm

OME_DEFAULT_UNIT = "µm"


def voxel_size(tif: tifffile.TiffFile, image: int = 0) -> Nanometres | str:
    """Voxel size that a file states.

    Parameters
    ----------
    tif
        The file.
    image
        Number of the image, of an OME-TIFF with several.

    Returns
    -------
    voxel_size_nm
        zyx, in nanometres; or a sentence that says why there is none.
    """
    if tif.is_ome:
        return _from_ome(tif, image)
    if tif.is_imagej:
        return _from_imagej(tif)
    return "the TIFF has no voxel size"


def _from_ome(tif: tifffile.TiffFile, number: int) -> Nanometres | str:
    try:
        found = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
        images = found if isinstance(found, list) else [found]
        pixels: dict[str, Any] = images[number]["Pixels"]
        scale = [float(pixels[f"PhysicalSize{axis}"]) for axis in "ZYX"]
    except Exception:  # damaged XML makes the parser raise anything
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

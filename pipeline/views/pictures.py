"""Pictures of one reconstruction: a section, a cross-cut, and some neurons in 3D."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import UINT8_MAX
from pipeline.errors import InputError
from pipeline.views.colours import grey, outlined, painted
from pipeline.views.files import save_figure, save_picture
from pipeline.views.montage import Panel, montage
from pipeline.views.neurons_3d import neurons_figure
from pipeline.views.shrinking import shrink_factors, shrink_image, shrink_labels

AMBER = (255, 190, 40)
TITLES = {
    "raw": "Raw",
    "boundaries": "Boundary map, P(boundary)",
    "superpixels": "Superpixels",
    "neurons": "Neurons",
    "truth": "Ground truth",
}
IMAGES = ("raw", "boundaries")


def save_pictures(
    folder: Path,
    *,
    section: Mapping[str, NDArray[Any]],
    z: int,
    voxel_size_nm: tuple[float, float, float],
    cut: Mapping[str, NDArray[Any]] | None = None,
    neurons: NDArray[Any] | None = None,
    neurons_voxel_size_nm: tuple[float, float, float] | None = None,
) -> list[Path]:
    """Write ``raw.png``, ``boundaries.png`` ... and ``overview.png`` of a section.

    Parameters
    ----------
    folder
        Made if it is missing; pictures of the same name are replaced.
    section
        ``raw`` (Y, X) and any of ``boundaries`` (Y, X) uint8 0..255 = 0..1, ``superpixels``,
        ``neurons``, ``truth`` (Y, X) ids, 0 = background.
    z
        Number of the section, for the titles.
    voxel_size_nm
        zyx.
    cut
        The same names, each (Z, X): a plane across the sections, for ``overview_xz.png``.
    neurons
        (Z, Y, X) ids for ``neurons_3d.png``; a coarse level of the pyramid is enough.
    neurons_voxel_size_nm
        zyx voxel size of ``neurons``; ``None`` takes ``voxel_size_nm``.

    Returns
    -------
    paths
        Every file written. Sides over 2,048 pixels are shrunk: mean of images, nearest of ids.

    Raises
    ------
    InputError
        If a name is unknown, ``raw`` is missing, or shapes differ.
    """
    folder = Path(folder)
    panels = plane_panels(section)
    paths = [save_picture(folder / f"{name}.png", panel.picture) for name, panel in panels.items()]
    size_z, size_y, size_x = voxel_size_nm
    height, width = section["raw"].shape
    page = montage(list(panels.values()), (height * size_y, width * size_x), f"Section z = {z}")
    paths.append(save_figure(folder / "overview.png", page))
    if cut is not None:
        across = plane_panels(cut)
        depth, width = cut["raw"].shape
        page = montage(
            list(across.values()), (depth * size_z, width * size_x), "Cut across the sections (xz)"
        )
        paths.append(save_figure(folder / "overview_xz.png", page))
    if neurons is not None:
        page = neurons_figure(neurons, neurons_voxel_size_nm or voxel_size_nm)
        paths.append(save_figure(folder / "neurons_3d.png", page))
    return paths


def plane_panels(plane: Mapping[str, NDArray[Any]]) -> dict[str, Panel]:
    """The picture of every array of a plane, in the order of ``TITLES``.

    Parameters
    ----------
    plane
        As ``section`` of ``save_pictures``.

    Returns
    -------
    panels
        Name -> title and (rows, columns, 3) uint8 picture.
    """
    _check(plane)
    rows, columns = plane["raw"].shape
    factors = shrink_factors((rows, columns))
    shown = {
        name: shrink_image(array, factors) if name in IMAGES else shrink_labels(array, factors)
        for name, array in plane.items()
    }
    raw = grey(shown["raw"])
    return {
        name: Panel(title, _picture(name, shown[name], raw))
        for name, title in TITLES.items()
        if name in shown
    }


def _picture(name: str, array: NDArray[Any], raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How an array of this name is shown, over ``raw`` (Y, X, 3)."""
    if name == "raw":
        return raw
    if name == "boundaries":
        level = np.clip(np.rint(array), 0, UINT8_MAX).astype(np.uint8)
        return np.repeat(level[..., None], 3, axis=-1)
    if name == "superpixels":
        return outlined(raw, array, AMBER)
    return painted(raw, array)


def _check(plane: Mapping[str, NDArray[Any]]) -> None:
    """Refuse planes that cannot be shown, with the reason."""
    unknown = sorted(set(plane) - set(TITLES))
    if unknown or "raw" not in plane:
        raise InputError(
            f"pictures need raw and know {', '.join(TITLES)}; they were given {sorted(plane)}"
        )
    shapes = {name: array.shape for name, array in plane.items()}
    if len(set(shapes.values())) > 1 or len(plane["raw"].shape) != 2 or 0 in plane["raw"].shape:
        raise InputError(f"pictures need planes of one shape that is not empty, not {shapes}")

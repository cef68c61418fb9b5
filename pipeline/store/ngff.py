"""OME-NGFF metadata: reads 0.4 and 0.5, writes 0.5.

Source: https://ngff.openmicroscopy.org/0.5/ ; validated by ``ome_zarr_models``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ome_zarr_models.v04.multiscales import Multiscale as Multiscale04
from ome_zarr_models.v05.multiscales import Multiscale as Multiscale05
from pydantic import ValidationError

from pipeline.store.layout import AXES, Level, Nanometres
from pipeline.store.units import nanometres_per, scale_to_nm


@dataclass(frozen=True)
class LevelMetadata:
    """Where one level of an image lies.

    Parameters
    ----------
    path
        Of the array, relative to the group.
    voxel_size_nm
        zyx, in nanometres; or a sentence saying why it is unknown.
    translation_nm
        zyx, centre of the first voxel, in nanometres.
    """

    path: str
    voxel_size_nm: Nanometres | str
    translation_nm: Nanometres = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ImageMetadata:
    """Axes and levels of a multiscale image.

    Parameters
    ----------
    axes
        Names in the array's order; empty if the metadata is malformed.
    levels
        Finest first.
    """

    axes: tuple[str, ...]
    levels: tuple[LevelMetadata, ...]


def read_image_metadata(attributes: Mapping[str, Any]) -> ImageMetadata | None:
    """The first multiscale image in a group's attributes; ``None`` if there is none.

    Malformed metadata still gives the paths of the levels, with the reason in place of the
    voxel size, so that a voxel size given by hand is enough to use the volume.
    """
    ome = attributes.get("ome")
    model: type[Multiscale04] | type[Multiscale05] = Multiscale04
    found = attributes.get("multiscales")
    if isinstance(ome, dict) and "multiscales" in ome:
        model, found = Multiscale05, ome["multiscales"]
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = model.model_validate(found[0])
    except (ValidationError, ValueError) as error:
        return _paths_only(found[0], _first_reason(error))
    axes = tuple(str(axis.name) for axis in parsed.axes)
    units = [getattr(axis, "unit", None) for axis in parsed.axes]
    shared = parsed.coordinateTransformations or ()
    levels = tuple(
        _level(dataset.path, (dataset.coordinateTransformations, shared), axes, units)
        for dataset in parsed.datasets
    )
    return ImageMetadata(axes, levels)


def image_attributes(levels: Sequence[Level], name: str, method: str) -> dict[str, Any]:
    """The ``ome`` attribute of a multiscale image whose arrays are named 0, 1, ...

    Parameters
    ----------
    levels
        Finest first; only those that exist.
    name
        Of the image.
    method
        How levels were made: ``mean`` or ``mode``.
    """
    multiscale = {
        "name": name,
        "type": method,
        "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in AXES],
        "datasets": [
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(level.voxel_size_nm)},
                    {"type": "translation", "translation": list(level.translation_nm)},
                ],
            }
            for number, level in enumerate(levels)
        ],
    }
    return {"version": "0.5", "multiscales": [multiscale]}


def channel_window(label: str, low: float, high: float) -> dict[str, Any]:
    """An ``omero`` attribute: how viewers show the one grey channel."""
    window = {"min": low, "max": high, "start": low, "end": high}
    return {"channels": [{"label": label, "color": "FFFFFF", "active": True, "window": window}]}


def _level(
    path: str, stages: Sequence[Sequence[Any]], axes: Sequence[str], units: Sequence[object]
) -> LevelMetadata:
    """Apply the level's own transformations, then those of the whole image."""
    if len(axes) < len(AXES):
        return LevelMetadata(path, f"its metadata has {len(axes)} axes, so none for z")
    scale, translation = [1.0] * len(axes), [0.0] * len(axes)
    for transformation in (one for stage in stages for one in stage):
        kind = transformation.type
        vector = getattr(transformation, kind, None)
        if kind == "identity":
            continue
        if vector is None:
            return LevelMetadata(path, f"the {kind} of its level {path} is not in the metadata")
        if len(vector) != len(axes):
            return LevelMetadata(path, f"the {kind} of its level {path} is not one for each axis")
        if kind == "scale":
            scale = [s * v for s, v in zip(scale, vector, strict=True)]
            translation = [t * v for t, v in zip(translation, vector, strict=True)]
        else:
            translation = [t + v for t, v in zip(translation, vector, strict=True)]
    zyx = _zyx(axes)
    size = scale_to_nm([float(scale[n]) for n in zyx], [units[n] for n in zyx])
    if isinstance(size, str):
        return LevelMetadata(path, size)
    z, y, x = (float(translation[n]) * (nanometres_per(units[n]) or 1.0) for n in zyx)
    return LevelMetadata(path, size, (z, y, x))


def _zyx(axes: Sequence[str]) -> list[int]:
    """Which axes are z, y and x; the last three if their names do not say."""
    names = [name.lower() for name in axes]
    if set(AXES) <= set(names):
        return [names.index(axis) for axis in AXES]
    return list(range(len(names) - len(AXES), len(names)))


def _paths_only(multiscale: Mapping[str, Any], reason: str) -> ImageMetadata | None:
    datasets = multiscale.get("datasets")
    if not isinstance(datasets, list):
        return None
    paths = [entry.get("path") for entry in datasets if isinstance(entry, dict)]
    problem = f"its OME-Zarr metadata is malformed ({reason})"
    levels = tuple(LevelMetadata(path, problem) for path in paths if isinstance(path, str))
    return ImageMetadata((), levels) if levels else None


def _first_reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)

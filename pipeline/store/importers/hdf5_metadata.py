"""Axes and voxel size of an HDF5 dataset, as programs of the field write them.

- CREMI, funlib: ``resolution`` (or ``voxel_size``) zyx in nm, ``offset`` zyx in nm; ``units``
  where given.
- PlantSeg, Imaris exports: ``element_size_um`` zyx in µm.
- ilastik: ``axistags``, a JSON text with one key an axis.
- dimension labels of HDF5 itself.

Numbers are zyx whatever the order of the axes, as all of these write them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from pipeline.store.layout import Nanometres
from pipeline.store.units import nanometres_per, scale_to_nm

SIZES = (
    ("resolution", None),
    ("voxel_size", None),
    ("voxel_size_nm", "nm"),
    ("element_size_um", "µm"),
)
"""Attribute -> its unit, or ``None`` where another attribute says it."""
UNITS = ("units", "unit", "resolution_units")
OFFSET = "offset"
LETTERS = "zyxct"
NO_SIZE = "the HDF5 dataset has no attribute resolution, voxel_size or element_size_um"


def axes_of(dataset: Any) -> tuple[str, str]:
    """One letter an axis, slowest first, or ``""``; and what is wrong with what the file says."""
    tags = _attribute(dataset, "axistags")
    if tags is not None:
        try:
            keys = [str(axis["key"]).lower() for axis in json.loads(tags)["axes"]]
        except (KeyError, TypeError, ValueError, RecursionError):
            keys = []
        if _fit(keys, dataset):
            return "".join(keys), ""
        return (
            "",
            f"its axistags ({', '.join(keys) or 'unreadable'}) do not fit its shape: not used",
        )
    labels = [str(dimension.label).lower() for dimension in dataset.dims]
    return ("".join(labels), "") if _fit(labels, dataset) else ("", "")


def _fit(keys: list[str], dataset: Any) -> bool:
    return (
        len(keys) == dataset.ndim
        and all(len(key) == 1 and key in LETTERS for key in keys)
        and len(set(keys)) == len(keys)
    )


def place_of(dataset: Any, axes: str) -> tuple[Nanometres | str, Nanometres]:
    """Voxel size (or why it is unknown) and translation, zyx in nanometres."""
    for name, fixed in SIZES:
        for owner in _owners(dataset):
            value = _attribute(owner, name)
            if value is None:
                continue
            numbers = _numbers(value, dataset, axes)
            if numbers is None:
                return f"its attribute {name} is not 3 numbers ({_short(value)})", (0.0, 0.0, 0.0)
            units = (fixed,) * 3 if fixed else _units(owner, dataset, axes)
            return scale_to_nm(numbers, units), _translation(owner, dataset, axes, units)
    return NO_SIZE, (0.0, 0.0, 0.0)


def _owners(dataset: Any) -> Iterator[Any]:
    """The dataset, then the groups it lies in."""
    yield dataset
    name = dataset.name
    while name.strip("/"):
        name = name.rstrip("/").rpartition("/")[0] or "/"
        yield dataset.file[name]


def _attribute(owner: Any, name: str) -> Any:
    """An attribute; ``None`` if it is missing or cannot be read."""
    with suppress(Exception):
        value = owner.attrs[name]
        return value.decode() if isinstance(value, bytes) else value
    return None


def _numbers(value: Any, dataset: Any, axes: str) -> list[float] | None:
    """Three numbers zyx; of an attribute with one for every axis, those of z, y, x."""
    try:
        found = np.asarray(value, float).ravel().tolist()
    except (TypeError, ValueError):
        return None
    return _spatial(found, dataset, axes)


def _spatial(values: list[Any], dataset: Any, axes: str) -> list[Any] | None:
    if len(values) == dataset.ndim > 3:
        values = [values[axes.index(letter)] for letter in "zyx" if letter in axes]
    return values if len(values) == 3 else None


def _units(owner: Any, dataset: Any, axes: str) -> tuple[Any, ...]:
    """zyx; ``None`` where the file says nothing."""
    for name in UNITS:
        value = _attribute(owner, name)
        if value is None:
            continue
        if isinstance(value, str):
            return (value,) * 3
        texts = [v.decode() if isinstance(v, bytes) else v for v in np.ravel(value).tolist()]
        return tuple(_spatial(texts, dataset, axes) or (str(value),) * 3)
    return (None,) * 3


def _translation(owner: Any, dataset: Any, axes: str, units: tuple[Any, ...]) -> Nanometres:
    """The ``offset`` in the voxel size's units; 0 if there is none that can be read."""
    numbers = _numbers(_attribute(owner, OFFSET), dataset, axes) or [0.0] * 3
    if not np.all(np.isfinite(numbers)):
        return 0.0, 0.0, 0.0
    factors = [nanometres_per(unit) or 1.0 for unit in units]
    z, y, x = (float(n * f) for n, f in zip(numbers, factors, strict=True))
    return z, y, x


def _short(value: Any) -> str:
    return " ".join(str(value).split())[:60]

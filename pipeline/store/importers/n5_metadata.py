"""Axes and voxel size of N5 arrays, as programs of the field write them.

- Paintera, Java programs: ``resolution`` xyz and ``offset`` xyz (nm, or ``units``).
- N5 Viewer, BigDataViewer exports: ``pixelResolution`` xyz with ``unit``, and
  ``downsamplingFactors`` xyz of every scale (or ``scales`` of the group).
- COSEM: ``transform`` with ``axes``, ``scale``, ``translate``, ``units``, in an order it names.
"""

from __future__ import annotations

import math
from typing import Any

from pipeline.store.importers.n5_contents import Node, Scales
from pipeline.store.layout import AXES, Nanometres
from pipeline.store.units import nanometres_per, scale_to_nm

LETTERS = "zyxct"
ORIGIN: Nanometres = (0.0, 0.0, 0.0)
NO_SIZE = "the N5 attributes give no resolution or pixelResolution"
READ_REVERSED = "attribute {name} was read in N5's order x, y, z"

Place = tuple[Nanometres | str, Nanometres, str]
"""Voxel size or why it is unknown, translation, and a note on how it was read."""


def axes_of(node: Node, count: int) -> str:
    """One letter an axis, slowest first; ``""`` if it is not said."""
    named = node.attributes.get("axes")
    if isinstance(named, list) and len(named) == count:
        letters = "".join(str(name).lower() for name in reversed(named))
        if len(letters) == count == len(set(letters)) and set(letters) <= set(LETTERS):
            return letters
    return "".join(AXES) if count == len(AXES) else ""


def place_of(node: Node, scales: Scales | None, axes: str) -> Place:
    """Voxel size and translation of an array.

    Parameters
    ----------
    node
        The array.
    scales
        The scales it belongs to, if any: what the group or ``s0`` says holds for the finest.
    axes
        Its axes, slowest first, or ``""``.
    """
    own = _transform(node)
    if own is not None:
        return own
    if scales is None:
        return _base(node, axes) or (NO_SIZE, ORIGIN, "")
    base = _base(scales.nodes[0], axes) or _base(scales.group, axes)
    if base is None:
        return _base(node, axes) or (NO_SIZE, ORIGIN, "")
    size, translation, note = base
    level = scales.nodes.index(node)
    factors = _factors(node, scales, level)
    if isinstance(size, str) or level == 0:
        return base
    if factors is None:
        return f"level {level} gives no downsamplingFactors", ORIGIN, ""
    z, y, x = (s * f for s, f in zip(size, factors, strict=True))
    shift = [t + s * (f - 1) / 2 for t, s, f in zip(translation, size, factors, strict=True)]
    return (z, y, x), (shift[0], shift[1], shift[2]), note


def _factors(node: Node, scales: Scales, level: int) -> list[float] | None:
    """Voxels of the finest level along z, y, x that make one."""
    listed = scales.group.attributes.get("scales")
    from_group = listed[level] if isinstance(listed, list) and level < len(listed) else None
    for value in (node.attributes.get("downsamplingFactors"), from_group):
        numbers = _numbers(value)
        if numbers is not None and all(0 < n < math.inf for n in numbers):
            return numbers[::-1]
    return None


def _base(node: Node, axes: str) -> Place | None:
    """What one node says, turned from N5's order to zyx."""
    attributes = node.attributes
    for name in ("pixelResolution", "resolution"):
        value = attributes.get(name)
        if value is None:
            continue
        unit = value.get("unit") if isinstance(value, dict) else None
        listed = value.get("dimensions") if isinstance(value, dict) else value
        numbers = _spatial(_numbers(listed, None), axes)
        if numbers is None:
            return f"its attribute {name} is not 3 numbers ({str(value)[:60]})", ORIGIN, ""
        units = [unit] * 3 if unit else _units(attributes, axes)
        size = scale_to_nm(numbers, units)
        offset = _spatial(_numbers(attributes.get("offset"), None), axes) or [0.0] * 3
        z, y, x = (o * (nanometres_per(u) or 1.0) for o, u in zip(offset, units, strict=True))
        note = READ_REVERSED.format(name=name) if len(set(numbers)) > 1 else ""
        return size, (z, y, x), note
    return None


def _transform(node: Node) -> Place | None:
    """COSEM's, which names its axes."""
    value = node.attributes.get("transform")
    if not isinstance(value, dict):
        return None
    names = value.get("axes")
    if not isinstance(names, list) or sorted(map(str, names)) != sorted(AXES):
        return None
    order = [names.index(axis) for axis in AXES]
    scale, shift = _numbers(value.get("scale")), _numbers(value.get("translate")) or [0.0] * 3
    units = value.get("units")
    if scale is None or not isinstance(units, list) or len(units) != 3:
        return None
    turned = [units[i] for i in order]
    z, y, x = (shift[i] * (nanometres_per(units[i]) or 1.0) for i in order)
    return scale_to_nm([scale[i] for i in order], turned), (z, y, x), ""


def _numbers(value: Any, count: int | None = 3) -> list[float] | None:
    """Finite numbers of a list."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        return None
    plain = all(type(n) in (int, float) and math.isfinite(n) for n in value)
    return [float(n) for n in value] if plain else None


def _spatial(values: list[Any] | None, axes: str) -> list[Any] | None:
    """Values in N5's order as zyx; of one for every axis, those of z, y, x."""
    if values is None:
        return None
    turned = values[::-1]
    if len(turned) == len(axes) > len(AXES):
        turned = [turned[axes.index(letter)] for letter in AXES if letter in axes]
    return turned if len(turned) == len(AXES) else None


def _units(attributes: Any, axes: str) -> list[Any]:
    """zyx; ``None`` where the attributes say nothing."""
    for name in ("units", "unit"):
        value = attributes.get(name)
        if isinstance(value, str):
            return [value] * 3
        if isinstance(value, list):
            return _spatial(value, axes) or [str(value)] * 3
    return [None] * 3

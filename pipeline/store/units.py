"""Units of length, and when a bare number may be taken for a voxel size in nanometres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NANOMETRES = {
    "angstrom": 0.1,
    "å": 0.1,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "nm": 1.0,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "um": 1e3,
    "µm": 1e3,
    "μm": 1e3,
    "millimeter": 1e6,
    "millimetre": 1e6,
    "mm": 1e6,
    "centimeter": 1e7,
    "cm": 1e7,
    "meter": 1e9,
    "metre": 1e9,
    "m": 1e9,
}
"""Unit, lower case -> its length in nanometres."""

PLAUSIBLE_NM = (2.0, 200.0)
"""Voxel edges of EM volumes; a number without a unit is read as nanometres within them."""

POSSIBLE_NM = (0.1, 1e5)
"""Voxel edges that metadata may state with a unit; others come of a wrong unit."""

HINT = "give the voxel size with --voxel-size Z,Y,X in nm"


def nanometres_per(unit: object) -> float | None:
    """Length of a unit in nanometres; ``None`` if it is not a known unit of length.

    >>> nanometres_per("Micrometer")
    1000.0
    """
    return NANOMETRES.get(unit.strip().lower()) if isinstance(unit, str) else None


def is_plausible_nm(sizes: Iterable[float]) -> bool:
    """Whether numbers without a unit can be trusted to be nanometres."""
    low, high = PLAUSIBLE_NM
    return all(low <= size <= high for size in sizes)


def scale_to_nm(
    scale: Sequence[float], units: Sequence[object]
) -> tuple[float, float, float] | str:
    """Voxel size in nanometres from numbers and their units, or why there is none.

    Parameters
    ----------
    scale
        zyx, in ``units``.
    units
        zyx; ``None`` where the unit is missing.

    Returns
    -------
    voxel_size_nm
        zyx, in nanometres; or a sentence saying what is wrong: an edge that is not positive, no
        unit, one that is not of length (pixel, inch, degree), or an edge outside
        ``POSSIBLE_NM``.
    """
    if len(scale) != 3 or len(units) != 3:
        return f"its voxel size {_show(scale)} is not one of z, y, x"
    if any(not 0 < size < float("inf") for size in scale):
        return f"its voxel size {_show(scale)} is not positive and finite"
    missing = [unit is None or unit == "" for unit in units]
    if all(missing):
        if is_plausible_nm(scale):
            return _triple(scale)
        low, high = PLAUSIBLE_NM
        return (
            f"its voxel size {_show(scale)} has no unit, and is taken for nm only if every "
            f"edge lies in {low:g} to {high:g}"
        )
    factors = [nanometres_per(unit) for unit in units]
    known = [factor for factor in factors if factor is not None]
    if len(known) < len(factors):
        named = ", ".join(str(unit) for unit in units)
        return f"its voxel size has a missing or unknown unit (z, y, x: {named})"
    sizes = [size * factor for size, factor in zip(scale, known, strict=True)]
    low, high = POSSIBLE_NM
    # a hundred millionth of room: .00000001 cm is not quite .1 nm
    if any(not low * (1 - 1e-8) <= size <= high * (1 + 1e-8) for size in sizes):
        named = ", ".join(str(unit) for unit in units)
        return (
            f"its voxel size {_show(scale)} ({named}) is {_show(sizes)} nm, outside {low:g} to "
            f"{high:g} nm, so the unit is probably wrong"
        )
    return _triple(sizes)


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    z, y, x = (float(value) for value in values)
    return z, y, x


def _show(values: Iterable[float]) -> str:
    return ",".join(f"{value:g}" for value in values)

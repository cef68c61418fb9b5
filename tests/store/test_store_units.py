"""Voxel sizes with and without units: taken, or refused with the reason."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.units import POSSIBLE_NM, nanometres_per, scale_to_nm


@pytest.mark.parametrize(
    ("scale", "unit", "expected"),
    [
        ((40, 4, 4), "nm", (40, 4, 4)),
        ((0.04, 0.004, 0.004), " Micrometer ", (40, 4, 4)),
        ((4e-8, 4e-9, 4e-9), "m", (40, 4, 4)),
        ((400, 40, 40), "angstrom", (40, 4, 4)),
        ((1e-8, 1e-8, 1e-8), "cm", (0.1, 0.1, 0.1)),
        ((40, 4, 4), None, (40, 4, 4)),
    ],
)
def test_lengths_become_nanometres(
    scale: tuple[float, ...], unit: str | None, expected: tuple[float, ...]
) -> None:
    assert scale_to_nm(scale, (unit,) * 3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scale", "unit", "says"),
    [
        ((4, 4, 4), "m", "4e+09,4e+09,4e+09 nm, outside 0.1 to 100000 nm, so the unit is probably"),
        ((40, 1e-9, 4), "nm", "outside 0.1 to 100000 nm"),
        ((40, 4, 4), "pixel", "missing or unknown unit (z, y, x: pixel, pixel, pixel)"),
        ((40, 4, 4), "px", "unknown unit"),
        ((40, 4, 4), "inch", "unknown unit"),
        ((40, 4, 4), "degree", "unknown unit"),
        ((1, 1, 1), None, "has no unit"),
        ((0, 4, 4), "nm", "not positive and finite"),
        ((-40, 4, 4), "nm", "not positive and finite"),
        ((math.nan, 4, 4), "nm", "not positive and finite"),
        ((math.inf, 4, 4), "nm", "not positive and finite"),
        ((4, 4), "nm", "is not one of z, y, x"),
    ],
)
def test_nonsense_is_refused_with_the_reason(
    scale: tuple[float, ...], unit: str | None, says: str
) -> None:
    found = scale_to_nm(scale, (unit,) * len(scale))
    assert isinstance(found, str)
    assert says in found


def test_one_axis_without_a_unit_is_not_guessed() -> None:
    assert "missing or unknown unit" in str(scale_to_nm((40, 4, 4), (None, "nm", "nm")))


@given(
    st.lists(st.floats(), min_size=3, max_size=3),
    st.lists(st.sampled_from(["nm", "um", "m", "å", "pixel", "", None, 3]), min_size=3, max_size=3),
)
def test_whatever_metadata_say_the_size_is_possible_or_a_sentence(
    scale: list[float], units: list[object]
) -> None:
    found = scale_to_nm(scale, units)
    if isinstance(found, str):
        assert found.startswith("its voxel size")
    else:
        low, high = POSSIBLE_NM
        assert all(low * 0.999 <= size <= high * 1.001 for size in found)


def test_units_are_no_case() -> None:
    assert nanometres_per("NM") == 1
    assert nanometres_per(1) is None

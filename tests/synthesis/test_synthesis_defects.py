"""Defects put into a stack are those that they are called, where they are put."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pipeline.synthesis import defects

RAW = np.random.default_rng(0).integers(60, 180, (5, 20, 24)).astype(np.uint8)
Z = 2


def changed_sections(before: Any, after: Any) -> list[int]:
    return [z for z in range(len(before)) if not np.array_equal(before[z], after[z])]


IN_ONE_SECTION: dict[str, Callable[[Any], Any]] = {
    "constant": lambda raw: defects.constant(raw, Z, 90),
    "missing": lambda raw: defects.missing(raw, Z),
    "saturated": lambda raw: defects.saturated(raw, Z),
    "duplicated": lambda raw: defects.duplicated(raw, Z, np.random.default_rng(1)),
    "noise": lambda raw: defects.noise_only(raw, Z, np.random.default_rng(1)),
    "jumped": lambda raw: defects.jumped(raw, Z, 0.5, 0.1),
    "slipped": lambda raw: defects.slipped(raw, Z, (3, -2), lasting=False),
}


@pytest.mark.parametrize("defect", IN_ONE_SECTION.values(), ids=IN_ONE_SECTION.keys())
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_only_the_section_changes_and_the_given_stack_does_not(defect: Any, dtype: Any) -> None:
    raw = RAW.astype(dtype)
    before = raw.copy()
    found = defect(raw)
    assert changed_sections(raw, found) == [Z]
    assert found.dtype == raw.dtype
    assert_array_equal(raw, before)


def test_inverting_twice_gives_the_stack_again() -> None:
    once = defects.inverted(RAW)
    assert once[0, 0, 0] == 255 - RAW[0, 0, 0]
    assert_array_equal(defects.inverted(once), RAW)


def test_a_border_is_black_or_white_and_the_rest_stays() -> None:
    for white, grey in ((False, 0), (True, 255)):
        found = defects.padded(RAW, 4, white=white)
        assert_array_equal(found[:, 4:-4, 4:-4], RAW[:, 4:-4, 4:-4])
        for border in (found[:, :4], found[:, -4:], found[:, :, :4], found[:, :, -4:]):
            assert (border == grey).all()


def test_the_wanted_share_of_a_saturated_section_is_white() -> None:
    found = defects.saturated(RAW, Z, 0.7)[Z]
    assert abs((found == 255).mean() - 0.7) < 0.02
    assert found.min() < 255


def test_a_duplicate_is_the_section_below_but_for_little_noise() -> None:
    found = defects.duplicated(RAW, Z, np.random.default_rng(1))[Z].astype(float)
    assert 0 < np.abs(found - RAW[Z - 1]).mean() < 5


def test_a_jump_changes_brightness_and_contrast() -> None:
    found = defects.jumped(RAW, Z, 0.5, 0.2)[Z]
    assert abs(found.mean() - RAW[Z].mean() - 51) < 1
    assert abs(found.std() / RAW[Z].std() - 0.5) < 0.02


def test_a_drift_is_as_far_up_at_the_end_as_down_at_the_begin() -> None:
    shift = (defects.drifted(RAW, 1.0, 0.1).astype(float) - RAW).mean((1, 2))
    np.testing.assert_allclose(shift, [-25.5, -12.75, 0, 12.75, 25.5], atol=0.5)


def test_what_slips_comes_to_its_place_plus_the_shift() -> None:
    for lasting, sections in ((False, [Z]), (True, [2, 3, 4])):
        found = defects.slipped(RAW, Z, (3, -2), lasting=lasting)
        assert changed_sections(RAW, found) == sections
        assert_array_equal(found[sections, 3:, :-2], RAW[sections, :-3, 2:])
        assert_array_equal(found[Z, 2, :-2], RAW[Z, 1, 2:])  # the mirror image comes in
    labels = defects.slipped(RAW, Z, (-3, 2), lasting=True, fill="zero")
    assert_array_equal(labels[Z:, :-3, 2:], RAW[Z:, 3:, :-2])
    assert not labels[Z:, -3:].any()
    assert not labels[Z:, :, :2].any()

"""The table of sections does not depend on how the volume is cut or stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from section_stacks import CUBIC_NM, FLAT_NM, flat, sample, sections_by_blocks, sections_of

from pipeline.contract import Table
from pipeline.synthesis import defects


def assert_equal_tables(found: Table, expected: Table) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert_array_equal(found[name], values, err_msg=name)


def with_defects(raw: Any) -> Any:
    rng = np.random.default_rng(5)
    changed = defects.padded(defects.slipped(raw, 6, (20, -17), lasting=True), 9)
    return defects.jumped(defects.noise_only(defects.missing(changed, 3), 2, rng), 5, 0.5, 0.1)


@pytest.mark.parametrize(
    "block_shape", [(9, 192, 200), (2, 64, 64), (4, 50, 77), (1, 192, 13)], ids=str
)
def test_flat_sections_in_blocks_give_the_table_of_the_whole(block_shape: Any) -> None:
    raw = with_defects(flat())
    expected = sections_of(raw, FLAT_NM)
    assert set(expected["state"]) >= {0, 1, 2}
    assert expected["place"].any()
    assert_equal_tables(sections_by_blocks(raw, FLAT_NM, block_shape), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_isotropic_volume_in_blocks_gives_the_table_of_the_whole(dtype: type) -> None:
    raw = with_defects(sample().astype(dtype) * dtype(3 if dtype != np.uint8 else 1))
    expected = sections_of(raw)
    assert_equal_tables(sections_by_blocks(raw, CUBIC_NM, (7, 61, 100)), expected)


def test_the_order_of_the_blocks_changes_nothing() -> None:
    raw = with_defects(sample()[:8])
    expected = sections_by_blocks(raw, CUBIC_NM, (3, 64, 64))
    rng = np.random.default_rng(0)
    shuffled = sections_by_blocks(
        raw, CUBIC_NM, (3, 64, 64), lambda found: [found[i] for i in rng.permutation(len(found))]
    )
    assert_equal_tables(shuffled, expected)


@pytest.mark.parametrize("shape", [(1, 40, 40), (3, 2, 1), (2, 5, 300), (5, 30, 17)], ids=str)
def test_volumes_smaller_than_a_bin_or_a_window_are_left_alone(shape: Any) -> None:
    raw = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    raw.flat[:2] = 0, 255
    whole = sections_of(raw, FLAT_NM)
    assert whole["state"].max() == 0
    assert_equal_tables(sections_by_blocks(raw, FLAT_NM, (2, 4, 9)), whole)


SHIFTED = ("low", "high", "mean")


@settings(max_examples=8, deadline=None)
@examples(grey=st.integers(-30, 40), defect=st.booleans())
def test_a_constant_added_to_all_grey_values_moves_the_range_and_nothing_else(
    grey: int, defect: bool
) -> None:
    raw = np.clip(sample()[:8], 40, 210)
    raw = defects.jumped(raw, 4, 0.5, 0.0) if defect else raw
    before, after = sections_of(raw), sections_of((raw.astype(int) + grey).astype(np.uint8))
    assert before["drift"].any() == defect
    for name, values in before.items():
        expected = values + grey if name in SHIFTED else values
        np.testing.assert_allclose(after[name], expected, atol=1e-9, err_msg=name)


def test_the_input_is_not_changed() -> None:
    raw = with_defects(sample()[:8])
    before = raw.copy()
    sections_of(raw)
    assert_array_equal(raw, before)

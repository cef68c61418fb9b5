"""What is done about sections with defects, known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from defective_sections import corrected, corrections_of, slow_columns, slow_steps
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pipeline.corrections import Corrections, Link
from pipeline.normalisation import normalise


def test_without_defects_one_link_joins_all_sections_and_nothing_is_bridged() -> None:
    none = Corrections.none(5, 10, 20)
    raw = np.arange(5 * 2 * 2).reshape(5, 2, 2)
    assert none.links == (Link(0, 4, (1, 0, 0)),)
    assert none.reach == 0
    assert none.bridged(raw, 0) is raw
    assert Corrections.none(1, 10, 20).links == ()


def test_a_gap_is_linked_through_what_stands_in_it_and_across() -> None:
    found = corrected(6, bad=[2, 3])
    assert found.source.tolist() == [0, 1, 1, 4, 4, 5]
    assert found.reach == 1
    assert found.links == (Link(0, 5, (1, 0, 0)), Link(1, 2, (3, 0, 0)))


def test_bad_sections_at_both_ends_are_bridged_and_no_gap() -> None:
    found = corrected(5, bad=[0, 1, 4])
    assert found.source.tolist() == [2, 2, 2, 3, 3]
    assert found.reach == 2
    assert found.links == (Link(0, 4, (1, 0, 0)),)


def test_a_section_that_is_bad_but_not_bridged_is_linked_like_any_other() -> None:
    assert corrected(4).links == (Link(0, 3, (1, 0, 0)),)


def test_where_the_stack_slips_a_link_leads_aside_and_a_gap_takes_the_place_of_its_source() -> None:
    found = corrected(6, bad=[3], slips={2: (4, -1), 3: (0, 7)})
    assert found.place.tolist() == [[0, 0], [0, 0], [4, -1], [4, 6], [4, 6], [4, 6]]
    assert found.links == (
        Link(0, 1, (1, 0, 0)),
        Link(1, 2, (1, 4, -1)),
        Link(2, 3, (1, 0, 0)),  # section 2 stands in the place of 3
        Link(3, 4, (1, 0, 7)),
        Link(4, 5, (1, 0, 0)),
        Link(2, 3, (2, 0, 7)),
    )


@given(corrections=st.integers(1, 9).flatmap(corrections_of))
def test_links_are_those_of_the_definition_section_by_section(corrections: Corrections) -> None:
    steps = [(z, link.step) for link in corrections.links for z in range(link.begin, link.end)]
    assert sorted(steps) == sorted(slow_steps(corrections))
    over = [(z, li.step) for li in corrections.links_over(2) for z in range(li.begin, li.end)]
    assert over == slow_columns(corrections, 2)


@given(
    corrections=st.integers(1, 9).flatmap(corrections_of),
    begin=st.integers(0, 8),
    length=st.integers(1, 9),
)
def test_a_part_read_as_far_as_the_reach_is_bridged_as_the_whole(
    corrections: Corrections, begin: int, length: int
) -> None:
    depth = len(corrections.source)
    begin, end = min(begin, depth - 1), min(begin + length, depth)
    raw = np.arange(depth).reshape(-1, 1, 1)
    low, high = max(begin - corrections.reach, 0), min(end + corrections.reach, depth)
    part = corrections.bridged(raw[low:high], low)[begin - low : end - low]
    assert part.ravel().tolist() == corrections.source[begin:end].tolist()
    assert raw.ravel().tolist() == list(range(depth))


def test_every_section_is_normalised_by_the_range_of_that_in_its_place() -> None:
    low, high = np.array([0.0, 100.0, 9.0]), np.array([10.0, 50.0, 9.5])
    found = Corrections(low, high, np.array([0, 1, 1]), np.zeros((3, 2), np.int64))
    raw = np.array([[[5, 20]], [[100, 75]], [[50, 40]]], np.uint16)
    grey = found.normalise(raw, np.arange(3))
    assert grey.dtype == np.float32
    assert grey.tolist() == [[[0.5, 1.0]], [[0.0, 0.5]], [[1.0, 1.0]]]
    assert found.normalise(raw[[0, 2]], np.array([0, 2])).tolist() == grey[[0, 2]].tolist()
    along = found.normalise(np.moveaxis(raw, 0, 1), np.arange(3), 1)
    assert_array_equal(np.moveaxis(along, 1, 0), grey)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_without_defects_grey_values_are_normalised_as_those_of_training(dtype: type) -> None:
    raw = np.random.default_rng(0).uniform(0, 255, (4, 9, 11)).astype(dtype)
    low, high = 13.7, 201.3
    grey = Corrections.none(4, low, high).normalise(raw, np.arange(4))
    single = np.float32(low), np.float32(high)
    expected = np.clip((raw.astype(np.float32) - single[0]) / (single[1] - single[0]), 0, 1)
    assert_array_equal(grey, expected)
    assert_array_equal(normalise(raw, {"low": np.array([low]), "high": np.array([high])}), grey)


def test_grey_values_are_not_changed_in_place() -> None:
    raw = np.random.default_rng(0).normal(0, 1, (3, 4, 5)).astype(np.float32)
    before = raw.copy()
    found = corrected(3, bad=[1], high=1.0)
    found.normalise(found.bridged(raw, 0), np.arange(3))
    assert_array_equal(raw, before)


def test_the_table_holds_all_of_it() -> None:
    found = corrected(6, bad=[3], slips={2: (4, -1)})
    again = Corrections.of(found.table())
    assert again.links == found.links
    assert again.source.tolist() == found.source.tolist()
    assert (again.low.tolist(), again.high.tolist()) == (found.low.tolist(), found.high.tolist())

"""Each defect, put into a stack, is found in the right section, with the right numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from section_stacks import CUBIC_NM, FLAT_NM, PERCENTILES, flat, sample, sections_of

from pipeline.contract import Table, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.errors import ConfigError
from pipeline.normalisation import percentiles
from pipeline.sections.config import SectionsConfig
from pipeline.sections.report import describe
from pipeline.sections.states import State
from pipeline.synthesis import defects

STACKS = pytest.mark.parametrize(
    ("stack", "voxel_size_nm"), [(flat, FLAT_NM), (sample, CUBIC_NM)], ids=["flat", "isotropic"]
)
Z = 5


def assert_uncorrected(table: Table, low: float, high: float) -> None:
    expected = Corrections.none(len(table["low"]), low, high)
    for name, values in expected.table().items():
        assert_array_equal(table[name], values, err_msg=name)


@STACKS
def test_a_stack_without_defects_keeps_the_range_of_the_volume(
    stack: Any, voxel_size_nm: Any
) -> None:
    table = sections_of(stack(), voxel_size_nm)
    assert_uncorrected(table, *percentiles(stack(), PERCENTILES))
    assert not table["state"].any()
    assert not table["slip"].any()
    assert not table["drift"].any()
    assert describe(table) == []


@STACKS
def test_inverted_contrast_swaps_black_and_white(stack: Any, voxel_size_nm: Any) -> None:
    raw = defects.inverted(stack())
    table = sections_of(raw, voxel_size_nm)
    low, high = percentiles(raw, PERCENTILES)
    assert_uncorrected(table, high, low)
    assert describe(table) == [
        "contrast is inverted (bright membranes): grey values are turned round"
    ]
    assert_uncorrected(sections_of(raw, voxel_size_nm, contrast="dark_membranes"), low, high)


@STACKS
def test_a_normalised_section_is_the_same_whether_contrast_is_inverted_or_not(
    stack: Any, voxel_size_nm: Any
) -> None:
    raw = stack()
    grey = [
        Corrections.of(sections_of(given, voxel_size_nm)).normalise(given, np.arange(len(given)))
        for given in (raw, defects.inverted(raw))
    ]
    # both percentiles are the lowest grey value that reaches them, which is not symmetric
    np.testing.assert_allclose(grey[0], grey[1], atol=0.02)


@STACKS
@pytest.mark.parametrize("grey", [0, 255, 130])
def test_an_empty_section_is_bridged_and_leaves_the_range_alone(
    stack: Any, voxel_size_nm: Any, grey: int
) -> None:
    raw = defects.constant(stack(), Z, grey)
    table = sections_of(raw, voxel_size_nm)
    assert np.flatnonzero(table["state"]).tolist() == [Z]
    assert table["state"][Z] == State.EMPTY
    assert table["source"].tolist() == [z if z != Z else Z - 1 for z in range(len(raw))]
    others = percentiles(np.delete(raw, Z, 0), PERCENTILES)
    assert (table["low"][0], table["high"][0]) == others
    assert describe(table) == ["section 5 is empty: bridged by 4"]


@STACKS
@pytest.mark.parametrize("kind", ["saturated", "noise"])
def test_a_section_without_its_content_is_damaged_and_bridged(
    stack: Any, voxel_size_nm: Any, kind: str
) -> None:
    rng = np.random.default_rng(1)
    raw = stack()
    raw = defects.saturated(raw, Z) if kind == "saturated" else defects.noise_only(raw, Z, rng)
    table = sections_of(raw, voxel_size_nm)
    assert np.flatnonzero(table["state"]).tolist() == [Z]
    assert (table["state"][Z], table["source"][Z]) == (State.DAMAGED, Z - 1)


@STACKS
def test_a_duplicate_is_reported_and_kept(stack: Any, voxel_size_nm: Any) -> None:
    raw = defects.duplicated(stack(), Z, np.random.default_rng(2))
    table = sections_of(raw, voxel_size_nm)
    assert np.flatnonzero(table["state"]).tolist() == [Z]
    assert (table["state"][Z], table["source"][Z]) == (State.DUPLICATE, Z)
    assert describe(table) == ["sections 4 and 5 are near duplicates: kept"]


@STACKS
def test_a_section_of_other_contrast_gets_a_range_of_its_own(
    stack: Any, voxel_size_nm: Any
) -> None:
    raw = stack()
    table = sections_of(defects.jumped(raw, Z, 0.5, 0.15), voxel_size_nm)
    assert np.flatnonzero(table["drift"]).tolist() == [Z]
    mean = raw[Z].mean()
    low, high = table["low"][0], table["high"][0]
    expected = [mean + 0.5 * (grey - mean) + 0.15 * 255 for grey in (low, high)]
    width = high - low
    np.testing.assert_allclose([table["low"][Z], table["high"][Z]], expected, atol=0.05 * width)
    assert (table["low"][Z - 1], table["high"][Z + 1]) == (low, high)
    left = sections_of(defects.jumped(raw, Z, 0.5, 0.15), voxel_size_nm, drift="ignore")
    assert len({*left["low"]}) == 1


def test_a_darker_section_is_found_though_its_black_is_clipped() -> None:
    table = sections_of(defects.jumped(sample(), Z, 1.0, -0.35))
    assert np.flatnonzero(table["drift"]).tolist() == [Z]
    shift = table["low"][Z] - table["low"][0]
    assert abs(shift + 0.35 * 255) < 6


def test_brightness_that_drifts_along_the_stack_is_levelled() -> None:
    raw = sample()
    drifting = defects.drifted(raw, 1.0, 0.2)
    table = sections_of(drifting)
    ends = [0, 1, len(raw) - 2, len(raw) - 1]
    assert table["drift"][ends].all()
    levelled = Corrections.of(table).normalise(drifting, np.arange(len(raw)))[ends].mean((1, 2))
    assert np.ptp(levelled) < 0.1
    same = Corrections.none(len(raw), *percentiles(drifting, PERCENTILES))
    assert np.ptp(same.normalise(drifting, np.arange(len(raw)))[ends].mean((1, 2))) > 0.3


def test_other_tissue_is_not_taken_for_other_grey_values() -> None:
    raw = sample().copy()
    raw[Z, 60:] = 205 + raw[Z, 60:] // 10  # most of the section is bright and flat, as resin
    table = sections_of(raw)
    assert not table["drift"].any()


def test_padding_is_left_out_of_the_range_and_is_no_defect() -> None:
    raw = sample()
    for white in (False, True):
        table = sections_of(defects.padded(raw, 25, white=white))
        assert not table["state"].any()
        expected = percentiles(raw[:, 25:-25, 25:-25], PERCENTILES)
        np.testing.assert_allclose((table["low"][0], table["high"][0]), expected, atol=2)


@pytest.mark.parametrize("lasting", [True, False])
def test_a_slip_is_followed_in_flat_sections(lasting: bool) -> None:
    shift = np.array([24, -17])
    raw = defects.slipped(flat(), Z, (24, -17), lasting=lasting)
    table = sections_of(raw, FLAT_NM)
    assert np.abs(table["slip"][Z] - shift).max() <= 3
    places = table["place"]
    assert not places[:Z].any()
    assert np.abs(places[Z] - shift).max() <= 3
    back = places[Z + 1 :] - (places[Z] if lasting else 0)
    assert not back.any()
    assert not sections_of(raw, FLAT_NM, slips="ignore")["place"].any()


def test_a_slip_across_an_empty_section_is_seen_by_the_next_one() -> None:
    raw = defects.missing(defects.slipped(flat(), Z, (24, -17), lasting=True), Z)
    table = sections_of(raw, FLAT_NM)
    assert table["source"][Z] == Z - 1
    assert not table["place"][: Z + 1].any()
    assert np.abs(table["place"][Z + 1 :] - [24, -17]).max() <= 4


def test_a_slip_of_an_isotropic_volume_is_only_reported() -> None:
    table = sections_of(defects.slipped(sample(), Z, (10, -8), lasting=True))
    assert np.abs(table["slip"][Z] - [10, -8]).max() <= 1
    assert not table["place"].any()
    (sentence,) = describe(table)
    assert sentence.endswith("not followed")


def test_sections_that_the_user_excludes_are_bridged() -> None:
    table = sections_of(flat(), FLAT_NM, bad=(0, 3))
    assert table["state"][[0, 3]].tolist() == [State.EXCLUDED] * 2
    assert table["source"][[0, 3]].tolist() == [1, 2]
    kept = sections_of(flat(), FLAT_NM, bad=(0, 3), bridge=False)
    assert kept["source"].tolist() == list(range(len(flat())))


def test_a_section_that_is_excluded_but_not_there_is_an_error() -> None:
    volume = VolumeInfo((4, 9, 9), FLAT_NM, "uint8")
    with pytest.raises(ConfigError, match=r"sections.bad = \[2, 7\].*4 sections, 0 to 3; 7"):
        SectionsConfig(bad=(2, 7)).resolved(volume)
    with pytest.raises(ConfigError, match="every section"):
        SectionsConfig(bad=(0, 1, 2, 3)).resolved(volume)


def test_several_defects_at_once_are_all_found() -> None:
    raw = defects.inverted(defects.slipped(flat(), 6, (24, -17), lasting=True))
    raw = defects.missing(raw, 2)
    table = sections_of(raw, FLAT_NM)
    assert describe(table) == [
        "contrast is inverted (bright membranes): grey values are turned round",
        "section 2 is empty: bridged by 1",
        f"slips aside (y, x voxels) at section 6 ({table['slip'][6, 0]:+d}, "
        f"{table['slip'][6, 1]:+d}): followed",
    ]
    assert np.abs(table["place"][6:] - [24, -17]).max() <= 3

"""Marks: sections are recognised wherever they lie, and only those."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.marks import (
    BAND,
    DENSEST,
    MOST,
    WINDOW,
    MarkedVolume,
    gathered,
    section_marks,
    thinned,
    together,
)


@pytest.fixture(scope="module")
def sample() -> NDArray[np.uint8]:
    """50 x 200 x 200 real grey values."""
    path = Path(str(resources.files("pipeline") / "data" / "sample" / "raw.tif"))
    raw: NDArray[np.uint8] = tifffile.imread(path)
    return raw


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def slow_marks(section: NDArray[Any]) -> set[int]:
    """Window by window, in integers without a limit, from the definition in the module."""
    limit = 1 << 64

    def mixed(value: int) -> int:
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % limit
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % limit
        return value ^ (value >> 31)

    half = [mixed(k * 0x9E3779B97F4A7C15 % limit) for k in range(1, WINDOW // 2 + 1)]
    weights = half + half[::-1]
    found = set()
    for y in range(section.shape[0] - WINDOW + 1):
        for x in range(section.shape[1] - WINDOW + 1):
            window = section[y : y + WINDOW, x : x + WINDOW].astype(int).tolist()
            total = sum(
                weights[i] * weights[j] * window[i][j] for i in range(WINDOW) for j in range(WINDOW)
            )
            hashed = mixed(total % limit)
            if hashed < limit // DENSEST:
                found.add((hashed >> 24) % (1 << 32))
    return found


def test_marks_are_those_of_the_definition() -> None:
    section = noise((BAND + 30, 45))  # two bands of rows
    marks = section_marks(section)
    assert set(marks.tolist()) == slow_marks(section)
    assert len(marks) > 5


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
)
def test_a_part_that_is_turned_mirrored_and_converted_has_the_marks_of_its_windows(
    top: int, left: int, turns: int, mirrored: bool, dtype: type[np.generic]
) -> None:
    section = noise((150, 150))
    part = section[top : top + 100, left : left + 90]
    copy = np.rot90(part, turns).astype(dtype)
    copy = copy[::-1] if mirrored else copy
    marks = section_marks(copy)
    assert np.array_equal(marks, section_marks(part))
    assert set(marks.tolist()) <= set(section_marks(section).tolist())
    assert len(marks) > 5


def test_fractions_are_told_apart_and_parts_of_them_recognised() -> None:
    values = noise((120, 120)).astype(np.float32) / np.float32(255)
    marks = section_marks(values)
    assert len(marks) > 20
    assert set(section_marks(values[13:, 7:90]).tolist()) <= set(marks.tolist())
    nudged = np.nextafter(values, np.float32(2))
    assert not set(section_marks(nudged).tolist()) & set(marks.tolist())


def test_about_one_window_in_256_is_kept(sample: NDArray[np.uint8]) -> None:
    counts = [len(section_marks(section)) for section in sample]
    windows = len(sample) * (200 - WINDOW + 1) ** 2
    assert 0.9 < sum(counts) * DENSEST / windows < 1.1


@pytest.mark.parametrize("value", [0, 255, 17])
def test_padding_and_saturation_have_no_marks(value: int) -> None:
    section = np.full((300, 300), value, np.uint8)
    section[::50] = 255 - value
    assert len(section_marks(section)) == 0


def test_a_section_smaller_than_a_window_has_no_marks() -> None:
    assert len(section_marks(noise((WINDOW - 1, 400)))) == 0


def test_only_windows_that_count_give_marks() -> None:
    section = noise((200, 200))
    counted = np.zeros((200, 200), bool)
    counted[:, 100:] = True
    assert np.array_equal(section_marks(section, counted, 64), section_marks(section[:, 100:]))
    touched = section_marks(section[:, 100 - WINDOW + 1 :])
    assert np.array_equal(section_marks(section, counted, 1), touched)


def test_real_sections_share_no_mark_with_their_neighbours(sample: NDArray[np.uint8]) -> None:
    learned = gathered(section_marks(section) for section in sample[:25])
    for section in sample[25:]:
        possible, found = learned.found(section_marks(section))
        assert possible > 50
        assert found == 0


def test_real_sections_are_recognised_whole_and_in_parts(sample: NDArray[np.uint8]) -> None:
    learned = gathered(section_marks(section) for section in sample)
    for z in (0, 24, 49):
        for part in (sample[z], sample[z, 20:120, 30:130].T):
            possible, found = learned.found(section_marks(part))
            assert found == possible > 10
            assert learned.recognised(possible, found)


def test_many_marks_are_thinned_to_those_of_the_lowest_hashes() -> None:
    parts = [section_marks(noise((600, 600), seed)) for seed in range(12)]
    everything = np.unique(np.concatenate(parts))
    found = gathered(parts)
    assert found.one_in == 4 * DENSEST  # 12 * 600 * 600 / 256 = 16,875 windows
    assert MOST // 2 < len(found.marks) < MOST
    assert np.array_equal(found.marks, everything[everything < 1 << 30])


def test_volumes_of_different_density_are_compared_by_the_sparser() -> None:
    sections = [noise((600, 600), seed) for seed in range(12)]
    dense = gathered([section_marks(sections[0])])
    sparse = gathered(map(section_marks, sections))
    both = together([dense, sparse])
    assert both.one_in == sparse.one_in
    assert np.array_equal(both.marks, sparse.marks)
    asked = section_marks(sections[0])
    assert sparse.found(asked) == (len(thinned(asked, sparse.one_in)),) * 2


@pytest.mark.parametrize(
    ("possible", "found", "expected"),
    [
        (1000, 1000, True),
        (1000, 10, True),  # one percent
        (1000, 9, False),  # as a scale bar that is the same on every section
        (20, 2, True),
        (200, 2, False),
        (1, 1, False),  # one mark agrees by chance once in half a million
        (0, 0, False),
    ],
)
def test_matches_are_believed_if_neither_chance_nor_a_stamp(
    possible: int, found: int, expected: bool
) -> None:
    learned = MarkedVolume(np.arange(8000, dtype=np.uint32), DENSEST)
    assert learned.recognised(possible, found) is expected


def test_a_volume_without_marks_recognises_nothing() -> None:
    empty = gathered([])
    assert empty.found(np.arange(5, dtype=np.uint32)) == (5, 0)
    assert not empty.recognised(5, 5)


def test_the_section_is_not_changed() -> None:
    section = noise((90, 90))
    before = section.copy()
    section_marks(section, section > 100, 3)
    assert np.array_equal(section, before)

"""Which axis is z, y, x: stated, named by the file, or unnamed; channels and time are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_sources import SIZE, foreign_of

from pipeline.contract import Box
from pipeline.errors import ConfigError, InputError, PipelineError
from pipeline.store.importers.axes import arrange

ZYX = np.arange(2 * 3 * 4).reshape(2, 3, 4)


def whole(data: Any, stored: str = "", **options: Any) -> Any:
    """The volume that an arrangement makes of an array."""
    arrangement = arrange(foreign_of(data, axes=stored), **options)
    part = arrangement.part(Box((0, 0, 0), arrangement.shape))
    return arrangement.turned(data[part])


@given(st.permutations("zyx"), st.booleans())
def test_named_axes_are_transposed(order: list[str], by_hand: bool) -> None:
    letters = "".join(order)
    data = ZYX.transpose(["zyx".index(letter) for letter in letters])
    given_axes = {"axes": letters} if by_hand else {}
    found = whole(data, "" if by_hand else letters.upper(), **given_axes)
    assert np.array_equal(found, ZYX)


@given(st.permutations("tczyx"), st.integers(0, 1), st.integers(0, 4))
def test_channel_and_time_are_taken_wherever_their_axes_are(
    order: list[str], time: int, channel: int
) -> None:
    data = np.arange(2 * 5 * 24).reshape(2, 5, *ZYX.shape)
    stored = data.transpose(["tczyx".index(letter) for letter in order])
    found = whole(stored, "".join(order), channel=channel, time=time)
    assert np.array_equal(found, data[time, channel])


def test_unnamed_axes_are_zyx_and_two_are_one_section() -> None:
    assert np.array_equal(whole(ZYX), ZYX)
    assert np.array_equal(whole(ZYX[0]), ZYX[:1])
    assert np.array_equal(whole(ZYX[0].T, axes="xyz"), ZYX[:1])
    assert np.array_equal(whole(ZYX[None, ..., None]), ZYX)
    assert np.array_equal(whole(ZYX[:1, None]), ZYX[:1]), "of two axes of length 1, one is z"


def test_axes_of_length_one_need_no_choice() -> None:
    assert np.array_equal(whole(ZYX[None], "czyx"), ZYX)


def test_axes_by_hand_go_before_those_of_the_file() -> None:
    assert np.array_equal(whole(ZYX.T, "zyx", axes="xyz"), ZYX)


def test_voxel_size_and_translation_belong_to_the_axes_of_the_array() -> None:
    foreign = foreign_of(
        ZYX, axes="zyx", voxel_size_nm=(50.0, 5.0, 4.0), translation_nm=(1.0, 2.0, 3.0)
    )
    turned = arrange(foreign, "xyz")
    assert turned.voxel_size_nm == (4.0, 5.0, 50.0)
    assert turned.translation_nm == (3.0, 2.0, 1.0)
    assert arrange(foreign).voxel_size_nm == (50.0, 5.0, 4.0)
    sections = arrange(foreign_of(ZYX, axes="cyx"), "zyx")
    assert sections.voxel_size_nm == SIZE, "that of z was of no axis"


@pytest.mark.parametrize(
    ("shape", "axes", "options", "says"),
    [
        ((3, 2, 4, 5), "czyx", {}, "choose with --channel 0 to 2"),
        ((6, 2, 4, 5), "tzyx", {}, "choose with --time 0 to 5"),
        ((7, 4, 5), "tyx", {}, "if they are the sections, give --axes zyx"),
        ((3, 2, 4, 5), "czyx", {"channel": 3}, "has channels 0 to 2, not 3"),
        ((2, 4, 5), "zyx", {"channel": 0}, "has no axis of channels"),
        ((2, 4, 5), "", {"time": 1}, "leave --time out"),
        ((2, 3, 4, 5), "", {}, "4 axes without names"),
        ((5,), "", {}, "1 axes without names"),
        ((2, 4, 5), "", {"axes": "czyx"}, "has 3 axes (shape (2, 4, 5)), --axes czyx names 4"),
        ((2, 0, 5), "", {}, "is empty"),
        ((2, 5), "zx", {}, "has no y or no x"),
    ],
)
def test_what_is_not_clear_is_asked_for(
    shape: tuple[int, ...], axes: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError) as caught:
        arrange(foreign_of(np.zeros(shape), axes=axes), **options)
    assert says in str(caught.value)


@pytest.mark.parametrize("axes", ["", "zzx", "zyq", "zy", "z,y,x", "zyxz"])
def test_axes_by_hand_that_are_none_are_refused(axes: str) -> None:
    with pytest.raises(ConfigError, match="--axes"):
        arrange(foreign_of(ZYX), axes=axes)


@given(st.text("zyxct-ZQ 1", max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_any_axes_and_shape_give_a_volume_or_one_error(axes: str, shape: list[int]) -> None:
    data = np.zeros(shape)
    try:
        arrangement = arrange(foreign_of(data), axes=axes)
    except PipelineError:
        return
    part = arrangement.part(Box((0, 0, 0), arrangement.shape))
    assert arrangement.turned(data[part]).shape == arrangement.shape

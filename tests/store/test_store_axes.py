"""Axes in other orders are turned; of channels and time points one must be chosen."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.store import open_volume
from pipeline.store.axes import find_axes

SIZE = (40.0, 8.0, 4.0)
WHOLE = Box((0, 0, 0), (6, 20, 24))
PART = Box((1, 5, 6), (4, 9, 20))
ORDERS = ["".join(order) for order in itertools.permutations("zyx")]


def stored(raw: NDArray[Any], order: str) -> NDArray[Any]:
    """A zyx volume with its axes in another order."""
    return raw.transpose(["zyx".index(axis) for axis in order])


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_volume(path, voxel_size_nm=SIZE, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bare(path: Path, data: NDArray[Any], names: tuple[str, ...] | None = None) -> Path:
    array = zarr.create_array(
        path, shape=data.shape, dtype=data.dtype, chunks=data.shape, dimension_names=names
    )
    array[...] = data
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("order", ORDERS)
def test_axes_of_an_image_in_any_order_are_turned_with_their_voxel_size(
    write_image: Callable[..., Path], raw: NDArray[Any], order: str, version: str
) -> None:
    scale = tuple(SIZE["zyx".index(axis)] for axis in order)
    path = write_image(stored(raw, order), version, unit="nanometer", scale=scale, axes=order)
    volume = open_volume(path)
    assert volume.shape == raw.shape
    assert volume.voxel_size_nm == SIZE
    np.testing.assert_array_equal(volume.read(WHOLE), raw)
    np.testing.assert_array_equal(volume.read(PART), raw[PART.slices])


def test_translation_is_turned_too(write_image: Callable[..., Path], raw: NDArray[Any]) -> None:
    path = write_image(stored(raw, "xyz"), unit="nanometer", scale=(4, 8, 40), axes="xyz")
    coarse = open_volume(path, level=1)  # halved along y and z, which come last
    assert coarse.translation_nm == (20.0, 4.0, 0.0)
    assert coarse.voxel_size_nm == (80.0, 16.0, 4.0)


@pytest.mark.parametrize("names", [("x", "y", "z"), ("X", "Y", "Z"), ("x", "z", "y")], ids="".join)
def test_names_that_a_bare_array_gives_its_axes_are_believed(
    tmp_path: Path, raw: NDArray[Any], names: tuple[str, ...]
) -> None:
    path = bare(tmp_path / "a", stored(raw, "".join(names).lower()), names)
    np.testing.assert_array_equal(open_volume(path, voxel_size_nm=SIZE).read(WHOLE), raw)


def test_names_that_xarray_gives_are_believed(tmp_path: Path, raw: NDArray[Any]) -> None:
    array = zarr.create_array(
        tmp_path / "a", shape=(24, 20, 6), dtype="u1", chunks=(5, 5, 5), zarr_format=2
    )
    array[...] = stored(raw, "xyz")
    array.attrs["_ARRAY_DIMENSIONS"] = ["x", "y", "z"]
    volume = open_volume(tmp_path / "a", voxel_size_nm=SIZE)
    np.testing.assert_array_equal(volume.read(PART), raw[PART.slices])


@pytest.mark.parametrize("names", [("a", "b", "c"), None])
def test_axes_without_telling_names_are_z_y_x(
    tmp_path: Path, raw: NDArray[Any], names: tuple[str, ...] | None
) -> None:
    path = bare(tmp_path / "a", raw, names)
    np.testing.assert_array_equal(open_volume(path, voxel_size_nm=SIZE).read(WHOLE), raw)


def test_a_channel_of_several_must_be_chosen(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    path = write_image(np.stack([raw, raw // 2, raw // 3]), axes="czyx", scale=(0.04, 0.008, 0.004))
    assert "--channel 0 to 2" in error_of(path)
    assert "channels 0 to 2, not 3" in error_of(path, channel=3)
    assert "no axis of time points" in error_of(path, channel=0, time=0)
    for channel in range(3):
        volume = open_volume(path, channel=channel)
        np.testing.assert_array_equal(volume.read(PART), raw[PART.slices] // (channel + 1))
        assert volume.voxel_size_nm == pytest.approx(SIZE)


@pytest.mark.parametrize("axes", ["tczyx", "ctxyz"])
def test_time_point_and_channel_are_chosen_together(
    tmp_path: Path, raw: NDArray[Any], axes: str
) -> None:
    space = axes[2:]
    data = np.stack([np.stack([stored(raw, space) // (1 + 3 * t + c) for c in range(3)])
                     for t in range(2)])  # fmt: skip
    if axes[0] == "c":
        data = data.swapaxes(0, 1)
    path = bare(tmp_path / "a", data, tuple(axes))
    assert "which time point or channel" in error_of(path, time=1)
    volume = open_volume(path, voxel_size_nm=SIZE, time=1, channel=2)
    np.testing.assert_array_equal(volume.read(WHOLE), raw // 6)


def test_bare_arrays_of_four_and_five_axes_have_channels_and_time_first(
    tmp_path: Path, raw: NDArray[Any]
) -> None:
    four = bare(tmp_path / "four", np.stack([raw, raw // 2]))
    assert "--channel 0 to 1" in error_of(four)
    np.testing.assert_array_equal(
        open_volume(four, voxel_size_nm=SIZE, channel=1).read(WHOLE), raw // 2
    )
    five = bare(tmp_path / "five", np.stack([raw, raw // 2])[:, None])
    assert "--time 0 to 1" in error_of(five)
    np.testing.assert_array_equal(
        open_volume(five, voxel_size_nm=SIZE, time=1).read(WHOLE), raw // 2
    )


def test_other_axes_are_named(tmp_path: Path, raw: NDArray[Any]) -> None:
    path = bare(tmp_path / "a", np.stack([raw, raw]), ("angle", "z", "y", "x"))
    assert "(angle, z, y, x)" in error_of(path)
    six = bare(tmp_path / "six", np.stack([raw, raw])[:, None, None])
    assert "neither z, y, x nor time point or channel" in error_of(six)


def test_fingerprint_tells_channels_and_orders_apart(tmp_path: Path, raw: NDArray[Any]) -> None:
    path = bare(tmp_path / "a", np.stack([raw, raw // 2]))
    found = {
        open_volume(path, voxel_size_nm=SIZE, channel=channel).fingerprint() for channel in (0, 1)
    }
    assert len(found) == 2


@given(st.permutations("zyxct"), st.data())
def test_reading_a_box_is_indexing_the_turned_array(order: list[str], data: Any) -> None:
    lengths = {"z": 3, "y": 4, "x": 5, "c": 2, "t": 2}
    shape = [lengths[axis] for axis in order]
    array = np.arange(np.prod(shape)).reshape(shape)
    channel, time = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))
    begin = [data.draw(st.integers(0, lengths[a] - 1)) for a in "zyx"]
    end = [data.draw(st.integers(b + 1, lengths[a])) for a, b in zip("zyx", begin, strict=True)]
    box = Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
    axes = find_axes("array", shape, order, channel=channel, time=time)
    turned = np.einsum(f"{''.join(order)}->tczyx", array)[time, channel]
    np.testing.assert_array_equal(axes.turned(array[axes.index(box)]), turned[box.slices])


def test_a_missing_or_double_axis_is_refused() -> None:
    for names in (("y", "x", "c"), ("z", "y", "x", "x"), ("t", "time", "y", "x")):
        with pytest.raises(InputError, match="z, y, x must be among them"):
            find_axes("array", (2,) * len(names), names)

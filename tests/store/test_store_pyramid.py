"""Pyramids against slow references, and against levels computed in one piece."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.contract import ArraySpec
from pipeline.grid import blocks
from pipeline.store import Output
from pipeline.store.arrays import open_array
from pipeline.store.layout import chunk_shape, pyramid_levels, shard_shape
from pipeline.store.pyramid import downsample_mean, downsample_mode

factors = st.tuples(*[st.sampled_from([1, 2])] * 3)
shapes = st.tuples(*[st.integers(1, 5)] * 3)
label_arrays = shapes.flatmap(lambda s: hnp.arrays(np.uint64, s, elements=st.integers(0, 3)))
image_arrays = shapes.flatmap(lambda s: hnp.arrays(np.uint8, s))


def reference_cells(array: NDArray[Any], factor: tuple[int, ...]) -> Any:
    """Index of every coarse voxel with the fine values it covers."""
    coarse = tuple(-(-n // f) for n, f in zip(array.shape, factor, strict=True))
    for index in itertools.product(*(range(n) for n in coarse)):
        cell = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factor, strict=True))
        yield coarse, index, array[cell].ravel().tolist()


def reference_mode(array: NDArray[Any], factor: tuple[int, ...]) -> NDArray[Any]:
    result: NDArray[Any] | None = None
    for coarse, index, values in reference_cells(array, factor):
        result = np.zeros(coarse, array.dtype) if result is None else result
        counts = Counter(values)
        most = max(counts.values())
        best = [value for value, count in counts.items() if count == most]
        result[index] = min((value for value in best if value), default=0)
    assert result is not None
    return result


def reference_mean(array: NDArray[Any], factor: tuple[int, ...]) -> NDArray[Any]:
    result: NDArray[Any] | None = None
    for coarse, index, values in reference_cells(array, factor):
        result = np.zeros(coarse, array.dtype) if result is None else result
        result[index] = (2 * sum(values) + len(values)) // (2 * len(values))
    assert result is not None
    return result


@given(label_arrays, factors)
@settings(max_examples=150, deadline=None)
def test_mode_is_that_of_a_slow_reference(array: NDArray[Any], factor: Any) -> None:
    before = array.copy()
    assert np.array_equal(downsample_mode(array, factor), reference_mode(array, factor))
    assert np.array_equal(array, before)


@given(image_arrays, factors)
@settings(max_examples=100, deadline=None)
def test_mean_is_that_of_a_slow_reference(array: NDArray[Any], factor: Any) -> None:
    assert np.array_equal(downsample_mean(array, factor), reference_mean(array, factor))


def test_mode_keeps_ids_beyond_float_precision() -> None:
    high = np.uint64(2**64 - 1)
    cell = np.array([[[high, high - np.uint64(1)], [high, 0]]], np.uint64)
    assert downsample_mode(cell, (1, 2, 2)).item() == high


@pytest.mark.parametrize(
    ("values", "mode"),
    [([0, 0, 5, 5], 5), ([7, 5, 5, 7], 5), ([0, 0, 0, 5], 0), ([1, 2, 3, 0], 1), ([0] * 4, 0)],
)
def test_ties_go_to_the_smallest_id_that_is_not_background(values: list[int], mode: int) -> None:
    cell = np.array(values, np.uint64).reshape(1, 2, 2)
    assert downsample_mode(cell, (1, 2, 2)).item() == mode


def test_mean_of_floats_and_of_large_integers() -> None:
    floats = np.array([[[0.0, 0.25], [0.5, 0.25]]], np.float32)
    assert downsample_mean(floats, (1, 2, 2)).item() == 0.25
    largest = np.full((2, 2, 2), 65535, np.uint16)
    assert downsample_mean(largest, (2, 2, 2)).item() == 65535


def test_coarse_sections_wait_until_voxels_are_isotropic() -> None:
    levels = pyramid_levels((200, 2000, 1000), (50.0, 10.0, 10.0), (0.0, 0.0, 0.0))
    assert [level.factor for level in levels] == [
        (1, 1, 1),
        (1, 2, 2),
        (1, 2, 2),
        (2, 2, 2),
        (2, 2, 2),
    ]
    assert levels[-1].shape == (50, 125, 63)
    assert levels[-1].voxel_size_nm == (200, 160, 160)
    assert levels[-1].translation_nm == (75, 75, 75)


@given(
    st.tuples(*[st.integers(1, 5000)] * 3),
    st.tuples(*[st.sampled_from([1.0, 4.0, 30.0, 500.0])] * 3),
)
def test_every_pyramid_ends_small(shape: Any, voxel_size_nm: Any) -> None:
    levels = pyramid_levels(shape, voxel_size_nm, (0.0, 0.0, 0.0))
    assert max(levels[-1].shape) <= 128
    assert all(max(level.shape) > 128 for level in levels[:-1])


@given(st.tuples(*[st.integers(1, 700)] * 3), st.tuples(*[st.integers(1, 300)] * 3))
def test_chunks_divide_shards_and_shards_follow_write_blocks(shape: Any, block: Any) -> None:
    shards = shard_shape(shape, block)
    assert all(s % c == 0 for s, c in zip(shards, chunk_shape(shards), strict=True))
    assert all(s == b or n <= s < b for s, b, n in zip(shards, block, shape, strict=True)), (
        "a shard is a write block, or the only one along its axis"
    )


@pytest.mark.parametrize(
    "spec", [ArraySpec("boundaries", "uint8", "image"), ArraySpec("neurons", "uint64", "labels")]
)
def test_levels_on_disk_equal_levels_of_the_whole_array(
    tmp_path: Any, spec: ArraySpec, geometry: Any
) -> None:
    volume = geometry((37, 301, 140), (20.0, 8.0, 8.0))
    output = Output.create(tmp_path / "o.zarr", volume=volume, block_shape=(15, 50, 64))
    data = np.random.default_rng(3).integers(0, 4, volume.shape).astype(spec.dtype)
    output.create_array(spec)
    for block in blocks(volume.shape, output.block_shape):
        output.write(spec.name, block.write, data[block.write.slices])
    output.build_pyramid(spec.name, spec.kind)
    group = output.path if spec.kind == "image" else output.path / "labels" / spec.name
    downsample = downsample_mean if spec.kind == "image" else downsample_mode
    assert len(output.levels) == 3
    for number, level in enumerate(output.levels):
        data = downsample(data, level.factor)
        assert np.array_equal(open_array(group / str(number))[:], data)

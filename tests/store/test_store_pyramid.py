"""Pyramids against slow references, and against levels computed in one piece."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from store_pyramids import build_pyramid

from pipeline.contract import ArraySpec
from pipeline.errors import OutputError
from pipeline.grid import blocks
from pipeline.store import Output
from pipeline.store.arrays import open_array
from pipeline.store.background import background_grids, level_grid
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


BOUNDARIES = ArraySpec("boundaries", "uint8", "image")
NEURONS = ArraySpec("neurons", "uint64", "labels")
KINDS = pytest.mark.parametrize("spec", [BOUNDARIES, NEURONS], ids=lambda spec: spec.kind)


def random_labels(shape: Any, spec: ArraySpec) -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, 4, shape).astype(spec.dtype)


def written(path: Any, volume: Any, spec: ArraySpec, data: NDArray[Any], cut: Any) -> Output:
    """A store whose level 0 is ``data``; background blocks are listed and have no files."""
    output = Output.create(path, volume=volume, block_shape=cut)
    found = list(blocks(volume.shape, cut))
    empty = [b for b in found if not data[b.write.slices].any()]
    first = [np.ravel_multi_index(b.write.begin, volume.shape) for b in empty]
    output.write_table("background", {"first_voxel": np.array(first, np.uint64)})
    output.create_array(spec)
    for block in found:
        if block not in empty:
            output.write(spec.name, block.write, data[block.write.slices])
    return output


def assert_levels(output: Output, spec: ArraySpec, data: NDArray[Any]) -> None:
    """Every level on disk is that of the whole array."""
    group = output.path if spec.kind == "image" else output.path / "labels" / spec.name
    downsample = downsample_mean if spec.kind == "image" else downsample_mode
    for number, level in enumerate(output.levels):
        data = downsample(data, level.factor)
        assert np.array_equal(open_array(group / str(number))[:], data), number


@KINDS
@pytest.mark.parametrize("backwards", [False, True])
def test_levels_on_disk_equal_levels_of_the_whole_array(
    tmp_path: Any, spec: ArraySpec, geometry: Any, backwards: bool
) -> None:
    volume = geometry((37, 301, 140), (20.0, 8.0, 8.0))
    data = random_labels(volume.shape, spec)
    output = written(tmp_path / "o.zarr", volume, spec, data, (15, 50, 64))
    build_pyramid(output, spec.name, spec.kind, backwards=backwards)
    assert output.pyramid_levels == 2
    assert_levels(output, spec, data)


@KINDS
def test_background_has_no_files_at_any_level_and_reads_as_zero(
    tmp_path: Any, spec: ArraySpec, geometry: Any
) -> None:
    volume = geometry((8, 300, 270), (20.0, 8.0, 8.0))
    data = random_labels(volume.shape, spec)
    data[:, 64:256] = 0
    data[:, :, :128] = 0
    data[:, 290, 3] = 2
    output = written(tmp_path / "o.zarr", volume, spec, data, (8, 32, 32))
    build_pyramid(output, spec.name, spec.kind)
    assert_levels(output, spec, data)
    group = output.path if spec.kind == "image" else output.path / "labels" / spec.name
    for number, level in enumerate(output.levels):
        files = {
            tuple(int(part) for part in file.relative_to(group / str(number) / "c").parts)
            for file in (group / str(number) / "c").rglob("*")
            if file.is_file()
        }
        cut = shard_shape(level.shape, output.block_shape)
        reach = np.prod([one.factor for one in output.levels[: number + 1]], axis=0)
        tissue = set()
        for block in blocks(level.shape, cut):
            below = [b * f for b, f in zip(block.write.begin, reach, strict=True)]
            above = [e * f for e, f in zip(block.write.end, reach, strict=True)]
            if data[tuple(slice(b, e) for b, e in zip(below, above, strict=True))].any():
                tissue.add(block.index)
        assert files == tissue, number
        if number:
            assert set(output.level_blocks(number)) == tissue, number
    assert len(output.background) == 10 * 9 - (4 * 5 + 1)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_coarse_block_is_background_where_all_blocks_below_it_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, [40, 600, 600]))
    block_shape = tuple(int(n) for n in rng.integers(1, [20, 200, 200]))
    levels = pyramid_levels(shape, (30.0, 8.0, 8.0), (0.0, 0.0, 0.0))  # type: ignore[arg-type]
    empty = rng.random(level_grid(levels[0], block_shape)) < 0.8  # type: ignore[arg-type]
    grids = background_grids(empty, levels, block_shape)  # type: ignore[arg-type]
    voxels = np.zeros(shape, bool)
    for block in blocks(shape, block_shape):  # type: ignore[arg-type]
        voxels[block.write.slices] = not empty[block.index]
    for number, level in enumerate(levels):
        voxels = downsample_any(voxels, level.factor)
        files = shard_shape(level.shape, block_shape)  # type: ignore[arg-type]
        for block in blocks(level.shape, files):
            assert grids[number][block.index] == (not voxels[block.write.slices].any())


def downsample_any(voxels: NDArray[np.bool_], factor: Any) -> NDArray[np.bool_]:
    """Whether a cell holds a voxel that is set."""
    for axis, step in enumerate(factor):
        begins = np.arange(0, voxels.shape[axis], step)
        voxels = np.logical_or.reduceat(voxels, begins, axis=axis)
    return voxels


def test_a_level_that_is_gone_on_with_keeps_its_blocks_and_another_is_made_anew(
    tmp_path: Any, geometry: Any
) -> None:
    volume = geometry((4, 200, 200))
    data = random_labels(volume.shape, NEURONS)
    output = written(tmp_path / "o.zarr", volume, NEURONS, data, (4, 64, 64))
    assert not output.has_level("neurons", 1)
    output.create_level("neurons", 1)
    first, *rest = output.level_blocks(1)
    output.write_level_block("neurons", "labels", 1, first)
    file = output.path / "labels/neurons/1/c/0/0/0"
    before = file.stat().st_mtime_ns
    assert output.has_level("neurons", 1)
    assert list(output.missing_blocks("neurons", 1, [first, *rest])) == rest
    for index in rest:
        output.write_level_block("neurons", "labels", 1, index)
    assert file.stat().st_mtime_ns == before
    output.finish_pyramid("neurons", "labels")
    assert_levels(output, NEURONS, data)
    output.create_level("neurons", 1)
    assert not file.exists()


def test_a_pyramid_is_listed_only_when_it_is_whole(tmp_path: Any, geometry: Any) -> None:
    volume = geometry((4, 200, 200))
    data = random_labels(volume.shape, NEURONS)
    output = written(tmp_path / "o.zarr", volume, NEURONS, data, (4, 64, 64))
    metadata = [output.path / "labels/zarr.json", output.path / "labels/neurons/zarr.json"]

    def listed() -> list[bool]:
        return ["neurons" in metadata[0].read_text(), "multiscales" in metadata[1].read_text()]

    output.create_level("neurons", 1)
    for index in output.level_blocks(1)[1:]:
        output.write_level_block("neurons", "labels", 1, index)
    with pytest.raises(OutputError, match=r"neurons/1: finished data is gone.*1/c/0/0/0"):
        output.finish_pyramid("neurons", "labels")
    assert listed() == [False, False]
    output.write_level_block("neurons", "labels", 1, output.level_blocks(1)[0])
    output.finish_pyramid("neurons", "labels")
    assert listed() == [True, True]
    output.create_level("neurons", 1)
    assert listed() == [False, False]


def test_processes_that_write_blocks_of_a_level_do_not_disturb_each_other(
    tmp_path: Any, geometry: Any
) -> None:
    volume = geometry((4, 500, 500))
    data = random_labels(volume.shape, NEURONS)
    output = written(tmp_path / "o.zarr", volume, NEURONS, data, (4, 64, 64))
    output.create_level("neurons", 1)
    script = (
        "import sys; from pipeline.store import Output; o = Output.open(sys.argv[1]);"
        "[o.write_level_block('neurons', 'labels', 1, i) "
        "for i in o.level_blocks(1)[int(sys.argv[2])::2] + o.level_blocks(1)[:3]]"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(output.path), n]) for n in ("0", "1")
    ]
    assert [one.wait(60) for one in running] == [0, 0]
    output.create_level("neurons", 2)
    for index in output.level_blocks(2):
        output.write_level_block("neurons", "labels", 2, index)
    output.finish_pyramid("neurons", "labels")
    assert_levels(output, NEURONS, data)


def test_a_block_of_a_level_names_the_file_below_that_is_gone(tmp_path: Any, geometry: Any) -> None:
    volume = geometry((4, 200, 200))
    data = random_labels(volume.shape, NEURONS)
    output = written(tmp_path / "o.zarr", volume, NEURONS, data, (4, 64, 64))
    (output.path / "labels/neurons/0/c/0/1/0").unlink()
    output.create_level("neurons", 1)
    with pytest.raises(OutputError, match=r"neurons/0: finished data is gone.*0/c/0/1/0"):
        output.write_level_block("neurons", "labels", 1, (0, 0, 0))
    output.write_level_block("neurons", "labels", 1, (0, 0, 1))

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from small_pipeline import (
    CUBES_NM,
    SECTIONS_NM,
    Tissue,
    assert_same,
    assert_same_as_arrays,
    contents,
    paint_tissue,
    settings,
    write_volume,
)

from pipeline.contract import Box, Triple
from pipeline.grid import grid_shape
from workflows.cluster import Workplace
from workflows.in_memory import reconstruct_array
from workflows.prepare import Run, prepare
from workflows.reconstruct import reconstruct
from workflows.source import Source

COVERED = {"basin_voxels": 20}
"""Reach that covers every superpixel of these tissues."""

Prepared = Callable[..., Run]


def shuffled(blocks: Sequence[Triple]) -> Sequence[Triple]:
    return random.Random(5).sample(blocks, len(blocks))


def crossing(cells: np.ndarray[Any, Any], block_shape: Triple) -> set[int]:
    """Cells on both sides of a block face."""
    found: set[int] = set()
    for axis, size in enumerate(block_shape):
        for face in range(size, cells.shape[axis], size):
            low, high = cells.take(face - 1, axis), cells.take(face, axis)
            found |= set(low[(low == high) & (low > 0)].tolist())
    return found


def test_sections_in_shuffled_blocks_equal_the_whole(
    prepared: Prepared, models: Any, tmp_path: Path
) -> None:
    tissue, block_shape = paint_tissue((15, 54, 41), 16, 5), (7, 16, 16)
    assert grid_shape(tissue.raw.shape, block_shape) == (3, 4, 3)
    assert len(crossing(tissue.cells, block_shape)) > 10
    config = settings(models.network, models.forests, superpixels=COVERED)
    whole = reconstruct_array(tissue.raw, SECTIONS_NM, config)
    assert len(whole["lifted"]["uv"])
    run = prepared(config, write_volume(tmp_path / "v.zarr", tissue.raw), block_shape=block_shape)
    reconstruct(run, order=shuffled)
    assert_same_as_arrays(contents(run.output.path), whole)


def test_cubes_in_blocks_equal_the_whole(prepared: Prepared, models: Any, tmp_path: Path) -> None:
    tissue, block_shape = paint_tissue((19, 22, 21), 12, 1), (8, 8, 8)
    assert len(crossing(tissue.cells, block_shape)) > 8
    config = settings(models.network, tile=(8, 8, 8), superpixels=COVERED)
    whole = reconstruct_array(tissue.raw, CUBES_NM, config)
    assert len(np.unique(whole["neurons"])) > 8
    volume = write_volume(tmp_path / "v.zarr", tissue.raw, CUBES_NM)
    run = prepared(config, volume, block_shape=block_shape)
    assert grid_shape(run.volume.shape, block_shape) == (3, 3, 3)
    reconstruct(run, order=lambda blocks: blocks[::-1])
    assert_same_as_arrays(contents(run.output.path), whole)


@pytest.mark.parametrize(
    ("voxel_size_nm", "tile", "block_shape"),
    [(SECTIONS_NM, (1, 16, 16), (7, 16, 16)), (CUBES_NM, (8, 8, 8), (8, 8, 8))],
    ids=["sections", "cubes"],
)
def test_sections_missing_on_a_border_of_blocks_are_bridged_there_as_in_the_whole(
    voxel_size_nm: tuple[float, float, float],
    tile: Triple,
    block_shape: Triple,
    prepared: Prepared,
    models: Any,
    tmp_path: Path,
) -> None:
    raw = paint_tissue((13, 26, 24), 12, 1).raw.copy()
    missing = [6, 7, 12]
    raw[missing] = 0
    bad = {"bad": missing}
    config = settings(models.network, tile=tile, superpixels=COVERED, sections=bad)
    whole = reconstruct_array(raw, voxel_size_nm, config)
    volume = write_volume(tmp_path / "v.zarr", raw, voxel_size_nm)
    run = prepared(config, volume, block_shape=block_shape)
    reconstruct(run, order=shuffled)
    assert_same_as_arrays(contents(run.output.path), whole)
    assert whole["foreground"].all()
    np.testing.assert_array_equal(whole["sections"]["source"][missing], [5, 8, 11])
    assert whole["neurons"][missing].all()


def test_two_dask_workers_give_the_same_output_as_one_process(
    prepared: Prepared, models: Any, finished: Path
) -> None:
    two = prepared(settings(models.network, models.forests))
    reconstruct(two, Workplace(workers=2), order=shuffled)
    assert_same(contents(two.output.path), contents(finished))


def test_a_cell_wider_than_the_halo_is_cut_but_never_merged_with_another(
    prepared: Prepared, models: Any, tmp_path: Path
) -> None:
    cells = np.ones((4, 70, 70), np.uint64)
    cells[:, 50:, :] = 2
    cells[:, 49:51, :] = 0
    cells[:, :, 66:68] = 0
    cells[:, :50, 68:] = 3
    raw = np.where(cells == 0, 40, 200).astype(np.uint8)
    config = settings(
        models.network,
        tile=(1, 24, 24),
        superpixels={"basin_voxels": 0, "seed_spacing_voxels": 64},
    )
    whole = reconstruct_array(raw, SECTIONS_NM, config)
    run = prepared(config, write_volume(tmp_path / "v.zarr", raw), block_shape=(4, 24, 24))
    reconstruct(run)
    found = contents(run.output.path)
    assert (found["superpixels/0"] != whole["superpixels"]).any(), "the halo covers the cell"
    inside = (cells > 0) & (found["boundaries/0"] < 128)
    for name in ("superpixels/0", "neurons/0"):
        pairs = np.unique(np.stack([found[name][inside], cells[inside]]), axis=1)
        assert len(np.unique(pairs[0])) == pairs.shape[1], f"{name} joins two cells"
    of_cell = inside & (cells == 1)
    assert len(np.unique(found["superpixels/0"][of_cell])) >= 4 * 2 * 3, "the cell was not cut"
    assert len(np.unique(found["neurons/0"][of_cell])) == 1, "the multicut joins its pieces"


def test_a_region_equals_the_same_region_as_a_volume(
    prepared: Prepared, models: Any, tissue: Tissue
) -> None:
    config = settings(models.network, superpixels=COVERED)
    roi = Box((2, 3, 5), (11, 29, 28))
    run = prepared(config, roi=roi)
    reconstruct(run)
    whole = reconstruct_array(tissue.raw[roi.slices], SECTIONS_NM, config)
    assert_same_as_arrays(contents(run.output.path), whole)
    assert run.output.translation_nm == (80.0, 24.0, 40.0)


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 40, 2)], ids=str)
def test_a_volume_smaller_than_the_networks_input_is_padded(
    shape: Triple, prepared: Prepared, models: Any, tmp_path: Path
) -> None:
    raw = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    run = prepared(settings(models.network), write_volume(tmp_path / "v.zarr", raw))
    reconstruct(run)
    neurons = contents(run.output.path)["neurons/0"]
    assert neurons.shape == shape
    assert neurons.min() > 0


@pytest.mark.parametrize("min_size_voxels", [0, 1000], ids=["kept", "too small"])
@pytest.mark.parametrize("places", [[3], [3, 20]], ids=["one superpixel", "two apart"])
def test_graphs_without_edges_or_neurons_pass_through_all_stages(
    places: list[int],
    min_size_voxels: int,
    models: Any,
    tissue: Tissue,
    volume: Path,
    tmp_path: Path,
) -> None:
    mask = np.zeros(tissue.raw.shape, np.uint8)
    for place in places:
        mask[2, place : place + 3, 4:7] = 1
    zarr.create_array(tmp_path / "mask.zarr", data=mask, chunks=(5, 9, 9))
    config = settings(
        models.network,
        models.forests,
        labels={"min_size_voxels": min_size_voxels},
        lifted={"superpixels_per_cell": 1},
        multicut={"domain_nodes": 1, "solve_at_once_edges": 1},
    )
    source = Source(volume, None, None, None, tmp_path / "mask.zarr")
    run = prepare(source, config, tmp_path / "out.zarr", device="cpu", block_shape=(7, 16, 16))
    reconstruct(run)
    found = contents(run.output.path)
    assert len(found["nodes/id"]) == len(places)
    assert len(found["edges/uv"]) == len(found["lifted/uv"]) == 0
    assert found["neurons/0"].max() == (0 if min_size_voxels else len(places))
    whole = reconstruct_array(tissue.raw, SECTIONS_NM, config, given={"mask": mask})
    assert_same_as_arrays(found, whole)

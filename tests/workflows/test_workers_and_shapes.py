"""Blocks, workers and the order of tasks change no bit of what is left behind."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kill_server import Server
from numpy.typing import NDArray
from small_pipeline import (
    CUBES_NM,
    SECTIONS_NM,
    assert_same,
    contents,
    paint_tissue,
    save_forests,
    settings,
    write_volume,
)

from pipeline.config import PipelineSections
from pipeline.contract import Triple
from pipeline.grid import grid_shape

pytestmark = pytest.mark.slow

ROWS = 128
WORKERS = (1, 2, 4)
COVERED = {"basin_voxels": 20}
"""Reach that covers every superpixel of these tissues."""
SMALL_TASKS = {
    "lifted": {"superpixels_per_cell": 80, "context_nm": 100.0},
    "multicut": {"domain_nodes": 80, "solve_at_once_edges": 4000},
}


@dataclass(frozen=True)
class Case:
    """A volume and how it is cut; the first blocks are the smallest."""

    voxel_size_nm: tuple[float, float, float]
    shape: Triple
    cells: int
    z_step: float
    tile: Triple
    block_shapes: tuple[Triple, ...]
    runs: tuple[tuple[int, int], ...]
    """Workers, and which of the block shapes."""


CASES = {
    "flat": Case(
        SECTIONS_NM,
        (16, 64, 61),
        120,
        5,
        (1, 16, 16),
        ((4, 16, 16), (5, 32, 16), (16, 16, 48)),
        tuple(itertools.product(WORKERS, range(3))),
    ),
    "isotropic": Case(
        CUBES_NM,
        (32, 30, 31),
        60,
        1,
        (8, 8, 8),
        ((8, 8, 8), (16, 8, 24), (24, 16, 8)),
        tuple(zip(WORKERS, range(3), strict=True)),
    ),
}


@dataclass(frozen=True)
class Prepared:
    """A case, its volume on disk, and what the run without blocks gave."""

    case: Case
    volume: Path
    config: PipelineSections
    in_memory: Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(rows=ROWS) as started:
        yield started


@pytest.fixture(scope="module", params=list(CASES))
def prepared(
    request: pytest.FixtureRequest,
    server: Server,
    models: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Prepared:
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    learnt_from = paint_tissue((8, 32, 32), 8, case.z_step)
    forests = save_forests(folder, models.network, learnt_from, case.voxel_size_nm)
    config = settings(models.network, forests, case.tile, superpixels=COVERED, **SMALL_TASKS)
    tissue = paint_tissue(case.shape, case.cells, case.z_step, seed=3)
    volume = write_volume(folder / "v.zarr", tissue.raw, case.voxel_size_nm)
    server.warm(config)
    arrays = folder / "whole.npz"
    server.in_memory(volume, arrays, config, voxel_size_nm=case.voxel_size_nm)
    with np.load(arrays) as found:
        return Prepared(case, volume, config, dict(found))


def test_any_workers_blocks_and_order_of_tasks_give_the_run_without_blocks(
    prepared: Prepared, server: Server, tmp_path: Path
) -> None:
    case, whole = prepared.case, prepared.in_memory
    assert min(grid_shape(case.shape, case.block_shapes[0])) >= 4
    assert min(len(whole[name]) for name in ("nodes/id", "edges/uv", "lifted/uv")) > 4 * ROWS
    for seed, (workers, which) in enumerate(case.runs):
        output = tmp_path / f"{seed}.zarr"
        server.start(
            prepared.volume,
            output,
            prepared.config,
            block_shape=case.block_shapes[which],
            workers=workers,
            shuffled=seed,
        )
        assert server.wait() == 0, server.said()
        found = contents(output)
        assert_same({name: found[name] for name in whole}, whole)

"""Blocks, workers and the order of tasks change no bit of what is left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from kill_server import Server
from numpy.typing import NDArray
from small_pipeline import (
    CUBES_NM,
    SECTIONS_NM,
    assert_same,
    by_contents,
    contents,
    paint_tissue,
    save_forests,
    settings,
    write_volume,
)

import pipeline.contract
from pipeline.config import PipelineSections
from pipeline.contract import Triple
from pipeline.grid import grid_shape
from pipeline.multicut.levels import LIFTED
from workflows.in_memory import reconstruct_array
from workflows.provenance import Ledger

pytestmark = pytest.mark.slow

ROWS = 128
COVERED = {"basin_voxels": 20}
"""Reach that covers every superpixel of these tissues."""
SMALL_SUPERPIXELS = {"seed_spacing_voxels": 4, "sigma_seeds_voxels": 0.5, "min_size_voxels": 1}
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
    superpixels: Mapping[str, float]
    block_shapes: tuple[Triple, ...]
    runs: tuple[tuple[int, int], ...]
    """Workers, and which of the block shapes; both cases together have all pairs."""


CASES = {
    "flat": Case(
        SECTIONS_NM,
        (16, 64, 61),
        120,
        5,
        (1, 16, 16),
        {},
        ((4, 16, 16), (5, 32, 16), (16, 16, 48)),
        ((1, 0), (1, 1), (1, 2), (2, 1), (4, 2)),
    ),
    "isotropic": Case(
        CUBES_NM,
        (32, 30, 31),
        300,
        1,
        (8, 8, 8),
        SMALL_SUPERPIXELS,
        ((8, 8, 8), (16, 8, 24), (24, 16, 8)),
        ((2, 0), (2, 2), (4, 0), (4, 1)),
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
    superpixels = {**case.superpixels, **COVERED}
    config = settings(models.network, forests, case.tile, superpixels=superpixels, **SMALL_TASKS)
    tissue = paint_tissue(case.shape, case.cells, case.z_step, seed=3)
    volume = write_volume(folder / "v.zarr", tissue.raw, case.voxel_size_nm)
    server.warm(config, case.voxel_size_nm)
    arrays = folder / "whole.npz"
    server.in_memory(volume, arrays, config, voxel_size_nm=case.voxel_size_nm)
    with np.load(arrays) as found:
        return Prepared(case, volume, config, dict(found))


def test_any_workers_blocks_and_order_of_tasks_give_the_run_without_blocks(
    prepared: Prepared, server: Server, tmp_path: Path
) -> None:
    case, whole = prepared.case, prepared.in_memory
    assert min(grid_shape(case.shape, case.block_shapes[0])) >= 4
    assert min(len(whole[name]) for name in ("nodes/id", "edges/uv", "lifted/uv")) > 2 * ROWS
    first: dict[str, NDArray[Any]] = {}
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
        first = first or found
        assert_same(found, first)  # coarser levels of the arrays too
        for stage, step in (("lifted", "cells"), ("multicut", LIFTED.solve_step(1))):
            assert len(Ledger(output).done(stage, step)) > 1, f"{stage} was one task"


def test_rows_of_a_task_do_not_change_the_run_without_blocks(prepared: Prepared) -> None:
    raw = np.asarray(zarr.open_array(prepared.volume / "0", mode="r"))
    assert ROWS < pipeline.contract.ROWS
    found = reconstruct_array(raw, prepared.case.voxel_size_nm, prepared.config)
    assert_same(by_contents(found), prepared.in_memory)

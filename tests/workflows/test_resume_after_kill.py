from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupted_runs import MOMENTS
from kill_server import Server
from small_pipeline import assert_same, contents, settings

from pipeline.config import PipelineSections
from pipeline.contract import BLOCKS
from workflows.prepare import Run, prepare
from workflows.reconstruct import STAGES, reconstruct, status
from workflows.source import Source

NUMBER_OF_BLOCKS = 8
STALE = {"while stale outputs are removed", "before the record of a stale stage"}
SLOW = (
    "inside the write of a part",
    "between two tasks that write a table",
    "before the mark of a finished table",
    "inside a pyramid",
    "before the record of a finished stage",
)
"""The others stand for them in the fast tests."""

Prepared = Callable[..., Run]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(rows=64) as started:
        yield started


@pytest.fixture(scope="module")
def config(models: Any) -> PipelineSections:
    return settings(models.network, models.forests)


@pytest.fixture(scope="module")
def changed_config(models: Any) -> PipelineSections:
    return settings(models.network, models.forests, superpixels={"min_size_voxels": 40})


@pytest.fixture(scope="module")
def changed(
    changed_config: PipelineSections, volume: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An uninterrupted run with the changed parameter."""
    path = tmp_path_factory.mktemp("changed") / "out.zarr"
    source = Source(volume, None, None, None)
    reconstruct(prepare(source, changed_config, path, device="cpu", block_shape=(7, 16, 16)))
    return path


def list_labels(path: Path) -> list[str]:
    found: list[str] = json.loads((path / "labels" / "zarr.json").read_text())["attributes"]["ome"][
        "labels"
    ]
    return found


@pytest.mark.parametrize(
    "moment", [pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW)) for m in MOMENTS]
)
def test_a_killed_run_goes_on_and_gives_the_same_output(
    moment: str,
    server: Server,
    config: PipelineSections,
    changed_config: PipelineSections,
    finished: Path,
    changed: Path,
    volume: Path,
    prepared: Prepared,
    tmp_path: Path,
) -> None:
    output = tmp_path / "out.neurons.zarr"
    if moment in STALE:
        shutil.copytree(finished, output)
        config = changed_config
    server.kill_at(moment, volume, output, config)

    run = prepared(config, output=output)
    before = {row.stage: row.state for row in status(run)}
    assert set(before.values()) != {"done"}, "the run was through before it was killed"
    assert "neurons" not in list_labels(output), "looks finished"
    if moment == "inside the write of a block":
        assert len(run.ledger.done("superpixels", BLOCKS)) == 3
        assert list((output / "labels/superpixels/0").rglob("*.partial"))
    if moment == "inside a merge of parts":
        assert before["graph"] == "unfinished"
        assert len(run.ledger.done("graph", BLOCKS)) == NUMBER_OF_BLOCKS
        assert before["features"] == "missing"
    current = {
        (stage, step, task)
        for stage, state in before.items()
        if state in ("done", "unfinished")
        for step in run.ledger.steps(stage)
        for task in run.ledger.done(stage, step)
    }
    server.start(volume, output, config, log=str(tmp_path / "log"))
    assert server.wait() == 0
    computed = begun((tmp_path / "log").read_text().splitlines())
    assert not set(computed) & current, "finished tasks were computed again"
    assert len(computed) == len(set(computed))
    by_blocks = {stage.name for stage in STAGES if stage.compute}
    blocks = {(stage, task) for stage, step, task in {*computed, *current} if step == BLOCKS}
    assert len(blocks) == len(by_blocks) * NUMBER_OF_BLOCKS
    assert {row.state for row in status(run)} == {"done"}

    expected = finished
    if moment in STALE:
        expected = changed
        different = contents(expected)["superpixels/0"] != contents(finished)["superpixels/0"]
        assert np.any(different), "the changed parameter changes nothing"
    assert_same(contents(output), contents(expected))
    assert (
        list_labels(output)
        == list_labels(expected)
        == [
            "foreground",
            "neurons",
            "superpixels",
        ]
    )


def begun(lines: list[str]) -> list[tuple[str, str, str]]:
    """Stage, step and name of every task that began."""
    words = [line.split() for line in lines if line.startswith("begin task ")]
    return [(stage, step, task) for _, _, stage, step, task in words]


@pytest.mark.slow
def test_a_run_killed_twice_in_a_row_goes_on(
    server: Server,
    config: PipelineSections,
    finished: Path,
    volume: Path,
    prepared: Prepared,
    tmp_path: Path,
) -> None:
    output = tmp_path / "out.neurons.zarr"
    server.kill_at("between the data of a block and its mark", volume, output, config)
    server.kill_at("inside the end of a table", volume, output, config)
    run = prepared(config, output=output)
    reconstruct(run)
    assert_same(contents(output), contents(finished))

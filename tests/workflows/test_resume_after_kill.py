from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from interrupted_runs import MOMENTS
from small_pipeline import assert_same, contents, settings

from pipeline.config import PipelineSections
from pipeline.contract import Triple
from workflows import blockwise
from workflows.prepare import Run, prepare
from workflows.reconstruct import STAGES, reconstruct, status

BLOCKS = 8
ALL_DONE = 6 * BLOCKS + 3
STALE = {"while stale outputs are removed", "before the record of a stale stage"}
EXTRA = dict.fromkeys(("inside the write of a part", "before a pyramid"), pytest.mark.slow)

Prepared = Callable[..., Run]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """Starts runs; see ``interrupted_runs``."""
    here = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, str(here / "interrupted_runs.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=here.parents[1],
        env={**os.environ, "PYTHONPATH": str(here.parents[1])},
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.stdin
        process.stdin.close()


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
    source = blockwise.Source(volume, None, None, None)
    reconstruct(prepare(source, changed_config, path, device="cpu", block_shape=(7, 16, 16)))
    return path


def kill_at(moment: str, server: subprocess.Popen[str], **arguments: str) -> None:
    """Start a run and kill it, from this process, when it is at the moment."""
    to, back = server.stdin, server.stdout
    assert to
    assert back
    print(json.dumps({"moment": moment, **arguments}), file=to, flush=True)
    word, process = _words(back)
    assert word == "paused", f"the run ended ({process}) before: {moment}"
    os.kill(int(process), signal.SIGKILL)
    assert _words(back) == ["ended", str(int(signal.SIGKILL))]


def _words(stream: IO[str]) -> list[str]:
    return stream.readline().split()


def list_labels(path: Path) -> list[str]:
    found: list[str] = json.loads((path / "labels" / "zarr.json").read_text())["attributes"]["ome"][
        "labels"
    ]
    return found


@pytest.mark.parametrize("moment", [pytest.param(m, marks=EXTRA.get(m, ())) for m in MOMENTS])
def test_a_killed_run_goes_on_and_gives_the_same_output(
    moment: str,
    server: subprocess.Popen[str],
    config: PipelineSections,
    changed_config: PipelineSections,
    finished: Path,
    changed: Path,
    volume: Path,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out.neurons.zarr"
    if moment in STALE:
        shutil.copytree(finished, output)
        config = changed_config
    kill_at(
        moment,
        server,
        volume=str(volume),
        output=str(output),
        config=config.model_dump_json(),
    )

    run = prepared(config, output=output)
    before = {row.stage: row for row in status(run)}
    unfinished = [r for r in before.values() if r.state != "done"]
    assert unfinished, "the run was through before it was killed"
    assert sum(r.blocks_done for r in before.values()) < ALL_DONE or moment == "before a pyramid"
    assert "neurons" not in list_labels(output), "looks finished"
    if moment == "inside the write of a block":
        assert before["superpixels"].blocks_done == 3
        assert list((output / "labels/superpixels/0").rglob("*.partial"))
    if moment == "inside a merge":
        assert before["features"].state == "unfinished"
        assert before["features"].blocks_done == BLOCKS
        assert before["edges"].state == "missing"
    current = {
        (r.stage, block)
        for r in before.values()
        if r.state in ("done", "unfinished")
        for block in run.ledger.done(r.stage)
    }

    computed: set[tuple[str, str]] = set()
    compute = blockwise.run_block

    def counted(job: blockwise.Job, index: Triple, parts: Path) -> str:
        name = compute(job, index, parts)
        computed.add((job.stage, name))
        return name

    monkeypatch.setattr(blockwise, "run_block", counted)
    reconstruct(run)
    assert not computed & current, "finished blocks were computed again"
    by_blocks = {s.name for s in STAGES if s.scope == "blocks"}
    assert len(computed | {c for c in current if c[0] in by_blocks}) == len(by_blocks) * BLOCKS
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


@pytest.mark.slow
def test_a_run_killed_twice_in_a_row_goes_on(
    server: subprocess.Popen[str],
    config: PipelineSections,
    finished: Path,
    volume: Path,
    prepared: Prepared,
    tmp_path: Path,
) -> None:
    output = tmp_path / "out.neurons.zarr"
    arguments = {"volume": str(volume), "output": str(output), "config": config.model_dump_json()}
    kill_at("between the data of a block and its mark", server, **arguments)
    kill_at("inside the write of a table", server, **arguments)
    run = prepared(config, output=output)
    reconstruct(run)
    assert_same(contents(output), contents(finished))

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_pipeline import (
    SECTIONS_NM,
    assert_same,
    contents,
    settings,
    write_volume,
)

from pipeline.contract import Box
from pipeline.errors import InputError, OutputError
from workflows import stage_run
from workflows.in_memory import reconstruct_array
from workflows.prepare import Run
from workflows.reconstruct import STAGES, reconstruct, status
from workflows.tasks import BlockTask, Job, Task

Prepared = Callable[..., Run]
NAMES = [s.name for s in STAGES]


def stop_at_block(number: int, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at a stage's block."""
    compute, count = stage_run.run_task, 0

    def interrupted(job: Job, threads: int, task: Task) -> Any:
        nonlocal count
        count += job.stage == stage and isinstance(task, BlockTask)
        if count == number:
            raise KeyboardInterrupt
        return compute(job, threads, task)

    monkeypatch.setattr(stage_run, "run_task", interrupted)


def test_a_finished_block_whose_file_is_gone_is_named(
    output: Path, prepared: Prepared, models: Any
) -> None:
    shard = output / "labels/superpixels/0/c/1/0/1"
    shard.unlink()
    run = prepared(settings(models.network, models.forests), output=output)
    with pytest.raises(OutputError, match=r"superpixels/0/c/1/0/1.*superpixels\.json"):
        reconstruct(run)
    (output / ".pipeline" / "superpixels.json").unlink()
    reconstruct(prepared(run.config, output=output))
    assert shard.stat().st_size > 0


def test_a_block_of_an_interrupted_stage_whose_file_was_emptied_is_computed_again(
    prepared: Prepared, models: Any, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(settings(models.network, models.forests))
    stop_at_block(3, "boundaries", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(run)
    monkeypatch.undo()
    (run.output.path / "0/c/0/0/1").write_bytes(b"")
    reconstruct(run)
    assert_same(contents(run.output.path), contents(finished))


def test_a_lost_column_of_a_finished_table_is_named(
    output: Path, prepared: Prepared, models: Any
) -> None:
    shutil.rmtree(output / "graph/nodes/neuron")
    run = prepared(settings(models.network, models.forests), output=output)
    with pytest.raises(OutputError, match=r"graph/nodes/neuron.*multicut\.json"):
        reconstruct(run)


def test_a_flipped_bit_in_a_finished_block_is_noticed_and_named(
    output: Path, prepared: Prepared, models: Any
) -> None:
    shard = output / "labels/superpixels/0/c/1/0/1"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 4
    shard.write_bytes(bytes(data))
    run = prepared(
        settings(models.network, models.forests, labels={"min_size_voxels": 9}), output=output
    )
    with pytest.raises(OutputError, match=r"superpixels/0/c/1/0/1.*stage labels, block"):
        reconstruct(run)
    assert "neurons" not in (output / "labels/zarr.json").read_text()


def test_lost_and_cut_parts_of_an_interrupted_stage_are_computed_again(
    output: Path, prepared: Prepared, models: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = settings(models.network, models.forests)
    run = prepared(config, output=tmp_path / "other.zarr")
    stop_at_block(6, "features", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(run)
    monkeypatch.undo()
    folder = run.output.path / ".pipeline/features.parts/blocks"
    (folder / "0.0.1.safetensors").unlink()
    cut = folder / "0.1.0.safetensors"
    cut.write_bytes(cut.read_bytes()[:200])
    reconstruct(run)
    assert_same(contents(run.output.path), contents(output))


def test_an_interrupted_stage_does_not_go_on_with_another_parameter(
    prepared: Prepared, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(settings(models.network))
    stop_at_block(4, "superpixels", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(run)
    monkeypatch.undo()
    changed = settings(models.network, superpixels={"min_size_voxels": 40, "basin_voxels": 20})
    run = prepared(changed)
    states = [(row.stage, row.state) for row in status(run)][:5]
    assert states[-1] == ("superpixels", "stale")
    assert {state for _, state in states[:-1]} == {"done"}
    reconstruct(run, until="superpixels")
    everything = Box((0, 0, 0), run.volume.shape)
    whole = reconstruct_array(
        run.volume.read(everything), SECTIONS_NM, changed, until="superpixels"
    )
    found = run.output.read("superpixels", everything)
    np.testing.assert_array_equal(found, whole["superpixels"])


def test_time_of_an_interrupted_run_counts(
    prepared: Prepared, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(settings(models.network))
    stop_at_block(4, "boundaries", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(run)
    row = next(one for one in status(run) if one.stage == "boundaries")
    assert (row.state, row.blocks_done, row.blocks) == ("unfinished", 3, 8)
    assert row.record
    first = row.record.seconds
    assert first > 0
    assert row.record.peak_bytes > 1 << 20
    monkeypatch.undo()
    reconstruct(run, until="boundaries")
    last = run.ledger.record("boundaries")
    assert last
    assert last.seconds > first
    assert next(one for one in status(run) if one.stage == "superpixels").state == "missing"


def test_nan_names_its_place_and_leaves_nothing_that_looks_finished(
    prepared: Prepared, models: Any, tmp_path: Path
) -> None:
    raw = np.random.default_rng(0).uniform(0, 1, (8, 20, 20)).astype(np.float32)
    raw[7, 18, 3] = np.nan
    run = prepared(settings(models.network), write_volume(tmp_path / "v.zarr", raw))
    with pytest.raises(InputError, match=r"NaN.*\[7, 18, 3\].*stage intensity, block 1\.1\.0"):
        reconstruct(run)
    assert [r.state for r in status(run)] == ["unfinished"] + ["missing"] * 10
    assert not run.output.has_array("boundaries")

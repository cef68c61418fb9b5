"""Blocks that overlap, as on a GPU, and sections beside each other, give the same output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_pipeline import assert_same, contents, settings

from pipeline.boundaries.batches import Batches
from pipeline.errors import ResourceError
from workflows import tasks
from workflows.cluster import Workplace
from workflows.executor import Executor
from workflows.prepare import Run
from workflows.reconstruct import reconstruct


@pytest.fixture
def overlapping(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Blocks that run the network overlap on this CPU too; how many were given out each time."""
    run, given = Executor.run, []

    def overlapped(self: Executor, *args: Any, **options: Any) -> Any:
        if options.get("on_device"):
            given.append(len(args[1]))
            options["at_once"] = 2
        return run(self, *args, **options)

    monkeypatch.setattr(Executor, "run", overlapped)
    return given


def test_blocks_that_overlap_give_the_same_output(
    overlapping: list[int], prepared: Callable[..., Run], models: Any, finished: Path
) -> None:
    run = prepared(settings(models.network, models.forests))
    reconstruct(run)
    assert overlapping == [8]
    assert_same(contents(run.output.path), contents(finished))


def test_a_run_that_broke_off_while_blocks_overlapped_goes_on_to_the_same_output(
    overlapping: list[int],
    prepared: Callable[..., Run],
    models: Any,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, compute, done = prepared(settings(models.network, models.forests)), tasks._run_block, []

    def breaks(work: Any, resources: Any, task: tasks.BlockTask) -> Any:
        if work.stage.name == "boundaries" and len(done) >= 3:
            raise ResourceError("the GPU was taken away")
        kept = compute(work, resources, task)
        if work.stage.name == "boundaries":
            done.append(task.name)
        return kept

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "_run_block", breaks)
        with pytest.raises(ResourceError, match="taken away"):
            reconstruct(run)
    marked = run.ledger.done("boundaries", "blocks")
    assert set(marked) <= set(done)
    reconstruct(run)
    assert overlapping == [8, 8 - len(marked)]
    assert_same(contents(run.output.path), contents(finished))


@pytest.mark.parametrize(("device", "expected"), [("cpu", 1), ("cuda", 2), ("cuda:1", 2)])
def test_the_stage_of_the_network_overlaps_blocks_on_a_gpu_alone(
    device: str,
    expected: int,
    prepared: Callable[..., Run],
    models: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, before = Executor.run, set()

    def noted(self: Executor, *args: Any, **options: Any) -> Any:
        if options["on_device"]:
            raise ResourceError(f"{options['at_once']} at once")
        before.add(options["at_once"])
        return run(self, *args, **options)

    monkeypatch.setattr(Executor, "run", noted)
    made = prepared(settings(models.network, models.forests))
    with pytest.raises(ResourceError, match=f"^{expected} at once"):
        reconstruct(replace(made, device=device))
    assert before == {1}


@pytest.mark.parametrize("spare_bytes", [0, 1 << 30])
def test_memory_to_spare_reaches_the_network_and_changes_nothing(
    spare_bytes: int,
    prepared: Callable[..., Run],
    models: Any,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With two threads, which predict sections beside each other where memory allows."""
    chosen, at_once = [], Batches.at_once

    def noted(self: Batches, *args: Any) -> int | None:
        chosen.append(at_once(self, *args))
        return chosen[-1]

    monkeypatch.setattr(Batches, "at_once", noted)
    monkeypatch.setattr(Workplace, "task_threads", lambda self, tasks, **more: 2)
    run = prepared(settings(models.network, models.forests))
    monkeypatch.setattr(Workplace, "share_bytes", lambda self: run.block_bytes + spare_bytes)
    try:
        reconstruct(run)
    finally:
        torch.set_num_threads(1)
    assert max(one or 0 for one in chosen) == (2 if spare_bytes else 1)
    assert_same(contents(run.output.path), contents(finished))

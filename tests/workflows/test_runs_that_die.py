"""Runs that die in the same task, again and again, and tasks that outlive their run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_pipeline import settings, write_volume

from pipeline.errors import BlockError, PipelineError, ResourceError
from workflows.attempts import Failure
from workflows.deaths import Deaths
from workflows.failed_tasks import error_of
from workflows.prepare import Run
from workflows.reconstruct import STAGES, reconstruct
from workflows.tasks import BlockTask, LevelTask, StepTask, Task, forget_opened, run_task

Prepared = Callable[..., Run]
RAW = np.zeros((4, 4, 4), np.uint8)
LAST_STEP_OF_EDGES = next(one for one in STAGES if one.name == "edges").steps[-1].name

DIE = """
import os, signal, sys
from pathlib import Path
from workflows.deaths import Deaths
deaths = Deaths(Path(sys.argv[1]))
for task in sys.argv[2:]:
    deaths.begin(task)
    if task == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    deaths.end()
"""


def die(folder: Path, *tasks: str) -> None:
    ended = subprocess.run([sys.executable, "-c", DIE, str(folder), *tasks], check=False)
    assert ended.returncode == (-signal.SIGKILL if "poison" in tasks else 0)


def test_a_task_in_which_three_runs_in_a_row_died_is_named(tmp_path: Path) -> None:
    die(tmp_path, "fine", "poison")
    die(tmp_path, "fine", "poison")
    assert Deaths(tmp_path).warning == ""
    die(tmp_path, "poison")
    assert "the last 3 runs died in poison" in Deaths(tmp_path).warning
    assert "--workers 2" in Deaths(tmp_path).warning
    die(tmp_path, "poison")
    assert "the last 4 runs died in poison" in Deaths(tmp_path).warning
    die(tmp_path, "other")
    assert Deaths(tmp_path).warning == ""


def test_a_note_that_was_cut_is_none(tmp_path: Path) -> None:
    (tmp_path / "running").write_text('["poison", 9')
    assert Deaths(tmp_path).warning == ""


def test_a_run_after_three_deaths_says_so_once_and_goes_on(
    prepared: Prepared, models: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = prepared(settings(models.network))
    (run.ledger.folder / "running").write_text('["stage intensity, blocks 0.0.1", 2]')
    reconstruct(run, until="intensity")
    reconstruct(run, until="intensity")
    told = [one.getMessage() for one in caplog.records if "runs died" in one.getMessage()]
    assert len(told) == 1
    assert "the last 3 runs died in stage intensity, blocks 0.0.1" in told[0]


@pytest.mark.parametrize(
    ("stage", "task"),
    [
        ("superpixels", BlockTask((0, 0, 0))),
        ("graph", BlockTask((0, 0, 0))),
        ("superpixels", LevelTask("superpixels", "labels", 0, (0, 0, 0))),
        ("edges", StepTask(LAST_STEP_OF_EDGES, 0)),
    ],
)
def test_a_task_of_a_run_that_has_ended_writes_nothing_into_the_next(
    output: Path, prepared: Prepared, models: Any, stage: str, task: Task
) -> None:
    run = prepared(settings(models.network, models.forests), output=output)
    run.ledger.claim("first")
    run.ledger.claim("second")
    before = {file: file.stat().st_mtime_ns for file in output.rglob("*")}
    forget_opened()
    job = run.job(next(one for one in STAGES if one.name == stage), "first")
    with pytest.raises(ResourceError, match="another run has begun"):
        run_task(job, 1, task)
    assert {file: file.stat().st_mtime_ns for file in output.rglob("*")} == before


def test_workers_in_another_folder_open_the_same_volume(
    prepared: Prepared, models: Any, volume: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(volume.parent)
    run = prepared(settings(models.network), Path(volume.name))
    job = run.job(STAGES[0], "run")
    monkeypatch.chdir(tmp_path)
    assert job.source.open().info == run.volume.info


def test_a_worker_that_sees_another_volume_says_so(
    prepared: Prepared, models: Any, tmp_path: Path
) -> None:
    run = prepared(settings(models.network))
    job = run.job(STAGES[0], "run")
    other = replace(job, source=replace(job.source, path=write_volume(tmp_path / "v.zarr", RAW)))
    with pytest.raises(ResourceError, match=r"this worker sees.*\(4, 4, 4\)"):
        run_task(other, 1, BlockTask((0, 0, 0)))


def failure(kind: str) -> Failure:
    return Failure("0", kind, "why", "", 1)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["ResourceError"], ResourceError),
        (["ResourceError", "OSError"], BlockError),
        (["annotations"], BlockError),
        (["PipelineError"], PipelineError),
        (["OSError"], BlockError),
    ],
)
def test_failures_are_raised_as_the_error_that_all_share_if_it_is_one_of_ours(
    kinds: list[str], expected: type[PipelineError]
) -> None:
    assert error_of([failure(kind) for kind in kinds]) is expected

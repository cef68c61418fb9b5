"""``run --dry-run``: what would be done and why, without doing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.registry import STAGES


def test_a_dry_run_shows_stages_time_disk_and_checks_and_makes_nothing(
    call: Any, volume: Path, config: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    answer = call("run", volume, "--config", config, "--dry-run")
    assert answer.code == 0, answer.err
    assert answer.errors == []
    for stage in STAGES:
        assert stage.name in answer.out
    assert "time: about" in answer.out
    assert "an estimate from a piece of 4 x 24 x 22 voxels" in " ".join(answer.out.split())
    assert "disk: about" in answer.out
    assert sorted(tmp_path.rglob("*")) == before


def test_without_calibration_a_first_run_has_no_time(call: Any, volume: Path, config: Path) -> None:
    answer = call("run", volume, "--config", config, "--dry-run", "--no-calibration")
    assert answer.code == 0
    assert "time: not known" in answer.out
    assert "measuring" not in answer.err


def test_a_dry_run_says_for_machines_what_changed(
    call: Any, volume: Path, config: Path, tmp_path: Path
) -> None:
    command = ("run", volume, "--config", config, "--no-pictures")
    assert call(*command).code == 0
    answer = call(*command, "--set", "multicut.beta=0.45", "--dry-run", "--json")
    assert answer.code == 0
    plan = json.loads(answer.out)
    runs = {one["stage"]: one["why"] for one in plan["stages"] if one["runs"]}
    assert runs == {"multicut": ["multicut.beta: 0.6 -> 0.45"], "labels": ["depends on multicut"]}
    assert plan["possible"] is True
    assert plan["seconds"] > 0
    assert {finding["kind"] for finding in plan["findings"]} <= {"fine", "warning"}
    again = call(*command, "--set", "multicut.beta=0.45")
    assert "multicut is computed again: multicut.beta: 0.6 -> 0.45" in again.err
    last = call(*command, "--set", "multicut.beta=0.45", "--dry-run")
    assert "nothing is to be done: every stage is current" in last.out


def test_warnings_are_said_before_the_run(
    call: Any, volume: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.checks import Finding

    monkeypatch.setattr(
        "workflows.plan.check_cores", lambda workplace: Finding("warning", "cores: few")
    )
    done = call("run", volume, "--config", config, "--no-pictures")
    assert done.code == 0
    assert "warning: cores: few" in done.err

"""What a run would do and need: states and reasons, work, time, disk, checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_pipeline import settings

from pipeline.contract import BLOCKS, Halo, VolumeInfo
from pipeline.errors import InputError, ResourceError
from pipeline.grid import blocks
from pipeline.registry import STAGES
from workflows import checks, stage_run
from workflows.blocks import BlockMemory
from workflows.calibration import calibrate
from workflows.checks import check_cores, check_disk, check_memory, check_permission, refuse
from workflows.cluster import Workplace
from workflows.estimates import Pace, Work, measured, typical
from workflows.plan import Plan, make_plan
from workflows.prepare import Run
from workflows.reconstruct import reconstruct
from workflows.status import as_json, status

GIB = 1 << 30
SUPERPIXELS = [stage.name for stage in STAGES].index("superpixels")


def planned(run: Run, workplace: Workplace | None = None, pace: Pace | None = None) -> Plan:
    work = Work.of(run)
    return make_plan(
        run, workplace or Workplace(), work, pace or measured(run, work, "the earlier run")
    )


def to_run(plan: Plan) -> list[str]:
    return [one.stage for one in plan.stages if one.runs]


def reasons(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {one.stage: one.why for one in plan.stages if one.runs}


def files(folder: Path) -> Iterator[tuple[Path, int]]:
    for path in sorted(folder.rglob("*")):
        yield path, path.stat().st_mtime_ns


def test_a_plan_for_a_new_output_runs_everything_and_makes_nothing(
    prepared: Callable[..., Run], models: Any, tmp_path: Path
) -> None:
    run = prepared(settings(models.network, models.forests), write=False)
    plan = planned(run)
    assert to_run(plan) == [stage.name for stage in STAGES]
    assert {one.state for one in plan.stages} == {"missing"}
    assert [one.blocks for one in plan.stages if one.blocks_total] == [8] * 8
    assert plan.seconds is None
    assert plan.possible
    assert not run.output.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_output_has_nothing_to_do(
    prepared: Callable[..., Run], models: Any, output: Path
) -> None:
    before = list(files(output))
    run = prepared(settings(models.network, models.forests), output=output, write=False)
    plan = planned(run)
    assert to_run(plan) == []
    assert plan.seconds == 0
    assert plan.disk_bytes == 0
    assert list(files(output)) == before


def test_a_changed_parameter_is_named_and_what_depends_on_it_follows(
    prepared: Callable[..., Run], models: Any, output: Path
) -> None:
    changed = settings(models.network, models.forests, multicut={"beta": 0.4})
    run = prepared(changed, output=output, write=False)
    assert reasons(planned(run)) == {
        "multicut": ("multicut.beta: 0.6 -> 0.4",),
        "labels": ("depends on multicut",),
    }
    rows = {row.stage: row for row in status(run)}
    assert rows["multicut"].why == ("multicut.beta: 0.6 -> 0.4",)
    assert rows["lifted"].why == ()


def test_a_changed_model_file_is_named(
    prepared: Callable[..., Run], models: Any, output: Path
) -> None:
    other = settings(models.network, (models.forests[0], Path("none")))
    run = prepared(other, output=output, write=False)
    why = reasons(planned(run))
    assert next(iter(why)) == "lifted"
    assert any("forest" in phrase or "model file" in phrase for phrase in why["lifted"])


def test_all_is_computed_again_where_the_output_is_to_be_removed(
    prepared: Callable[..., Run], models: Any, output: Path
) -> None:
    run = prepared(settings(models.network, models.forests), output=output, write=False)
    work = Work.of(run)
    pace = measured(run, work, "the earlier run")
    plan = make_plan(run, Workplace(), work, pace, fresh=True)
    assert to_run(plan) == [stage.name for stage in STAGES]
    assert plan.disk_bytes == 0, "what is removed makes room for as much"


def test_an_interrupted_stage_has_only_its_other_blocks_left(
    prepared: Callable[..., Run], models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(settings(models.network, models.forests))
    compute, seen = stage_run.run_task, []

    def interrupted(job: Any, threads: int, task: Any) -> Any:
        if job.stage == "superpixels" and task.name == "0.1.1":
            seen.append(next(row for row in status(run) if row.stage == "superpixels"))
            raise KeyboardInterrupt
        return compute(job, threads, task)

    monkeypatch.setattr(stage_run, "run_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(run)
    monkeypatch.undo()
    assert [(one.state, one.blocks_done, one.blocks) for one in seen] == [("unfinished", 3, 8)]
    plan = planned(run)
    assert to_run(plan)[0] == "superpixels"
    first = next(one for one in plan.stages if one.runs)
    assert (first.blocks, first.blocks_total) == (5, 8)
    assert first.why == ("interrupted: 3 of 8 blocks are done",)
    row = next(row for row in status(run) if row.stage == "superpixels")
    assert (row.state, row.blocks_done, row.blocks) == ("unfinished", 3, 8)
    shown = as_json(run, status(run))
    assert shown["finished"] is False
    step = next(s for s in shown["stages"][SUPERPIXELS]["steps"] if s["step"] == BLOCKS)
    assert (step["state"], step["done"], step["tasks"]) == ("unfinished", 3, 8)


def test_the_time_of_a_stale_stage_is_that_which_it_took(
    prepared: Callable[..., Run], models: Any, output: Path
) -> None:
    changed = settings(models.network, models.forests, superpixels={"min_size_voxels": 5})
    run = prepared(changed, output=output, write=False)
    plan = planned(run)
    stage = next(one for one in plan.stages if one.stage == "superpixels")
    record = run.ledger.record("superpixels")
    assert record is not None
    assert stage.seconds == pytest.approx(record.seconds)
    assert stage.seconds_from == "the earlier run"
    two = planned(run, Workplace(workers=2))
    assert two.seconds == pytest.approx((plan.seconds or 0) / 2)


def work_of(shape: tuple[int, int, int], block: tuple[int, int, int], **halos: Halo) -> Work:
    volume = VolumeInfo(shape, (8.0, 8.0, 8.0), "uint8")
    return Work(BlockMemory(volume, block, halos), block, 8)


def test_work_is_what_all_blocks_read() -> None:
    shape, block = (40, 70, 50), (16, 32, 32)
    halo = Halo((3, 5, 7), (4, 6, 8))
    work = work_of(shape, block, superpixels=halo)
    assert work.of_pass("superpixels", BLOCKS) == sum(
        one.read.size for one in blocks(shape, block, halo)
    )
    assert work.of_pass("superpixels", "superpixels-1") == math.prod(shape)
    assert work.blocks == 3 * 3 * 2


def test_work_of_the_network_counts_every_section_with_its_halo() -> None:
    flat = work_of((10, 64, 64), (1, 64, 64), boundaries=Halo.symmetric(0, 16, 16))
    assert flat.of_pass("boundaries", BLOCKS) == 8 * 10 * 96 * 96
    tiled = work_of((10, 64, 64), (1, 64, 32), boundaries=Halo.symmetric(0, 16, 16))
    assert tiled.of_pass("boundaries", BLOCKS) == 8 * 10 * 2 * 96 * 64
    cubic = work_of((64, 64, 64), (64, 64, 64), boundaries=Halo.symmetric(16, 16, 16))
    assert cubic.of_pass("boundaries", BLOCKS) == 8 * 3 * 64 * 96 * 96


def test_time_goes_with_the_work_and_is_shared_by_workers(
    prepared: Callable[..., Run], models: Any
) -> None:
    run = prepared(settings(models.network, models.forests), write=False)
    work = Work.of(run)
    seconds = {stage.name: {BLOCKS: 0.0} for stage in STAGES}
    seconds["superpixels"] = {BLOCKS: 2.0}
    plan = make_plan(run, Workplace(workers=4), work, Pace(seconds))
    assert plan.seconds == pytest.approx(2.0 * work.of_pass("superpixels", BLOCKS) / 4)


def test_disk_is_that_of_earlier_outputs_or_typical(
    prepared: Callable[..., Run], models: Any, output: Path
) -> None:
    run = prepared(settings(models.network, models.forests), output=output, write=False)
    work = Work.of(run)
    folder = output / "labels" / "superpixels"
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    known = {one.name: one for one in planned(run).arrays}
    assert known["superpixels"].disk_bytes == held
    assert known["superpixels"].plain_bytes == 8 * work.voxels
    guessed = {one.name: one for one in planned(run, pace=Pace()).arrays}
    share = typical(work).disk["superpixels"]
    assert guessed["superpixels"].disk_bytes == round(share * work.voxels)


def test_a_piece_of_the_volume_tells_the_time_and_leaves_nothing(
    prepared: Callable[..., Run], models: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = prepared(settings(models.network, models.forests), write=False)
    work = Work.of(run)
    pace = calibrate(run, work, 1)
    plan = make_plan(run, Workplace(), work, pace)
    assert plan.seconds is not None
    assert plan.seconds > 0
    assert plan.stages[SUPERPIXELS].seconds_from == "a piece of 4 x 30 x 28 voxels"
    assert not run.output.path.exists()
    assert capsys.readouterr().err == ""


def test_a_volume_without_contrast_tells_no_time(
    prepared: Callable[..., Run], models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(settings(models.network, models.forests), write=False)

    def constant(*arguments: Any, **options: Any) -> None:
        raise InputError("the volume is constant")

    monkeypatch.setattr("workflows.calibration.reconstruct", constant)
    with pytest.raises(InputError, match=r"no piece .* the volume is constant"):
        calibrate(run, Work.of(run), 1)


def test_a_full_disk_is_noticed_before_the_start(tmp_path: Path) -> None:
    output = tmp_path / "not" / "yet" / "there.zarr"
    assert check_disk(output, 10 * GIB, free=10 * GIB).kind == "fine"
    little = check_disk(output, 10 * GIB, free=9 * GIB)
    assert little.kind == "warning"
    assert f"about 10.0 GiB needed, 9.0 GiB free at {tmp_path}" in little.text
    with pytest.raises(ResourceError, match="far too little; make room, or give another --output"):
        refuse([little, check_disk(output, 10 * GIB, free=GIB - 1)])


def test_a_folder_that_cannot_be_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_permission(tmp_path / "a" / "b.zarr").kind == "fine"
    monkeypatch.setattr(checks.os, "access", lambda path, mode: False)
    found = check_permission(tmp_path / "a" / "b.zarr")
    assert found.kind == "error"
    assert f"{tmp_path} cannot be written" in found.text


def test_the_workers_memory_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "machine_bytes", lambda: 16 * GIB)
    monkeypatch.setattr(checks.psutil, "virtual_memory", lambda: Free(12 * GIB))
    four = Workplace(workers=4, memory_bytes=8 * GIB)
    (found,) = check_memory(four, GIB)
    assert found.kind == "error"
    assert "4 workers of 8.0 GiB, this machine has 16.0 GiB: too little" in found.text
    assert check_memory(replace(four, workers=2), GIB)[0].kind == "warning"
    assert check_memory(replace(four, workers=1), GIB)[0].kind == "fine"
    assert check_memory(replace(four, workers=1), 9 * GIB)[0].kind == "error"
    assert check_memory(Workplace(workers=8), 4 * GIB)[0].kind == "warning", "only an estimate"
    assert check_memory(Workplace(scheduler="tcp://far:1"), 99 * GIB)[0].kind == "fine"


class Free:
    def __init__(self, available: int) -> None:
        self.available = available


def test_more_workers_than_cores_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "available_cores", lambda: 4)
    assert check_cores(Workplace(workers=4)).kind == "fine"
    assert check_cores(Workplace(workers=5)).kind == "warning"

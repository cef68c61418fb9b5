"""Volumes, measurement, resuming and the model of the scaling benchmark."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray

from benchmarks import scaling
from benchmarks.children import measured
from benchmarks.scaling_model import (
    TARGETS,
    Assumed,
    Volume,
    crossed,
    predictions,
    ratios,
    rest_of,
    run_on,
)
from benchmarks.scaling_report import divisible, growth_sentence, markdown, workers_table
from benchmarks.scaling_run import Counters, Watch
from benchmarks.scaling_tasks import heads, marks
from benchmarks.scaling_volumes import mirrored, save_darkness_network, shape_of, write_tiled
from pipeline.boundaries.model import load_model
from pipeline.contract import Triple
from workflows.tasks import BlockTask, StepTask


@pytest.mark.parametrize("factor", [1, 2, 4, 8, 16, 32, 64])
def test_a_volume_is_as_many_times_larger_as_asked(factor: int) -> None:
    assert math.prod(shape_of((30, 512, 512), factor)) == factor * 30 * 512 * 512


def test_a_factor_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="6 is not a power of two"):
        shape_of((30, 512, 512), 6)


def test_tiled_sections_have_no_seam_and_begin_with_the_source(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(3), np.add.outer(np.arange(20), np.arange(24))).astype(np.uint8)
    write_tiled(tmp_path / "v.zarr", ramp, (40, 50, 60))
    volume = np.asarray(zarr.open_array(tmp_path / "v.zarr", mode="r")).astype(int)
    np.testing.assert_array_equal(volume[:3, :20, :24], ramp)
    for axis in range(3):
        assert np.abs(np.diff(volume, axis=axis)).max() == 1


def test_mirrored_places_go_on_where_they_were_cut() -> None:
    whole = mirrored(14, 0, 200)
    np.testing.assert_array_equal(
        np.concatenate([mirrored(14, 0, 77), mirrored(14, 77, 200)]), whole
    )
    assert set(whole.tolist()) == set(range(14))


def test_the_network_set_by_hand_finds_dark_lines(tmp_path: Path) -> None:
    save_darkness_network(tmp_path / "dark.safetensors")
    model: Any = load_model(tmp_path / "dark.safetensors", "cpu")
    section = torch.full((1, 1, 32, 32), 1.0)
    section[..., 10, :] = -1.0
    with torch.no_grad():
        probability = torch.softmax(model.network(section), 1)[0, 1].numpy()
    assert probability[10].min() > 0.9
    assert np.delete(probability, [10, 11], 0).max() < 0.1


def test_cpu_and_calls_are_summed_over_processes_and_the_drivers_calls_left_out() -> None:
    before = Counters(10.0, {1: 5.0, 2: 1.0}, {1: (9, 9, 9, 9), 2: (1, 10, 0, 0)})
    after = Counters(
        14.0, {1: 6.0, 2: 3.0, 3: 0.5}, {1: (99,) * 4, 2: (3, 30, 1, 7), 3: (1, 2, 3, 4)}
    )
    used = after.since(before, own=1)
    assert used == {
        "wall": 4.0,
        "cpu": 3.5,
        "driver_cpu": 1.0,
        "read_count": 3,
        "read_chars": 22,
        "write_count": 4,
        "write_chars": 11,
    }


def test_passes_are_told_apart_though_their_names_repeat_and_some_do_not_run() -> None:
    expected = [
        ("graph", "blocks"),
        ("graph", "index"),
        ("features", "blocks"),
        ("features", "index"),
    ]
    watch = Watch(deque(expected), own=os.getpid())
    for tasks in ([BlockTask((0, 0, 0)), BlockTask((0, 0, 1))], [], [BlockTask((0, 0, 0))]):
        assert watch(tasks) == tasks
    watch([StepTask("index", 0)])
    watch.close()
    watch.close()
    found = [(one["stage"], one["step"], one["tasks"]) for one in watch.measured]
    assert found == [("graph", "blocks", 2), ("features", "blocks", 1), ("features", "index", 1)]


def test_marks_and_heads_are_counted(tmp_path: Path) -> None:
    found = marks(tmp_path, 50)
    assert found["count"] == 50
    assert 50 < found["file_bytes"] < 500
    assert heads(tmp_path, 3)["count"] == 3


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the sizes that were measured; the second size always fails."""
    asked: list[str] = []

    def fake(module: str, job: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked.append(f"{module}-{job.get('factor')}")
        return {"error": "no room"} if job.get("factor") == 2 else {"voxels": 1}

    monkeypatch.setattr(scaling, "measured", fake)
    return asked


def test_what_was_measured_is_kept_and_what_failed_is_tried_again(
    tmp_path: Path, answers: list[str]
) -> None:
    first = scaling.measure_all(scaling.QUICK, None, tmp_path / "rows", tmp_path)
    assert first["size-2"] == {"error": "no room"}
    assert first["size-4"]["voxels"] == 1
    count = len(answers)
    again = scaling.measure_all(scaling.QUICK, None, tmp_path / "rows", tmp_path)
    assert answers[count:] == ["benchmarks.scaling_volumes-None", "benchmarks.scaling_run-2"]
    assert again == first
    assert not (tmp_path / "rows" / "size-2.json").exists()


def boxes_crossed(shape: Triple, piece: Triple, span: int) -> float:
    """Mean over all places at which the voxels may begin."""
    index = (
        np.stack(np.unravel_index(np.arange(math.prod(shape)), shape)) // np.array(piece)[:, None]
    )
    box = np.ravel_multi_index(
        tuple(index), [-(-n // p) for n, p in zip(shape, piece, strict=True)]
    )
    counts = [len(np.unique(box[i : i + span])) for i in range(0, len(box) - span + 1, 7)]
    return float(np.mean(counts))


@pytest.mark.parametrize("span", [4, 30, 64, 300, 1024, 2048, 5000])
def test_the_number_of_boxes_crossed_is_near_that_counted(span: int) -> None:
    shape, piece = (8, 32, 32), (4, 16, 8)
    assert crossed(shape, piece, span) == pytest.approx(boxes_crossed(shape, piece, span), rel=0.35)


def test_a_larger_section_makes_a_range_of_ids_cross_more_boxes() -> None:
    boxes = [crossed((32, n, n), (32, 512, 512), 10**6) for n in (512, 2048, 65536)]
    assert boxes == sorted(boxes)
    assert boxes[0] == 1
    assert boxes[-1] == 128 * (1 + (10**6 / 65536 - 1) / 512)


def one_pass(stage: str, step: str, tasks: int, cpu: float, **more: float) -> dict[str, Any]:
    base = {"stage": stage, "step": step, "tasks": tasks, "wall": cpu, "cpu": cpu + 1.0}
    base |= {"driver_cpu": 1.0, "read_count": 100.0, "write_count": 10.0, "write_chars": 5.0}
    return {**base, "worker_peak": 2**29, "tree_peak": 2**30, "rows": 0, **more}


def size_row(factor: int, cpu: float) -> dict[str, Any]:
    """A volume of ``factor`` million voxels whose graph costs ``cpu`` seconds."""
    return {
        "shape": [factor, 1000, 1000],
        "voxels": factor * 10**6,
        "block_shape": [1, 500, 500],
        "blocks": 4 * factor,
        "workers": 2,
        "seconds": 10.0 * factor,
        "start_seconds": 5.0,
        "idle_reads_per_second": 0.0,
        "passes": [
            one_pass("boundaries", "blocks", 4 * factor, 1.0 * factor),
            one_pass("graph", "blocks", 4 * factor, cpu),
            one_pass("multicut", "rest", 1, 0.1 * factor),
        ],
        "rows": {"nodes": 1000 * factor, "edges": 5000 * factor, "lifted": 20_000 * factor},
        "contraction": {},
        "files": {"volumes": {"files": factor, "bytes": 10**6 * factor}},
    }


def measured_rows() -> dict[str, dict[str, Any]]:
    levels = {
        "rows": {"nodes": 4000, "edges": 20_000, "lifted": 80_000},
        "contraction": {
            "neuron-contract-1": {"domains": 8, "nodes": 9, "edges": 10_000, "lifted": 30_000},
            "neuron-contract-2": {"domains": 2, "nodes": 5, "edges": 5_000, "lifted": 5_000},
        },
    }
    notes = {"count": 10, "write_seconds": 1e-4, "read_seconds": 1e-5}
    tasks = {
        "tasks": 100,
        "executor": [{"workers": 2, "seconds_per_task": 0.004}],
        "marks": {**notes, "file_bytes": 120.0, "memory_bytes": 1000.0},
        "heads": {"count": 10, "seconds": 0.005},
    }
    full = {**size_row(1, 2.0), "passes": [one_pass("boundaries", "blocks", 4, 100.0)]}
    return {
        "size-1": size_row(1, 2.0),
        "size-4": size_row(4, 8.0),
        "levels": levels,
        "full-1": full,
        "tasks": tasks,
    }


def test_levels_leave_what_they_left_in_the_measurement() -> None:
    rows = measured_rows()
    assert ratios(rows["levels"]) == (0.4, 0.25)
    target = Volume((1, 1, 1), (1, 1, 1), {"nodes": 1e8, "edges": 1e8, "lifted": 3e8})
    rest = rest_of(target, rows)
    assert rest["levels"] == 4  # 160, 40, 10, 2.5 million edges
    assert rest["edges"] == pytest.approx(2.5e6)
    assert rest["seconds"] == pytest.approx(2.5e6 * 0.4 / 120_000)  # 20,000 without lifted edges


def test_a_small_problem_is_solved_as_it_is() -> None:
    target = Volume((1, 1, 1), (1, 1, 1), {"nodes": 10, "edges": 100, "lifted": 200})
    assert rest_of(target, measured_rows())["levels"] == 0


def run_of(workers: int) -> dict[str, Any]:
    parts = {
        "network_cpu": 3600.0 * 800,
        "cpu": {"graph": 3600.0 * 100, "features": 3600.0 * 100},
        "scheduler": 3600.0 * 2,
        "requests": 3.6e6,
        "bytes": 1.0,
        "rest": {"seconds": 1800.0},
        "notes_seconds": 0.0,
        "heads_seconds": 360.0,
    }
    target = Volume((1, 1000, 1000), (1, 500, 500), {})
    return run_on(workers, parts, target, Assumed(request_seconds=0.001))


def test_few_workers_are_limited_by_the_network_and_many_by_the_scheduler() -> None:
    few, many = run_of(10), run_of(10_000)
    assert few["bottleneck"] == "network"
    assert few["total_hours"] == pytest.approx(100 + 0.5 + 0.1)
    assert few["without_network_hours"] == pytest.approx(20 + 0.5 + 0.1)
    assert few["bottleneck_without_network"] == "other stages"
    assert many["bottleneck"] == "scheduler"
    assert many["total_hours"] == pytest.approx(2 + 0.5 + 0.1)


def test_predictions_are_in_proportion_to_voxels() -> None:
    found = predictions(measured_rows())
    assert list(found) == list(TARGETS)
    paper = found[next(iter(TARGETS))]
    assert paper["network_cpu"] == pytest.approx(101 * 11_634.08)
    assert paper["cpu"] == {"graph": pytest.approx(2 * 11_634.08)}
    assert paper["tasks"] == pytest.approx((8 + 0.25) * 11_634.08)
    hours = [run["total_hours"] for run in paper["runs"]]
    assert hours == sorted(hours, reverse=True)


def test_nothing_is_predicted_from_half_a_measurement() -> None:
    rows = measured_rows()
    rows["tasks"] = {"error": "ended with 1"}
    assert predictions(rows) == {}


def test_the_cost_of_a_voxel_and_what_grows_are_named() -> None:
    rows = {"size-1": size_row(1, 2.0), "size-2": size_row(2, 8.0)}
    sentence = growth_sentence(rows)
    assert "changes by +95% from 1×1000×1000 to 2×1000×1000" in sentence
    assert "graph blocks 2.000 -> 4.000" in sentence


def test_speed_up_and_overhead_of_workers() -> None:
    rows = {f"workers-{n}": {**size_row(4, 8.0), "workers": n} for n in (0, 1, 2)}
    for name, seconds in (("workers-0", 40.0), ("workers-1", 42.0), ("workers-2", 24.0)):
        rows[name]["seconds"] = seconds
    text = workers_table(rows)
    assert "1.75 times as fast" in text
    assert "Dask adds 2.00 s, 0.12 s a block" in text
    assert divisible(rows["workers-1"]) == pytest.approx(12.0 / 12.4)


def test_the_report_holds_all_tables_and_names_what_failed() -> None:
    rows = measured_rows()
    rows["workers-0"] = {"error": "not finished within 7200 s"}
    values = {"real": False, "rows": rows, "model": predictions(rows)}
    text = markdown(json.loads(json.dumps(values)))
    assert "| 4×1000×1000 |" in text
    assert "Not measured: workers-0: not finished within 7200 s" in text
    assert "0.31 Mvoxel/s" in text
    assert text.count("### ") == len(TARGETS)


def painted(shape: Triple) -> NDArray[np.uint8]:
    """Bright squares of 16 pixels between dark lines."""
    z, y, x = np.indices(shape)
    return np.where(((y + z) % 16 == 0) | ((x + 2 * z) % 16 == 0), 20, 220).astype(np.uint8)


@pytest.mark.slow
def test_a_run_is_measured_pass_by_pass(tmp_path: Path) -> None:
    unit = (4, 128, 128)
    np.save(tmp_path / "mapped.npy", painted(unit))
    save_darkness_network(tmp_path / "darkness.safetensors")
    job = {"folder": str(tmp_path), "kind": "mapped", "unit": unit, "factor": 2, "workers": 0}
    job |= {"memory_bytes": None, "overrides": [], "tile": [1, 128, 128]}
    row = measured("benchmarks.scaling_run", job, threads=1)
    assert "error" not in row, row
    assert row["shape"] == [4, 128, 256]
    assert row["blocks"] == 2
    tasks = {(one["stage"], one["step"]): one["tasks"] for one in row["passes"]}
    assert tasks["superpixels", "blocks"] == tasks["labels", "blocks"] == 2
    assert tasks["multicut", "rest"] == 1
    assert sum(one["cpu"] for one in row["passes"]) <= 1.2 * row["seconds"]
    assert all(one["worker_peak"] > 2**27 for one in row["passes"])
    assert row["rows"]["nodes"] > 100
    assert row["files"]["volumes"]["bytes"] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["darkness.safetensors", "mapped.npy"]

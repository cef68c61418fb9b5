"""The table of computational costs: parts, extrapolation, what goes on after a kill."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cost_runs
from benchmarks.atum_sem import cost_table, drawn, fractions_of
from benchmarks.cost_runs import Cost, cost_of, measured, run_cost
from benchmarks.cost_volumes import COSTED, SMALLEST, part_shape, resampled, write_volume
from benchmarks.published import NOT_MEASURED
from pipeline.contract import Box
from pipeline.store import open_volume

ISBI, CORTEX, ATUM = COSTED


def options(tmp_path: Path, **changes: Any) -> argparse.Namespace:
    given = {"output": tmp_path, "device": "cpu", "workers": 1, "memory": None}
    return argparse.Namespace(**(given | {"config": None, "set": []} | changes))


def test_the_volumes_have_the_papers_sizes() -> None:
    assert [one.voxels for one in COSTED] == [7_864_320, 52_232_192, 11_634_080_000]


@pytest.mark.parametrize(
    ("fraction", "shape"),
    [(1.0, (178, 8600, 7600)), (0.125, (89, 4300, 3800)), (0.0, SMALLEST)],
)
def test_a_part_keeps_its_proportions(fraction: float, shape: tuple[int, int, int]) -> None:
    assert part_shape(ATUM.shapes[0], fraction) == shape


def test_a_volume_smaller_than_the_smallest_part_is_taken_whole() -> None:
    assert part_shape((2, 100, 300), 0.0) == (2, 100, 128)


def test_what_was_measured_is_extrapolated_by_voxels() -> None:
    cost = Cost(((10, 100, 100),), 90.0, 30.0, 1)
    assert cost.whole_minutes(1_000_000) == 20.0
    assert cost.whole_minutes(100_000) is None


def test_both_volumes_of_a_line_are_one_after_the_other() -> None:
    both = Cost(((1, 2, 3),), 1.0, 10.0, 7) + Cost(((4, 5, 6),), 2.0, 20.0, 5, True)
    assert both == Cost(((1, 2, 3), (4, 5, 6)), 3.0, 30.0, 7, True)
    assert both.voxels == 126


def test_an_extrapolated_time_never_stands_as_a_measured_one() -> None:
    costs = {
        "isbi": Cost(ISBI.shapes, 120.0, 30.0, 2**30),
        "cortex": Cost(((169, 256, 512), (121, 256, 128)), 60.0, 60.0, 2**31, True),
    }
    table = cost_table(costs, "a device", real=True)
    isbi, cortex, atum = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    extrapolated = "whole, extrapolated by voxels, min"
    assert (isbi["network min"], isbi["graph min"], isbi["all min"]) == (2.0, 0.5, 2.5)
    assert isbi["Mvoxel/s"] == "0.0524"
    assert isbi[extrapolated] is None
    assert cortex["of the whole"] == "50 %"
    assert (cortex["all min"], cortex[extrapolated]) == (2.0, 4.0)
    assert cortex["measured voxels"] == "512×256×169 and 128×256×121 *"
    assert "killed and gone on with" in table.note
    assert set(list(atum.values())[1:-1]) == {NOT_MEASURED}
    assert [row["paper inference min"] for row in (isbi, cortex, atum)] == [60, 210, 630]
    assert "a device" in table.note


def test_the_figure_tells_measured_from_extrapolated() -> None:
    costs = {"isbi": Cost(ISBI.shapes, 60.0, 0.0, 1), "atum_sem": Cost(((1, 100, 100),), 1, 0, 1)}
    axes = drawn(costs).axes[0]
    points = {line.get_label(): line.get_xdata() for line in axes.get_lines()}
    assert list(points["paper"]) == [60, 210, 630]
    assert list(points["ours"]) == [1.0]
    assert list(points["ours, extrapolated"]) == pytest.approx([1_163_408 / 60])


@pytest.mark.parametrize("text", ["isbi", "isbi=2", "isbi=-1", "other=1", "isbi=x"])
def test_a_share_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SystemExit, match="NAME=SHARE"):
        fractions_of([text], quick=False)


def test_shares_are_whole_for_isbi_and_as_given() -> None:
    found = fractions_of(["cortex=0"], quick=False)
    assert found["isbi"] == 1
    assert found["cortex"] == 0


def test_the_network_is_told_from_all_else() -> None:
    stages = [
        {"stage": "boundaries", "seconds": 5.0, "peak_bytes": 3},
        {"stage": "graph", "seconds": 2.0, "peak_bytes": 9},
        {"stage": "labels", "seconds": 0.5, "peak_bytes": 4},
    ]
    assert cost_of(stages, (1, 1, 1), interrupted=False) == Cost(((1, 1, 1),), 5.0, 2.5, 9)


def test_larger_pixels_are_fewer_and_keep_the_mean() -> None:
    rng = np.random.default_rng(0)
    sections = rng.integers(0, 256, (2, 70, 140), np.uint8)
    found = resampled(sections, 7.0)
    assert found.shape == (2, 40, 80)
    assert found.mean() == pytest.approx(sections.mean(), abs=1)
    assert found.std() < sections.std()
    assert resampled(sections, 4.0) is sections


def test_a_volume_is_the_mirrored_sections(tmp_path: Path) -> None:
    sections = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    write_volume(tmp_path / "v.zarr", sections, (5, 7, 6), (50, 2, 2))
    volume = open_volume(tmp_path / "v.zarr")
    there_and_back = np.concatenate([sections, sections[::-1], sections[:1]])
    wide = np.pad(there_and_back, ((0, 0), (0, 4), (0, 2)), mode="symmetric")
    assert np.array_equal(volume.read(Box((0, 0, 0), (5, 7, 6))), wide)
    assert tuple(volume.voxel_size_nm) == (50, 2, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["v.zarr"]


class Program:
    """Stands for ``python -m pipeline``: makes an output, tells of its stages."""

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self.fails = False

    def __call__(self, command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        if command[3] == "status":
            stage = {"seconds": 2.0, "peak_bytes": 8}
            stages = [{"stage": name, **stage} for name in ("boundaries", "graph")]
            return subprocess.CompletedProcess(command, 0, json.dumps({"stages": stages}))
        self.runs.append(command)
        Path(command[command.index("--output") + 1]).mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, int(self.fails))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    stands_in = Program()
    monkeypatch.setattr(cost_runs.subprocess, "run", stands_in)
    monkeypatch.setattr(cost_runs, "commit", lambda: "abc1234")
    return stands_in


SECTIONS = np.zeros((1, 8, 8), np.uint8)


def test_a_finished_line_is_not_measured_again(tmp_path: Path, program: Program) -> None:
    first = run_cost(ISBI, SECTIONS, (1, 8, 8), options(tmp_path))
    assert first == Cost(((1, 8, 8),), 2.0, 2.0, 8)
    assert run_cost(ISBI, SECTIONS, (1, 8, 8), options(tmp_path)) == first
    assert len(program.runs) == 1
    run_cost(ISBI, SECTIONS, (1, 8, 8), options(tmp_path, set=["multicut.beta=0.7"]))
    assert len(program.runs) == 2
    assert program.runs[1][-2:] == ["--set", "multicut.beta=0.7"]


def test_a_run_that_failed_goes_on_and_says_that_it_was_interrupted(
    tmp_path: Path, program: Program
) -> None:
    program.fails = True
    with pytest.raises(SystemExit, match="the same command goes on"):
        run_cost(ISBI, SECTIONS, (1, 8, 8), options(tmp_path))
    program.fails = False
    assert run_cost(ISBI, SECTIONS, (1, 8, 8), options(tmp_path)).interrupted
    outputs = [command[command.index("--output") + 1] for command in program.runs]
    assert outputs[0] == outputs[1]


def test_a_line_measures_all_its_volumes(tmp_path: Path, program: Program) -> None:
    cost = measured(CORTEX, np.zeros((1, 8, 8), np.uint8), options(tmp_path))
    assert len(cost.shapes) == 2
    assert cost.seconds == 8.0
    assert "piriform" in program.runs[0]

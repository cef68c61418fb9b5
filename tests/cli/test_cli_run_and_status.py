from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from small_pipeline import Tissue, contents

from workflows import stage_run
from workflows.tasks import Job


def states(answer: Any) -> list[str]:
    return [row["state"] for row in json.loads(answer.out)["stages"]]


def reasons(answer: Any) -> dict[str, str]:
    """Of the stages that are stale."""
    rows = json.loads(answer.out)["stages"]
    return {row["stage"]: "; ".join(row["reason"]) for row in rows if row["state"] == "stale"}


def test_run_then_status_then_evaluate(
    call: Any, volume: Path, config: Path, tissue: Tissue, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.tif"
    tifffile.imwrite(truth, tissue.cells.astype(np.uint16))
    done = call("run", volume, "--config", config, "--truth", truth, "--device", "cpu")
    assert done.code == 0, done.err
    output = tmp_path / "v.neurons.zarr"
    assert "5 x 24 x 22 uint8, voxels of 40 x 8 x 8 nm, treated as sections" in done.err
    assert "v_rand" in done.out.lower()
    solved = [line for line in done.err.splitlines() if " neurons, energy " in line]
    assert [line.split(",")[0] for line in solved][:1] == ["multicut"]
    assert len(solved) == len(set(solved)) <= 2
    assert len(list((tmp_path / "v.neurons.pictures").glob("*.png"))) >= 2

    rows = call("status", output, "--json")
    assert states(rows) == ["done"] * 11
    table = call("status", output)
    assert table.code == 0
    assert "superpixels" in table.out
    assert "4/4" in table.out

    scores = tmp_path / "scores.json"
    scored = call("evaluate", output, truth, "--json", scores)
    assert scored.code == 0
    assert json.loads(scores.read_text())["volume"]["arand_error"] < 0.5

    before = contents(output)
    again = call("run", volume, "--config", config, "--no-pictures")
    assert again.code == 0
    assert "[4/11] boundaries: 4 blocks in " in done.err
    assert "boundaries:" not in again.err, "a current stage was run again"
    np.testing.assert_array_equal(contents(output)["neurons/0"], before["neurons/0"])


def press_ctrl_c() -> None:
    # a shell that starts tests in the background lets them ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)


def end_as_queues_do() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)


@pytest.mark.parametrize(("end_the_run", "code"), [(press_ctrl_c, 130), (end_as_queues_do, 143)])
def test_an_ended_run_says_how_to_go_on(
    end_the_run: Callable[[], None],
    code: int,
    call: Any,
    volume: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute = stage_run.run_task

    def interrupted(job: Job, *arguments: Any) -> Any:
        if job.stage == "graph":
            end_the_run()
        return compute(job, *arguments)

    monkeypatch.setattr(stage_run, "run_task", interrupted)
    stopped = call("run", volume, "--config", config)
    assert stopped.code == code
    assert "the same command goes on" in stopped.err
    output = tmp_path / "v.neurons.zarr"
    assert (
        states(call("status", output, "--json")) == ["done"] * 5 + ["unfinished"] + ["missing"] * 5
    )
    monkeypatch.undo()
    assert call("run", volume, "--config", config, "--no-pictures").code == 0
    assert states(call("status", output, "--json")) == ["done"] * 11


def test_a_region_is_scored_against_the_uncut_truth(
    call: Any, volume: Path, config: Path, tissue: Tissue, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.tif"
    tifffile.imwrite(truth, tissue.cells.astype(np.uint16))
    roi, output = "1:4,2:24,0:20", tmp_path / "region.zarr"
    done = call(
        "run", volume, "--config", config, "--roi", roi, "--output", output, "--truth", truth,
        "--no-pictures",
    )  # fmt: skip
    assert done.code == 0, done.err
    cut = tmp_path / "cut.tif"
    tifffile.imwrite(cut, tissue.cells[1:4, 2:24, 0:20].astype(np.uint16))
    assert call("evaluate", output, cut).out == done.out
    assert states(call("status", output, "--json")) == ["done"] * 11


def test_a_mask_is_kept_with_the_output_and_its_background_stays_empty(
    call: Any, volume: Path, config: Path, tissue: Tissue, tmp_path: Path
) -> None:
    mask = np.ones(tissue.raw.shape, np.uint8)
    mask[:, :, 12:] = 0
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    command = ("run", volume, "--config", config, "--mask", tmp_path / "mask.tif", "--no-pictures")
    assert call(*command).code == 0
    output = tmp_path / "v.neurons.zarr"
    assert states(call("status", output, "--json")) == ["done"] * 11
    np.testing.assert_array_equal(contents(output)["neurons/0"] > 0, mask > 0)
    (tmp_path / "mask.tif").touch()
    why = reasons(call("status", output, "--json"))
    assert why["foreground"] == "mask changed"
    assert why["superpixels"] == "depends on boundaries; depends on foreground"


def test_status_shows_what_a_changed_input_makes_stale(
    call: Any, volume: Path, config: Path, tmp_path: Path
) -> None:
    assert call("run", volume, "--config", config, "--no-pictures").code == 0
    chunk = next(p for p in sorted(volume.rglob("*")) if p.is_file() and p.name != "zarr.json")
    chunk.touch()
    answer = call("status", tmp_path / "v.neurons.zarr", "--json")
    assert states(answer) == ["stale"] * 11
    why = reasons(answer)
    assert why["intensity"] == "raw changed"
    assert why["graph"] == "depends on sections; depends on superpixels"
    shown = call("status", tmp_path / "v.neurons.zarr").out
    assert "graph is stale: depends on sections; depends on superpixels" in shown


def test_status_of_an_output_whose_input_is_gone_is_one_line(
    call: Any, volume: Path, config: Path, tmp_path: Path
) -> None:
    assert call("run", volume, "--config", config, "--no-pictures").code == 0
    shutil.rmtree(volume)
    answer = call("status", tmp_path / "v.neurons.zarr")
    assert answer.code == 2
    assert answer.err == f"error: {volume}: does not exist\n"


def test_show_config_resolves_every_auto(call: Any, volume: Path) -> None:
    answer = call("show-config", volume)
    assert answer.code == 0
    later = answer.out  # without what the device decides, and the pixels, for which models are read
    for key in ("precision", "batch", "orientations_at_once", "pixel_nm"):
        later = later.replace(f"  {key}: auto\n", "")
    assert "auto\n" not in later
    assert "  # P(boundary) from which on" in answer.out

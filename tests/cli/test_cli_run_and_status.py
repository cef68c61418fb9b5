from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from small_pipeline import Tissue, contents

from workflows import blockwise


def states(answer: Any) -> list[str]:
    return [row["state"] for row in json.loads(answer.out)]


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
    assert states(rows) == ["done"] * 10
    table = call("status", output)
    assert table.code == 0
    assert "superpixels" in table.out
    assert "1/1" in table.out

    scores = tmp_path / "scores.json"
    scored = call("evaluate", output, truth, "--json", scores)
    assert scored.code == 0
    assert json.loads(scores.read_text())["volume"]["arand_error"] < 0.5

    before = contents(output)
    again = call("run", volume, "--config", config, "--no-pictures")
    assert again.code == 0
    assert "boundaries:" not in again.err, "a current stage was run again"
    np.testing.assert_array_equal(contents(output)["neurons/0"], before["neurons/0"])


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
    call: Any, volume: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = blockwise.run_block

    def interrupted(job: blockwise.Job, *arguments: Any) -> str:
        if job.stage == "graph":
            raise KeyboardInterrupt
        return compute(job, *arguments)

    monkeypatch.setattr(blockwise, "run_block", interrupted)
    stopped = call("run", volume, "--config", config)
    assert stopped.code == 130
    assert "the same command goes on" in stopped.err
    output = tmp_path / "v.neurons.zarr"
    assert (
        states(call("status", output, "--json")) == ["done"] * 4 + ["unfinished"] + ["missing"] * 5
    )
    monkeypatch.undo()
    assert call("run", volume, "--config", config, "--no-pictures").code == 0
    assert states(call("status", output, "--json")) == ["done"] * 10


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
    assert states(call("status", output, "--json")) == ["done"] * 10


def test_a_mask_is_kept_with_the_output_and_its_background_stays_empty(
    call: Any, volume: Path, config: Path, tissue: Tissue, tmp_path: Path
) -> None:
    mask = np.ones(tissue.raw.shape, np.uint8)
    mask[:, :, 12:] = 0
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    command = ("run", volume, "--config", config, "--mask", tmp_path / "mask.tif", "--no-pictures")
    assert call(*command).code == 0
    output = tmp_path / "v.neurons.zarr"
    assert states(call("status", output, "--json")) == ["done"] * 10
    np.testing.assert_array_equal(contents(output)["neurons/0"] > 0, mask > 0)
    (tmp_path / "mask.tif").touch()
    stale = [row["stage"] for row in json.loads(call("status", output, "--json").out)
             if row["state"] == "stale"]  # fmt: skip
    assert stale[:2] == ["foreground", "superpixels"]


def test_status_shows_what_a_changed_input_makes_stale(
    call: Any, volume: Path, config: Path, tmp_path: Path
) -> None:
    assert call("run", volume, "--config", config, "--no-pictures").code == 0
    chunk = next(p for p in sorted(volume.rglob("*")) if p.is_file() and p.name != "zarr.json")
    chunk.touch()
    answer = call("status", tmp_path / "v.neurons.zarr", "--json")
    assert states(answer) == ["stale"] * 10


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
    assert "auto\n" not in answer.out.replace("precision: auto", "")
    assert "  # P(boundary) from which on" in answer.out

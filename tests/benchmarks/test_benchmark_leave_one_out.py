"""The driver on painted tissue; its numbers say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_pipeline import paint_tissue

from benchmarks import leave_one_out
from pipeline.errors import ConfigError
from workflows.train_boundaries import BoundaryTraining
from workflows.training_data import Pair

TISSUE = paint_tissue((6, 64, 64), cells=15, z_step=5)
CONFIG = """\
name: all
licence: none
training:
  {steps: 3, batch: 2, crop: 32, network: {stem: 8, widths: [8, 16], units: [1, 1, 1, 1, 1, 1]}}
volumes:
  - {name: one, raw: one.tif, truth: ids.tif, truth_kind: labels, sections: [0, 3],
     voxel_size_nm: [40, 8, 8]}
  - {name: two, raw: two.tif, truth: cells.tif, truth_kind: cells, sections: [3, 6],
     voxel_size_nm: [40, 8, 8]}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "one.tif", TISSUE.raw)
    tifffile.imwrite(tmp_path / "two.tif", TISSUE.raw)
    tifffile.imwrite(tmp_path / "ids.tif", TISSUE.cells.astype(np.uint16))
    inside = TISSUE.cells == np.roll(TISSUE.cells, 2, axis=2)
    tifffile.imwrite(tmp_path / "cells.tif", inside.astype(np.uint8) * 255)
    (tmp_path / "all.yaml").write_text(CONFIG)
    return tmp_path


def call(data: Path, *more: str) -> Path:
    return leave_one_out.main(
        ["--data", str(data), "--output", str(data / "out"), "--config", str(data / "all.yaml"),
         "--device", "cpu", *more]
    )  # fmt: skip


def test_each_volume_is_scored_by_the_network_that_never_saw_it(data: Path) -> None:
    call(data, "--only", "two")
    model = data / "out/leave_one_out/without-two/without-two.safetensors"
    made = model.stat().st_mtime_ns
    assert not (data / "out/leave_one_out/without-one").exists()
    path = call(data)
    assert model.stat().st_mtime_ns == made  # what is finished is kept
    rows = json.loads(path.read_text())["values"]["scores"]
    assert [row["left_out"] for row in rows] == ["one", "two"]
    assert [row["steps"] for row in rows] == [3, 3]
    assert [row["seen"] for row in rows] == [False, False]
    assert rows[0]["arand"] is not None
    assert rows[1]["arand"] is None
    for name, other in (("one", "two"), ("two", "one")):
        folder = data / "out" / "leave_one_out" / f"without-{name}"
        card = json.loads((folder / f"without-{name}.json").read_text())
        assert [volume["name"] for volume in card["data"]] == [other]


@pytest.mark.parametrize(
    "other",
    [
        ("--set", "training.network={architecture: u_net, width: 8, depth: 2}"),
        ("--set", "training.steps=2"),
    ],
)
def test_a_network_of_another_configuration_is_not_taken_for_the_one_asked_for(
    data: Path, other: tuple[str, ...]
) -> None:
    model = data / "out/leave_one_out/without-one/without-one.safetensors"
    call(data, "--only", "one", *other)
    made = model.read_bytes()
    with pytest.raises(ConfigError, match=r"holds a network of another configuration"):
        call(data, "--only", "one")
    assert model.read_bytes() == made
    call(data, "--only", "one", *other)


def test_a_quick_network_is_kept_apart(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leave_one_out, "QUICK_PIXELS", 48)
    call(data, "--only", "one", "--quick")
    assert not (data / "out/leave_one_out").exists()
    assert (data / "out/leave_one_out_quick/without-one/without-one.safetensors").exists()


def test_an_unknown_volume_is_refused(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"--only three: .* has one, two"):
        call(data, "--only", "three")


def test_a_single_volume_or_a_start_that_may_have_seen_it_is_refused(data: Path) -> None:
    everything = leave_one_out.read_training(data / "all.yaml")
    single = everything.model_copy(update={"volumes": everything.volumes[:1]})
    with pytest.raises(ConfigError, match="nothing to learn from without one"):
        leave_one_out.without("one", single)
    started: BoundaryTraining = everything.model_copy(update={"start_from": "default"})
    with pytest.raises(ConfigError, match="default may have seen"):
        leave_one_out.without("one", started)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("labels", [0, 7, 0]), ("cells", [0, 1, 0]), ("membranes", [1, 0, 0])],
)
def test_truth_is_0_at_membranes_and_where_nothing_is_known(kind: str, expected: list[int]) -> None:
    truth = np.array([0, 7, 7], np.uint16).reshape(1, 1, 3)
    known = np.array([True, True, False]).reshape(1, 1, 3)
    found = leave_one_out.cells_or_ids(Pair(truth, truth, known), kind)
    assert found.ravel().tolist() == expected

"""The driver on painted tissue; its numbers say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_left_out import two_volumes

from benchmarks import leave_one_out, left_out_scores
from benchmarks.left_out_scores import (
    MapScore,
    Score,
    Scorer,
    as_table,
    cells_or_ids,
    fewer_sections,
    scored_part,
)
from pipeline.boundaries.model import load_model
from pipeline.errors import ConfigError
from workflows.annotated_volume import AnnotatedVolume
from workflows.train_boundaries import BoundaryTraining
from workflows.training_data import Pair, read_pair


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_volumes(tmp_path)


def call(data: Path, *more: str) -> Path | None:
    return leave_one_out.main(
        ["--data", str(data), "--output", str(data / "out"), "--config", str(data / "all.yaml"),
         "--device", "cpu", *more]
    )  # fmt: skip


def test_each_volume_is_scored_by_the_network_that_never_saw_it(data: Path) -> None:
    call(data, "--only", "two")
    model = data / "out/leave_one_out/without-two/without-two.safetensors"
    made = model.stat().st_mtime_ns
    assert not (data / "out/leave_one_out/without-one").exists()
    assert not (data / "out/leave_one_out.json").exists()  # only the whole is published
    path = call(data)
    assert path is not None
    assert model.stat().st_mtime_ns == made  # what is finished is kept
    rows = json.loads(path.read_text())["values"]["scores"]
    assert [row["left_out"] for row in rows] == ["one", "two"]
    assert [row["steps"] for row in rows] == [3, 3]
    assert [row["seen"] for row in rows] == [False, False]
    assert rows[0]["own"]["arand"] is not None
    assert rows[1]["own"]["arand"] is None
    assert [row["shipped"] for row in rows] == [None, None]  # which learned from neither
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


def test_a_killed_call_predicts_and_scores_nothing_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(data, "--only", "one")
    call(data, "--only", "two")

    def again(*_: object, **__: object) -> None:
        raise AssertionError("again")

    monkeypatch.setattr("benchmarks.isbi2012_maps.reconstruct_array", again)
    monkeypatch.setattr(left_out_scores, "score_of", again)
    assert call(data) == data / "out/leave_one_out.json"
    with pytest.raises(AssertionError, match="again"):
        call(data, "--sections", "2")


def test_the_shipped_network_is_scored_where_it_learned_from_other_sections_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the shipped one is that without two: it learned from sections 0-2 of one."""
    call(data, "--only", "two")
    shipped = data / "out/leave_one_out/without-two/without-two.safetensors"
    monkeypatch.setattr(left_out_scores, "SHIPPED", str(shipped))
    scorer = Scorer(data, data / "kept", "cpu")
    one, two = leave_one_out.read_training(data / "all.yaml").volumes

    def scored(volume: AnnotatedVolume, sections: tuple[int, int]) -> MapScore | None:
        monkeypatch.setattr(left_out_scores, "VALIDATED", {"one": sections})
        part = scored_part(volume, data, quick=False)
        return scorer.shipped_score(part, read_pair(part, data))

    assert scored(one, (1, 3)) is None  # it learned from them
    assert scored(two, (3, 6)) is None  # it learned from nothing of this volume
    found = scored(one, (3, 6))
    assert found is not None
    assert 0 < found.v_rand < 1


def score(sections: int, shipped: MapScore | None) -> Score:
    own = MapScore(0.5, 0.9, 0.8, None, None)
    return Score("a", (50, 4, 4), (10, 20), sections, 7, "small, 7 steps", own, shipped, seen=False)


def test_the_table_says_how_many_sections_were_scored_and_keeps_the_shipped_apart() -> None:
    table = as_table([score(10, None), score(4, MapScore(0.4, 0.95, 0.85, 0.3, 0.1))])
    whole, part = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert [whole["sections"], part["sections"]] == ["10-19", "10-19, 4 of them"]
    assert [row["V_rand"] for row in (whole, part)] == [0.9, 0.9]
    assert [row["trained on it too: V_rand"] for row in (whole, part)] == [None, 0.95]
    assert part["trained on it too: adapted Rand error"] == 0.1
    assert table.note.startswith("Networks: small, 7 steps. Thresholds")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [3, 4, 5, 6]),
        ({"separate_sections": True}, [0, 3, 6, 9]),
        ({"voxel_size_nm": (8, 8, 8)}, list(range(10))),
    ],
    ids=["neighbours in the middle", "separate: evenly spaced", "isotropic: all"],
)
def test_fewer_sections_are_those_that_the_scores_need(
    data: Path, changes: dict[str, object], expected: list[int]
) -> None:
    volume = leave_one_out.read_training(data / "all.yaml").volumes[0].model_copy(update=changes)
    stack = np.arange(10, dtype=np.uint8)[:, None, None]
    found = fewer_sections(Pair(stack, stack + 1, stack > 0), volume, 4)
    assert found.raw.ravel().tolist() == expected
    assert found.truth.ravel().tolist() == [z + 1 for z in expected]
    assert found.known.ravel().tolist() == [z > 0 for z in expected]


def test_a_quick_network_is_kept_apart(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_out_scores, "QUICK_PIXELS", 48)
    assert read_pair(part_of(data, quick=True), data).raw.shape == (2, 48, 48)
    call(data, "--only", "one", "--quick")
    assert not (data / "out/leave_one_out").exists()
    assert (data / "out/leave_one_out_quick/without-one/without-one.safetensors").exists()


def test_a_quick_part_is_no_larger_than_the_sections(data: Path) -> None:
    assert left_out_scores.QUICK_PIXELS > 64
    assert read_pair(part_of(data, quick=True), data).raw.shape == (2, 64, 64)


def part_of(data: Path, *, quick: bool) -> AnnotatedVolume:
    volume = leave_one_out.read_training(data / "all.yaml").volumes[0]
    return scored_part(volume, data, quick=quick)


def test_an_unknown_volume_is_refused(data: Path) -> None:
    with pytest.raises(ConfigError, match="--only three: the configuration has one, two"):
        call(data, "--only", "three")


def test_a_network_is_trained_by_the_program_that_asks_for_it_in_the_folder_that_it_names(
    data: Path,
) -> None:
    everything = leave_one_out.read_training(data / "all.yaml")
    model = leave_one_out.trained_without(
        "two", everything, data / "mine", data=data, device="cpu", quick=True, program="mine"
    )
    assert model == data / "mine/without-two/without-two.safetensors"
    card = load_model(model).card
    assert card["command"] == "python -m benchmarks.mine, without two"
    assert card["steps_made"] == leave_one_out.QUICK_STEPS


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
    found = cells_or_ids(Pair(truth, truth, known), kind)
    assert found.ravel().tolist() == expected

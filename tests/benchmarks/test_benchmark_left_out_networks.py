"""The driver on painted tissue; its numbers say nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from small_left_out import two_volumes

from benchmarks import kept_trainings, left_out_networks, left_out_scores
from benchmarks.left_out_networks import CANDIDATES, DEFAULT, WIDE, main
from benchmarks.left_out_rows import Tried, as_table
from benchmarks.left_out_scores import MapScore, Score
from benchmarks.network_counts import macs_per_voxel, parameters
from benchmarks.published import NOT_MEASURED, SEEN, read
from benchmarks.reports import ROOT
from pipeline.boundaries.model import load_model
from pipeline.errors import ConfigError
from workflows.train_boundaries import read_training
from workflows.training_data import read_pair

TINY = {
    "rc_spcnet_k2": {"stem": 8, "widths": [8, 16], "units": [1] * 6},
    "u_net": {"width": 4, "depth": 2},
    "hybrid_u_net": {"width": 8, "depth": 2},
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two volumes, and candidates that are smaller than the real ones."""
    tiny = tuple(replace(n, small=TINY.get(n.name, n.small)) for n in CANDIDATES)
    monkeypatch.setattr(left_out_networks, "CANDIDATES", tiny)
    return two_volumes(tmp_path)


def call(data: Path, *more: str) -> Path | None:
    return main(
        ["--data", str(data), "--output", str(data / "out"), "--config", str(data / "all.yaml"),
         "--device", "cpu", *more]
    )  # fmt: skip


def refused(*_: object, **__: object) -> None:
    raise AssertionError("again")


def test_candidates_trained_one_by_one_are_scored_once_and_make_one_table(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate's steps, and its folder of trainings, maps and scores, are its own."""
    chosen = ("--network", "rc_spcnet_k2", "--network", "u_net", "--steps", "u_net=2")
    for volume in ("two", "one"):
        assert call(data, *chosen, "--only", volume) is None
        assert not list((data / "out").glob("*.json"))
    for name in ("rc_spcnet_k2", "u_net"):
        assert {path.name for path in (data / "out" / name).iterdir()} == {
            *("maps", "scores", "without-one", "without-two")
        }
        for volume, other in (("one", "two"), ("two", "one")):
            model = load_model(
                data / "out" / name / f"without-{volume}/without-{volume}.safetensors"
            )
            assert [learned["name"] for learned in model.card["data"]] == [other]
    monkeypatch.setattr(kept_trainings, "train_boundaries", refused)
    monkeypatch.setattr("benchmarks.isbi2012_maps.reconstruct_array", refused)
    monkeypatch.setattr(left_out_scores, "score_of", refused)
    path = call(data, *chosen)
    assert path is not None
    found = read(path)
    (table,) = found.tables
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["network"] for row in rows] == ["RC-SPCNet (k=2)", "U-Net"]
    assert [row["steps"] for row in rows] == [3, 2]
    for name, row in zip(("rc_spcnet_k2", "u_net"), rows, strict=True):
        scores = found.values["networks"][name]
        of_volumes = [scores[volume]["own"]["v_rand"] for volume in ("one", "two")]
        assert [row["V_rand, one"], row["V_rand, two"]] == of_volumes
        assert row["V_rand, mean"] == pytest.approx(fmean(of_volumes))
        assert row["adapted Rand error, mean"] == scores["one"]["own"]["arand"]  # two has no ids
        shape = load_model(data / "out" / name / "without-one/without-one.safetensors").shape
        assert found.values["training"][name]["network"] == shape
    with pytest.raises(ConfigError, match="another configuration"):
        call(data, "--network", "u_net")  # with the steps of the others


def test_what_is_not_trained_keeps_dashes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the means of a candidate that was trained without some volumes only."""
    call(data, "--network", "u_net", "--only", "one")
    monkeypatch.setattr(kept_trainings, "train_boundaries", refused)
    path = call(data, "--skip-training")
    assert path is not None
    (table,) = read(path).tables
    rows = {str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert len(rows) == len(DEFAULT)
    begun = rows.pop("U-Net")
    assert begun["steps"] == 3
    assert isinstance(begun["V_rand, one"], float)
    assert begun["V_rand, two"] == begun["V_rand, mean"] == NOT_MEASURED
    assert isinstance(begun["adapted Rand error, mean"], float)  # the other has no ids
    for row in rows.values():
        measured = [cell for column, cell in row.items() if "V_rand" in column or "error" in column]
        assert {row["steps"], *measured} == {NOT_MEASURED}
        assert float(str(row["parameters, million"])) >= 0
    with pytest.raises(AssertionError, match="again"):
        call(data, "--network", "u_net")


def test_a_network_of_several_sections_sees_no_neighbours_of_separate_ones(data: Path) -> None:
    call(data, "--network", "hybrid_u_net", "--only", "one")
    model = data / "out/hybrid_u_net/without-one/without-one.safetensors"
    assert load_model(model).context_sections == 1
    part = left_out_scores.scored_part(
        read_training(data / "all.yaml").volumes[0], data, quick=False
    )
    raw = read_pair(part, data).raw
    separate = part.model_copy(update={"separate_sections": True})
    scorer = left_out_scores.Scorer(data, data / "kept", "cpu")
    alone = scorer.boundaries(model, separate, raw)
    assert alone.shape == raw.shape
    assert np.array_equal(scorer.boundaries(model, separate, raw[::-1]), alone[::-1])
    assert not np.array_equal(scorer.boundaries(model, part, raw), alone)


def test_a_quick_trial_is_kept_apart_and_no_result(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_out_scores, "QUICK_PIXELS", 48)
    path = call(data, "--quick", "--network", "u_net")
    assert path is not None
    assert read(path).made.quick
    assert not (data / "out/u_net").exists()
    assert (data / "out/quick/u_net/without-two/without-two.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--only", "three"), "--only three: the configuration has one, two"),
        (("--steps", "net=3"), "--steps net=3: write NAME=STEPS, STEPS above 0, NAME one of"),
        (("--steps", "u_net=0"), "--steps u_net=0: write NAME=STEPS"),
        (("--steps", "u_net"), "--steps u_net: write NAME=STEPS"),
        (("--steps", "u_net=3", "--steps", "u_net=4"), "--steps u_net is given twice"),
        (("--set", "training.network.dropout=0"), "candidates have their own"),
    ],
    ids=["volume", "network", "no steps", "no number", "twice", "shape of all"],
)
def test_what_no_training_follows_from_is_refused_before_any(
    data: Path, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_trainings, "train_boundaries", refused)
    with pytest.raises(ConfigError, match=message):
        call(data, *words)


def test_the_wide_candidate_has_the_shape_of_the_shipped_network() -> None:
    """And the other candidates of the default are smaller."""
    shipped = read_training(ROOT / "configs/train/default.yaml").training.network
    options = left_out_networks.arguments(["--data", "DATA"])
    options.config = ROOT / options.config
    shapes = {
        n.name: left_out_networks.training_of(n, options, None).training.network
        for n in CANDIDATES
        if n.name in DEFAULT
    }
    assert set(shapes) == set(DEFAULT)
    assert shapes.pop(WIDE.name) == shipped
    assert max(macs_per_voxel(shape) for shape in shapes.values()) < macs_per_voxel(shipped)


def score(volume: str, v_rand: float, arand: float | None = None, steps: int = 7) -> Score:
    own = MapScore(0.5, v_rand, 0.8, None if arand is None else 0.1, arand)
    return Score(volume, (40, 8, 8), (0, 3), 2, steps, "small", own, None, seen=False)


def test_rows_hold_the_means_over_volumes_and_mark_what_was_seen(data: Path) -> None:
    config = read_training(data / "all.yaml")
    one, two = score("one", 0.9, 0.25), score("two", 0.6, steps=5)
    tried = [
        Tried("a", config, {"one": one, "two": two}),
        Tried("b", config, {"one": one, "two": replace(two, seen=True)}),
    ]
    table = as_table(tried, "all.yaml")
    shape = config.training.network
    facts = (f"{parameters(shape) / 1e6:.2f}", f"{macs_per_voxel(shape) / 1e3:.2f}", "5-7")
    assert table.rows[0] == ("a", *facts, 0.9, 0.6, pytest.approx(0.75), 0.25)
    assert table.rows[1][0] == f"b ({SEEN})"
    assert "trained by `all.yaml`" in table.note
    assert "seed 0" in table.note
    assert "2 crops of 32² pixels" in table.note
    assert "one 0-2, 2 of them; two 0-2, 2 of them" in table.note


def test_without_ids_there_is_no_adapted_rand_error(data: Path) -> None:
    config = read_training(data / "all.yaml")
    config = config.model_copy(update={"volumes": config.volumes[1:]})
    table = as_table([Tried("a", config, {"two": score("two", 0.6)})], "all.yaml")
    assert table.rows[0][-1] is None
    assert "adapted Rand error" not in table.note

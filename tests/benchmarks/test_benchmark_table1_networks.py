"""The driver on painted tissue; its numbers say nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_pipeline import paint_tissue

from benchmarks import kept_trainings, table1_networks, table1_rows
from benchmarks.isbi2012_networks import NETWORKS, how_made
from benchmarks.isbi2012_table1 import MAP_METHODS
from benchmarks.papers import paper_table
from benchmarks.published import NOT_MEASURED, SEEN, read
from benchmarks.reports import ROOT
from benchmarks.table1_networks import arguments, main, training_of
from pipeline.boundaries.model import load_model, save_model
from pipeline.boundaries.networks import NETWORKS as REGISTRY
from pipeline.errors import ConfigError, LeakageError
from workflows.train_boundaries import read_training, train_boundaries

TISSUE = paint_tissue((20, 64, 64), cells=30, z_step=5)
CONFIG = """\
name: anything
licence: none
training: {steps: 3, batch: 1, crop: 32}
volumes:
  - {name: isbi2012, raw: isbi2012/raw.tif, truth: isbi2012/membranes_z00-19.tif,
     truth_kind: cells, sections: [0, 14], voxel_size_nm: [50, 4, 4]}
"""
TRIED = ("rc_spcnet_k2", "u_net")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files named as those of the data set; only two networks, tiny ones, are known."""
    folder = tmp_path / "isbi2012"
    folder.mkdir()
    tifffile.imwrite(folder / "raw.tif", TISSUE.raw)
    masks = np.where(TISSUE.cells > 0, 255, 0).astype(np.uint8)
    tifffile.imwrite(folder / "membranes_z00-19.tif", masks)
    (tmp_path / "config.yaml").write_text(CONFIG)
    tiny = {
        "rc_spcnet_k2": {"stem": 8, "widths": [8, 16], "units": [1] * 6},
        "u_net": {"width": 4, "depth": 2},
    }
    few = tuple(replace(n, small=tiny[n.name]) for n in NETWORKS if n.name in TRIED)
    monkeypatch.setattr(table1_networks, "NETWORKS", few)
    monkeypatch.setattr(table1_rows, "NETWORKS", few)
    return tmp_path


def call(data: Path, *more: str) -> Path | None:
    return main(
        ["--data", str(data), "--output", str(data / "out"), "--config", str(data / "config.yaml"),
         "--device", "cpu", *more]
    )  # fmt: skip


def refused(*_: object, **__: object) -> None:
    raise AssertionError("trained")


def test_a_training_of_the_plain_command_is_not_made_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["name=u_net", "training.network={architecture: u_net, width: 4, depth: 2}"]
    config = read_training(data / "config.yaml", overrides)
    model = train_boundaries(config, data, data / "out/u_net", device="cpu")
    made = model.read_bytes()
    monkeypatch.setattr(kept_trainings, "train_boundaries", refused)
    path = call(data, "--skip-training")
    assert path is not None
    table = read(path).tables[0]
    assert len(table.rows) == len(TRIED) * len(MAP_METHODS)
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=True))
        if row[0] == "U-Net":
            assert cells["steps"] == 3
            assert isinstance(cells["V_rand"], float)
            assert cells["paper V_rand"] is None  # the paper has no U-Net
        else:
            assert cells["steps"] == cells["V_rand"] == cells["V_info"] == NOT_MEASURED
    assert model.read_bytes() == made
    with pytest.raises(AssertionError, match="trained"):
        call(data)  # RC-SPCNet is missing
    with pytest.raises(ConfigError, match="another configuration"):
        call(data, "--only", "u_net", "--set", "training.learning_rate=0.5")


def test_networks_trained_one_by_one_are_scored_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in TRIED:
        assert call(data, "--only", name) is None
        assert not list((data / "out").glob("*.json"))
    monkeypatch.setattr(kept_trainings, "train_boundaries", refused)
    monkeypatch.setattr("benchmarks.isbi2012_maps.reconstruct_array", refused)
    monkeypatch.setattr("benchmarks.isbi2012_table1.best_scores", refused)
    path = call(data)
    assert path is not None
    found = read(path)
    assert not found.made.quick
    assert set(found.values["networks"]) == set(TRIED)
    table = found.tables[0]
    paper = paper_table("rc-spcnet", 1)
    row = dict(zip(table.columns, table.rows[2], strict=True))
    scores = found.values["networks"]["rc_spcnet_k2"]["scores"]["max TTA"]
    assert (row["network"], row["post-processing"]) == ("RC-SPCNet (k=2)", "max TTA")
    assert [row["V_rand"], row["V_info"]] == scores
    assert row["paper V_rand"] == paper.value("V_rand", "RC-SPCNet (k=2)", "Max TTA")
    assert "small shapes" in found.title
    assert "not the papers'" in table.note
    assert "steps of 1 × 32² pixels on cpu" in table.note


def test_a_network_that_saw_the_scored_sections_is_refused_or_marked(data: Path) -> None:
    text = CONFIG.replace("[0, 14]", "[0, 20]")
    (data / "config.yaml").write_text(text)
    with pytest.raises(LeakageError, match=r"ISBI 2012, sections 14-19"):
        call(data, "--only", "u_net")
    path = call(data, "--skip-training", "--allow-seen")
    assert path is not None
    (table,) = read(path).tables
    assert "trained on isbi2012 sections 0-19 by" in table.note
    titles = {str(row[0]) for row in table.rows}
    assert titles == {"RC-SPCNet (k=2)", f"U-Net ({SEEN})"}


def test_a_quick_trial_is_kept_apart_and_no_result(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.quality.QUICK_PIXELS", 48)
    path = call(data, "--quick")
    assert path is not None
    assert read(path).made.quick
    assert not (data / "out/u_net").exists()
    assert (data / "out/quick/u_net/u_net.safetensors").exists()


def test_all_networks_train_alike_but_for_their_shape() -> None:
    """Small shapes are those asked for; the papers' are the papers'."""
    for size in ("small", "paper"):
        options = arguments(["--data", "DATA", "--shape", size])
        options.config = ROOT / options.config
        configs = [training_of(network, options) for network in NETWORKS]
        assert [c.name for c in configs] == [network.name for network in NETWORKS]
        assert len({c.training.model_copy(update={"network": None}) for c in configs}) == 1
        assert len({c.volumes for c in configs}) == 1
        assert configs[0].volumes[0].sections == (0, 14)
        for network, config in zip(NETWORKS, configs, strict=True):
            known = REGISTRY[network.shape["architecture"]]
            asked = network.small if size == "small" else {}
            start = known.config() if size == "small" else known.paper or known.config()
            expected = {**start.model_dump(), **network.shape, **asked}
            assert config.training.network == known.configured(expected)


def test_a_title_tells_shape_and_steps_of_the_file(tmp_path: Path) -> None:
    known = REGISTRY["u_net"]
    shape = known.configured({"width": 4, "depth": 1})
    weights = sum(p.numel() for p in known.build(shape).parameters())
    card = {"halo_pixels": 8, "stride_pixels": 2, "device": "cpu", "training": {"steps": 1200}}
    path = tmp_path / "u_net.safetensors"
    save_model(path, known.build(shape), shape.model_dump(), card)
    million = f"{weights / 1e6:.2f} million parameters"
    assert how_made(load_model(path)) == f"small, {million}, 1200 steps on a CPU"
    for stopped in ({"steps_made": 800}, {"validation": {"steps_made": 800}}):
        told = {**card, "device": "cuda:0", **stopped}
        save_model(path, known.build(shape), shape.model_dump(), told)
        assert how_made(load_model(path)) == f"small, {million}, 800 steps on a GPU"
    save_model(path, known.build(shape), shape.model_dump(), {"halo_pixels": 8, "stride_pixels": 2})
    assert how_made(load_model(path)) == f"small, {million}, steps not told"

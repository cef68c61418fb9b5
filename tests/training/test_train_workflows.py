"""Both trainings from files to files, on volumes of some thousand voxels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from small_pipeline import SECTIONS_NM, paint_tissue, save_dark_network, settings
from torch import Tensor

from pipeline.boundaries.model import load_model
from pipeline.edges.targets import edge_targets, overlaps
from pipeline.errors import ConfigError, ModelError
from pipeline.forests import load_forest, predict
from pipeline.lifted.problem import feature_units
from workflows import train_edges as edges_module
from workflows.in_memory import reconstruct_array
from workflows.train_boundaries import BoundaryTraining, train_boundaries
from workflows.train_edges import (
    EdgeTraining,
    ForestConfig,
    Part,
    feature_names,
    fit,
    train_edges,
)

TISSUE = paint_tissue((8, 64, 64), cells=20, z_step=5)
VOLUME = {
    "name": "painted", "raw": "raw.tif", "truth": "cells.tif", "truth_kind": "labels",
    "sections": (0, 8), "voxel_size_nm": SECTIONS_NM,
}  # fmt: skip
SMALL_TRAINING = {
    "steps": 3, "batch": 2, "crop": 32, "checkpoint_steps": 2,
    "network": {"stem": 4, "widths": (4, 8), "units": (1,) * 6},
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tifffile.imwrite(folder / "raw.tif", TISSUE.raw)
    tifffile.imwrite(folder / "cells.tif", TISSUE.cells.astype(np.uint16))
    return folder


def boundary_training(**training: Any) -> BoundaryTraining:
    return BoundaryTraining.model_validate(
        {"name": "small", "licence": "none", "volumes": [VOLUME],
         "training": {**SMALL_TRAINING, **training}}
    )  # fmt: skip


def weights(path: Path) -> dict[str, Tensor]:
    return dict(load_model(path).network.state_dict())


def test_a_boundary_training_leaves_a_model_with_its_card(data: Path, tmp_path: Path) -> None:
    config = boundary_training()
    path = train_boundaries(config, data, tmp_path, device="cpu", command="train it")
    assert path == tmp_path / "small.safetensors"
    model = load_model(path)
    card = json.loads((tmp_path / "small.json").read_text())
    assert model.card == card
    assert model.stride == 8
    assert model.halo == card["halo_pixels"]
    assert "halo_largest_difference" in card
    assert card["data"][0]["name"] == "painted"
    assert card["licence"] == "none"
    assert card["training"] == json.loads(config.training.model_dump_json())
    assert card["parameters"] == sum(p.numel() for p in model.network.parameters())
    assert card["voxel_size_nm_range"] == [8 / 1.35, 8 / 0.75]
    assert any((tmp_path / "tensorboard").iterdir())


def test_the_model_holds_the_averaged_weights(data: Path, tmp_path: Path) -> None:
    path = train_boundaries(boundary_training(average_decay=0.5), data, tmp_path, device="cpu")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    found = weights(path)
    name = "head.0.weight"
    assert torch.equal(found[name], state["average"][name].half().float())
    assert not torch.equal(found[name], state["network"][name].half().float())


def test_started_again_a_finished_training_gives_the_same_model(data: Path, tmp_path: Path) -> None:
    path = train_boundaries(boundary_training(), data, tmp_path, device="cpu")
    before = weights(path)
    path.unlink()
    train_boundaries(boundary_training(), data, tmp_path, device="cpu")
    assert all((tensor == before[name]).all() for name, tensor in weights(path).items())


def test_a_fold_learns_from_its_half_alone(data: Path, tmp_path: Path) -> None:
    path = train_boundaries(boundary_training(), data, tmp_path, fold=1, device="cpu")
    assert path.name == "small-fold1.safetensors"
    card = load_model(path).card
    assert card["fold"] == 1
    assert card["data"][0]["sections"] == [4, 8]


def test_a_folder_of_the_other_fold_is_refused(data: Path, tmp_path: Path) -> None:
    train_boundaries(boundary_training(), data, tmp_path, fold=0, device="cpu")
    for fold in (1, None):
        with pytest.raises(ConfigError, match="of the other fold"):
            train_boundaries(boundary_training(), data, tmp_path, fold=fold, device="cpu")


def test_fine_tuning_needs_a_network_of_the_same_shape(data: Path, tmp_path: Path) -> None:
    start = train_boundaries(boundary_training(), data, tmp_path / "a", device="cpu")
    tuned = train_boundaries(boundary_training(), data, tmp_path / "b", start=start, device="cpu")
    assert load_model(tuned).card["started_from"] == "small.safetensors"
    wider = boundary_training(network={"stem": 8})
    with pytest.raises(ModelError, match="another shape"):
        train_boundaries(wider, data, tmp_path / "c", start=start, device="cpu")


def edge_training(**changes: Any) -> EdgeTraining:
    sections = settings(Path("unused")).model_dump()
    pipeline = {name: sections[name] for name in ("boundaries", "superpixels", "features")}
    small = {"trees": 8, "max_depth": 4, "min_leaf": 2}
    return EdgeTraining.model_validate(
        {"name": "small", "licence": "none", "volumes": [VOLUME], "pipeline": pipeline,
         "edges": small, "lifted": small, **changes}
    )  # fmt: skip


@pytest.fixture(scope="module")
def forests(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both forests, their report and the two fold networks."""
    folder = tmp_path_factory.mktemp("forests")
    networks = [save_dark_network(folder / f"fold{n}.safetensors") for n in (0, 1)]
    train_edges(edge_training(), data, folder, networks, device="cpu")
    return folder


def test_an_edge_training_leaves_two_forests_that_fit_the_run(forests: Path) -> None:
    first = load_forest(forests / "edges-small.safetensors")
    second = load_forest(forests / "lifted-small.safetensors")
    config = settings(
        forests / "fold0.safetensors",
        (forests / "edges-small.safetensors", forests / "lifted-small.safetensors"),
    )
    fresh = paint_tissue((4, 64, 64), cells=12, z_step=5, seed=9)
    found = reconstruct_array(fresh.raw, SECTIONS_NM, config)
    names = found["attributes"]["edges/features"]["names"]
    assert first.feature_names == tuple(names)
    assert second.feature_names == tuple(feature_units(config.section("lifted")))  # type: ignore[arg-type]
    p_cut = found["edges"]["p_cut"]
    np.testing.assert_array_equal(p_cut, predict(first, found["edges"]["features"], names))
    shares = overlaps(found["superpixels"], fresh.cells, found["nodes"]["id"])
    cut, clear = edge_targets(found["edges"]["uv"], shares)
    assert ((p_cut > 0.5) == cut)[clear].mean() > 0.8
    assert len(found["lifted"]["p_cut"]) > 0
    assert ((found["lifted"]["p_cut"] >= 0) & (found["lifted"]["p_cut"] <= 1)).all()


def test_forests_note_their_data_and_licence(forests: Path) -> None:
    for kind in ("edges", "lifted"):
        metadata = load_forest(forests / f"{kind}-small.safetensors").metadata
        assert metadata["licence"] == "none"
        assert metadata["data"][0]["sections"] == [0, 8]
        assert metadata["networks"] == ["fold0.safetensors", "fold1.safetensors"]


def test_learned_rows_are_told_by_trees_that_did_not_see_them() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.random((n, 4), np.float32) for n in (120, 80)]
    noise = [rng.integers(0, 2, len(r)).astype(np.uint8) for r in rows]
    clear = [np.arange(len(r)) % 4 > 0 for r in rows]
    size = ForestConfig(trees=40, max_depth=20, min_leaf=1)
    targets = list(zip(noise, clear, strict=True))
    forest, p, report = fit(rows, targets, list("abcd"), size, 0, {})
    # Labels are noise: whoever saw a row knows it by heart, and who did not is at a loss.
    for one, (truth, keep), unseen in zip(rows, targets, p, strict=True):
        by_heart = predict(forest, one, list("abcd"))
        assert ((by_heart > 0.5) == truth)[keep].mean() > 0.95
        assert ((unseen > 0.5) == truth)[keep].mean() < 0.7
        np.testing.assert_array_equal(unseen[~keep], by_heart[~keep])
    assert report["learned_from"] == report["clear"] == 150
    assert report["rows"] == 200


def test_many_rows_are_thinned_to_the_limit() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.random((300, 2), np.float32)]
    targets = [((rows[0][:, 0] > 0.5).astype(np.uint8), np.ones(300, bool))]
    size = ForestConfig(trees=5, max_rows=100)
    _, p, report = fit(rows, targets, ["a", "b"], size, 0, {})
    assert (report["learned_from"], report["clear"], len(p[0])) == (100, 300, 300)


def test_the_report_tells_out_of_bag_scores(forests: Path) -> None:
    report = json.loads((forests / "small.json").read_text())
    for kind in ("edges", "lifted"):
        one = report[kind]
        assert one["rows"] >= one["clear"] >= one["learned_from"] > 20
        assert 0 < one["cut_share"] < 1
        assert one["out_of_bag_auc"] > 0.7


def test_the_same_training_gives_the_same_bytes(data: Path, forests: Path, tmp_path: Path) -> None:
    networks = [forests / f"fold{n}.safetensors" for n in (0, 1)]
    for path in train_edges(edge_training(), data, tmp_path, networks, device="cpu"):
        assert path.read_bytes() == (forests / path.name).read_bytes()


def test_each_half_is_predicted_by_the_network_of_the_other(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spy(volume: Any, config: Any, data: Path, network: Path, device: str) -> Part:
        asked.append((volume.sections, network.name))
        return Part(volume.name, None, {}, np.zeros(0, np.uint64))  # type: ignore[arg-type]

    monkeypatch.setattr(edges_module, "_part", spy)
    networks = [tmp_path / "fold0", tmp_path / "fold1"]
    edges_module.out_of_fold_parts(edge_training(), data, networks, "cpu")
    assert asked == [((0, 4), "fold1"), ((4, 8), "fold0")]


def test_one_or_three_networks_are_refused(data: Path, tmp_path: Path) -> None:
    for count in (1, 3):
        with pytest.raises(ConfigError, match=f"not {count} times"):
            train_edges(edge_training(), data, tmp_path, [tmp_path / "n"] * count)


def test_a_missing_network_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="absent"):
        train_edges(edge_training(), data, tmp_path, [tmp_path / "absent"] * 2, device="cpu")


def test_volumes_with_other_features_are_refused() -> None:
    def part(name: str, *columns: str) -> Part:
        tables = {"attributes": {"edges/features": {"names": list(columns)}}}
        return Part(name, None, tables, np.zeros(0, np.uint64))  # type: ignore[arg-type]

    assert feature_names([part("a", "x", "y"), part("b", "x", "y")]) == ["x", "y"]
    with pytest.raises(ConfigError, match="b has other features than a"):
        feature_names([part("a", "x", "y"), part("b", "y", "x")])

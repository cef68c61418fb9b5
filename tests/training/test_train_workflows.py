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
from pipeline.forests.calibration import cross_calibrated, fit_calibration
from pipeline.lifted.problem import feature_units
from pipeline.marks import section_marks
from workflows import edge_parts
from workflows.edge_parts import feature_names, targets_of
from workflows.edge_report import scores
from workflows.forest_fitting import PLACES, Rows, fit_rows
from workflows.in_memory import reconstruct_array
from workflows.train_boundaries import BoundaryTraining, train_boundaries
from workflows.train_edges import EdgeTraining, ForestConfig, Part, fit_forests, train_edges
from workflows.training_record import read_record

TISSUE = paint_tissue((8, 64, 64), cells=20, z_step=5)
VOLUME = {
    "name": "painted", "raw": "raw.tif", "truth": "cells.tif", "truth_kind": "labels",
    "sections": (0, 8), "voxel_size_nm": SECTIONS_NM,
}  # fmt: skip
SMALL_TRAINING = {
    "steps": 3, "batch": 2, "crop": 32, "checkpoint_steps": 2,
    "network": {"stem": 8, "widths": (8, 16), "units": (1,) * 6},
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
    wider = boundary_training(network={"stem": 16})
    with pytest.raises(ConfigError, match=r"another stem, widths.* leave training\.network out"):
        train_boundaries(wider, data, tmp_path / "c", start=start, device="cpu")


def test_another_network_takes_over_the_weights_that_fit(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """RCNet differs from RC-SPCNet in the layers up alone."""
    start = train_boundaries(boundary_training(), data, tmp_path / "a", device="cpu")
    network = {**boundary_training().training.network.model_dump(), "architecture": "rcnet"}
    other = boundary_training(network=network, learning_rate=1e-9, average_decay=0)
    with pytest.raises(ConfigError, match=r"another architecture.* start_fitting: true"):
        train_boundaries(other, data, tmp_path / "b", start=start, device="cpu")
    other = other.model_copy(update={"start_fitting": True})
    with caplog.at_level("INFO"):
        path = train_boundaries(other, data, tmp_path / "b", start=start, device="cpu")
    before, after = weights(start), weights(path)
    trained = {name for name in after if name.endswith(".weight")}
    new = {name for name in trained if name.startswith("up_")}
    for name in trained - new:
        torch.testing.assert_close(after[name], before[name], atol=2e-4, rtol=1e-3)
    assert all(after[name].std() > 0 for name in new if name.endswith("body.0.weight"))
    assert "% of the numbers of the rcnet to train are from " in caplog.text
    card = load_model(path).card
    assert card["start_fitting"] is True
    assert card["base"]["card"]["name"] == "small"
    assert card["training"]["network"]["architecture"] == "rcnet"


def test_weights_that_do_not_fit_at_all_are_refused(data: Path, tmp_path: Path) -> None:
    start = train_boundaries(boundary_training(), data, tmp_path / "a", device="cpu")
    other = boundary_training(network={"architecture": "resnet38", "width": 8})
    other = other.model_copy(update={"start_fitting": True})
    with pytest.raises(ConfigError, match=r"has only \d+% of the numbers of the resnet38"):
        train_boundaries(other, data, tmp_path / "b", start=start, device="cpu")
    mixing = other.model_copy(update={"base_share": 0.5})
    with pytest.raises(ConfigError, match="base_share mixes"):
        train_boundaries(mixing, data, tmp_path / "b", start=start, device="cpu")
    assert not (tmp_path / "b").exists()


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


def noise_rows() -> list[Rows]:
    """Two parts of 120 and 80 rows whose labels are drawn; three of four are clear."""
    rng = np.random.default_rng(0)
    return [
        Rows(
            rng.random((n, 4), np.float32),
            rng.integers(0, 2, n).astype(np.uint8),
            np.arange(n) % 4 > 0,
            np.zeros(n, bool),
        )
        for n in (120, 80)
    ]


def test_no_row_is_told_by_a_forest_that_knows_it() -> None:
    rows = noise_rows()
    size = ForestConfig(trees=40, max_depth=20, min_leaf=1)
    found = fit_rows(rows, list("abcd"), size, edge_training(calibrate=False))
    # Labels are noise: whoever saw a row knows it by heart, and who did not is at a loss.
    for one, unseen in zip(rows, found.p_cut, strict=True):
        by_heart = predict(found.forest, one.features, list("abcd"))
        assert ((by_heart > 0.5) == one.label)[one.keep].mean() > 0.95
        assert ((unseen > 0.5) == one.label)[one.keep].mean() < 0.7
    assert (found.rows, found.clear, len(found.evidence.label)) == (200, 150, 150)


def test_votes_come_from_other_places_than_the_row_itself() -> None:
    """Rows of one place are copies of each other, with labels of their own: nothing to learn."""
    rng = np.random.default_rng(0)
    place = np.arange(500) * PLACES // 500
    features = np.repeat(rng.random((PLACES, 3), np.float32), 100, axis=0)
    label = (place % 2).astype(np.uint8)
    rows = [Rows(features, label, np.ones(500, bool), np.zeros(500, bool))]
    found = fit_rows(rows, list("abc"), ForestConfig(trees=40, min_leaf=5), edge_training())
    assert scores(found.evidence.out_of_bag, label)["accuracy"] == 1
    assert scores(found.evidence.votes, label)["accuracy"] < 0.7


def test_calibrated_rows_are_told_by_the_labels_of_other_places() -> None:
    rows = noise_rows()
    size = ForestConfig(trees=40, max_depth=5, min_leaf=5)
    found = fit_rows(rows, list("abcd"), size, edge_training())
    votes, label = found.evidence.votes, found.evidence.label
    places = np.concatenate(
        [(np.arange(len(r.keep)) * PLACES // len(r.keep))[r.keep] for r in rows]
    )
    np.testing.assert_array_equal(found.evidence.p_cut, cross_calibrated(votes, label, places))
    np.testing.assert_array_equal(
        np.concatenate([p[r.keep] for p, r in zip(found.p_cut, rows, strict=True)]),
        found.evidence.p_cut,
    )
    # The map that the kept forest carries knows all labels.
    np.testing.assert_array_equal(found.forest.calibration_y, fit_calibration(votes, label).y)


def test_many_rows_are_thinned_to_the_limit() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((300, 2), np.float32)
    label = (features[:, 0] > 0.5).astype(np.uint8)
    rows = [Rows(features, label, np.ones(300, bool), np.zeros(300, bool))]
    size = ForestConfig(trees=5, max_rows=100)
    found = fit_rows(rows, ["a", "b"], size, edge_training())
    assert (len(found.evidence.label), found.clear, len(found.p_cut[0])) == (100, 300, 300)


def test_a_volume_of_more_weight_decides_where_volumes_disagree() -> None:
    rows = [
        Rows(np.zeros((200, 1), np.float32), np.full(200, cut, np.uint8), np.ones(200, bool),
             np.zeros(200, bool), weight)
        for cut, weight in ((1, 3.0), (0, 1.0))
    ]  # fmt: skip
    size = ForestConfig(trees=20, min_leaf=5, balanced=False)
    found = fit_rows(rows, ["a"], size, edge_training())
    assert predict(found.forest, rows[0].features, ["a"])[0] == pytest.approx(0.75, abs=0.05)


def test_columns_of_the_chosen_families_alone_are_learned_from() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((400, 3), np.float32)
    label = (features[:, 0] > 0.5).astype(np.uint8)
    rows = [Rows(features, label, np.ones(400, bool), np.zeros(400, bool))]
    names = ["boundary/mean", "raw_gaussian_1.6/mean", "raw/mean"]
    size = ForestConfig(trees=20, min_leaf=5)
    found = fit_rows(rows, names, size, edge_training(), families=["raw"])
    assert found.forest.feature_names == ("raw_gaussian_1.6/mean", "raw/mean")
    assert scores(found.evidence.p_cut, label)["auc"] < 0.6
    both = fit_rows(rows, names, size, edge_training(), families=["raw", "boundary"])
    assert both.forest.feature_names == tuple(names)
    assert scores(both.evidence.p_cut, label)["auc"] > 0.95
    assert both.evidence.family_loss["boundary"] > 0.3
    assert abs(both.evidence.family_loss["raw"]) < 0.1
    with pytest.raises(ConfigError, match="'shape', only to boundary, raw"):
        fit_rows(rows, names, size, edge_training(), families=["raw", "shape"])


def test_the_report_tells_out_of_bag_scores(forests: Path) -> None:
    report = json.loads((forests / "small.json").read_text())
    assert list(report) == ["edges", "lifted"]
    for one in report.values():
        assert one["rows"] >= one["clear"] >= one["learned_from"] > 20
        assert 0 < one["cut_share"] < 1
        assert one["auc"] > 0.7
        within, across = one["within_sections"], one["across_sections"]
        assert within["edges"] + across["edges"] == one["learned_from"]
        assert sum(one["importance_by_family"].values()) == pytest.approx(1)
        assert one["importance_by_family"].keys() == one["shuffled_family_log_loss"].keys()
        for bins in one["reliability"].values():
            assert sum(b["count"] for b in bins) == one["learned_from"]
    assert "boundary" in report["edges"]["importance_by_family"]
    assert "clustering" in report["lifted"]["importance_by_family"]
    page = (forests / "small.md").read_text()
    assert f"| calibrated | {report['edges']['edges']:,} |" in page
    assert f"{report['lifted']['auc']:.4f}" in page
    assert (forests / "small.png").read_bytes().startswith(b"\x89PNG")


def test_scores_by_hand() -> None:
    p_cut, label = np.array([0.9, 0.4, 0.2, 0.6]), np.array([1, 1, 0, 0])
    found = scores(p_cut, label)
    assert found["edges"] == 4
    assert found["cut_share"] == 0.5
    assert found["auc"] == 0.75  # of four pairs of a cut and a join one is in the wrong order
    assert found["accuracy"] == 0.5
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.04 + 0.36) / 4)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.4]).mean())
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.2 + 0.6) / 4)
    assert scores(np.array([1.0, 1.0]), np.array([1, 0]))["log_loss"] == pytest.approx(
        -(np.log(0.999) + np.log(0.001)) / 2
    )
    assert scores(p_cut[:2], label[:2])["auc"] is None
    assert scores(p_cut[:0], label[:0]) == {"edges": 0}


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

    monkeypatch.setattr(edge_parts, "_part", spy)
    networks = [tmp_path / "fold0", tmp_path / "fold1"]
    edge_parts.out_of_fold_parts(edge_training(), data, networks, "cpu")
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


@pytest.fixture(scope="module")
def parts(data: Path, forests: Path) -> list[Part]:
    networks = [forests / f"fold{n}.safetensors" for n in (0, 1)]
    return edge_parts.out_of_fold_parts(edge_training(), data, networks, "cpu")


def test_split_forests_learn_from_their_own_edges_and_judge_them(parts: list[Part]) -> None:
    both = fit_forests(parts, edge_training())
    split = fit_forests(parts, edge_training(split_across=True))
    assert both.across is None
    assert split.across is not None
    assert not split.edges.evidence.across.any()
    assert split.across.evidence.across.all()
    learned = len(split.edges.evidence.label) + len(split.across.evidence.label)
    assert learned == len(both.edges.evidence.label)
    part = parts[0]
    p_cut = split.tables(part)["edges"]["p_cut"]
    across = part.edges["across_sections"]
    for chosen, one in ((~across, split.edges), (across, split.across)):
        expected = predict(one.forest, part.edges["features"], part.feature_names)
        np.testing.assert_array_equal(p_cut[chosen], expected[chosen])


def test_a_split_training_leaves_a_third_forest_that_fits_the_run(
    data: Path, forests: Path, tmp_path: Path
) -> None:
    networks = [forests / f"fold{n}.safetensors" for n in (0, 1)]
    config = edge_training(split_across=True)
    names = [p.name for p in train_edges(config, data, tmp_path, networks, device="cpu")]
    assert names == [
        f"{n}.safetensors" for n in ("edges-small", "edges-small-across", "lifted-small")
    ]
    report = json.loads((tmp_path / "small.json").read_text())
    assert list(report) == ["edges", "edges_across", "lifted"]
    run = settings(
        networks[0],
        (tmp_path / "edges-small.safetensors", tmp_path / "lifted-small.safetensors"),
        edges={"forest_across": str(tmp_path / "edges-small-across.safetensors")},
    )
    found = reconstruct_array(TISSUE.raw[:4], SECTIONS_NM, run, until="edges")
    assert found["edges"]["p_cut"][found["edges"]["across_sections"]].std() > 0


def test_from_membranes_only_pairs_within_sections_are_learned(
    data: Path, forests: Path, parts: list[Part], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", TISSUE.raw)
    tifffile.imwrite(tmp_path / "cells.tif", (TISSUE.cells > 0).astype(np.uint8))
    masks = {**VOLUME, "truth_kind": "cells"}
    config = edge_training(volumes=[masks], min_cell_voxels=4)
    networks = [forests / f"fold{n}.safetensors" for n in (0, 1)]
    found = edge_parts.out_of_fold_parts(config, tmp_path, networks, "cpu")
    for masked, labelled in zip(found, parts, strict=True):
        uv, across = masked.edges["uv"], masked.edges["across_sections"]
        cut, keep = targets_of(masked, uv)
        true_cut, clear = targets_of(labelled, uv)
        assert not keep[across].any()
        assert keep[~across].sum() > 20
        both = keep & clear
        assert (cut == true_cut)[both].mean() > 0.95  # cells of one section may meet in another
    fitted = fit_forests(found, config)
    assert not fitted.edges.evidence.across.any()
    assert not fitted.lifted.evidence.across.any()
    assert len(fitted.lifted.evidence.label) > 20


def test_membranes_and_cells_are_opposite_masks(data: Path, forests: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", TISSUE.raw)
    tifffile.imwrite(tmp_path / "cells.tif", (TISSUE.cells == 0).astype(np.uint8))
    config = edge_training(volumes=[{**VOLUME, "truth_kind": "membranes"}], min_cell_voxels=1)
    networks = [forests / f"fold{n}.safetensors" for n in (0, 1)]
    first = edge_parts.out_of_fold_parts(config, tmp_path, networks, "cpu")[0]
    np.testing.assert_array_equal(first.truth > 0, TISSUE.cells[:4] > 0)
    assert first.sections_apart


def test_kept_parts_are_read_again_and_are_the_same(
    data: Path, forests: Path, parts: list[Part], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = [forests / f"fold{n}.safetensors" for n in (0, 1)]
    config = edge_training()
    edge_parts.out_of_fold_parts(config, data, networks, "cpu", tmp_path)
    assert len(list(tmp_path.iterdir())) == 2

    def never(*_: Any) -> Part:
        raise AssertionError("computed again")

    monkeypatch.setattr(edge_parts, "_part", never)
    again = edge_parts.out_of_fold_parts(config, data, networks, "cpu", tmp_path)
    for old, new in zip(parts, again, strict=True):
        assert (new.name, new.volume, new.weight) == (old.name, old.volume, old.weight)
        assert new.tables.keys() == old.tables.keys()
        np.testing.assert_array_equal(new.truth, old.truth)
        for name, table in old.tables.items():
            if isinstance(table, np.ndarray):
                np.testing.assert_array_equal(new.tables[name], table)
            elif name != "attributes":
                assert new.tables[name].keys() == table.keys()
                for column, values in table.items():
                    assert new.tables[name][column].dtype == values.dtype
                    np.testing.assert_array_equal(new.tables[name][column], values)
    one, two = (fit_forests(p, config).lifted.forest for p in (parts, again))
    np.testing.assert_array_equal(one.threshold, two.threshold)


def test_kept_parts_of_anything_else_are_computed_again(
    data: Path, forests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = edge_training().volumes[0].half(0)
    network = forests / "fold1.safetensors"
    key = edge_parts.part_fingerprint(volume, edge_training(), data, network)
    pipeline = {**edge_training().pipeline, "features": {"sigmas_voxels": [2.0]}}
    tifffile.imwrite(tmp_path / "raw.tif", 255 - TISSUE.raw)
    tifffile.imwrite(tmp_path / "cells.tif", TISSUE.cells.astype(np.uint16))
    others = [
        (volume, edge_training(pipeline=pipeline), data, network),
        (volume, edge_training(), tmp_path, network),
        (volume, edge_training(), data, forests / "edges-small.safetensors"),
        (volume.model_copy(update={"weight": 2.0}), edge_training(), data, network),
    ]
    assert key == edge_parts.part_fingerprint(volume, edge_training(seed=7), data, network)
    assert all(key != edge_parts.part_fingerprint(*other) for other in others)
    path = tmp_path / "kept" / "painted-half0.npz"
    networks = [forests / f"fold{n}.safetensors" for n in (0, 1)]
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    edge_parts.out_of_fold_parts(edge_training(), data, networks, "cpu", path.parent)
    assert f"{path}: of other data, parameters or code; computed again" in capsys.readouterr().err
    assert edge_parts.load_part(path, key) is not None
    assert edge_parts.load_part(path, "another") is None


def test_limits_that_leave_no_clear_pair_between_them_are_refused() -> None:
    with pytest.raises(ValueError, match="cut_above"):
        edge_training(cut_above=0.4)
    assert edge_training(cut_above=0.7).limits["cut_above"] == 0.7


def test_both_forests_record_their_volume_and_that_nothing_is_known_of_the_networks(
    forests: Path,
) -> None:
    for name in ("edges-small", "lifted-small"):
        record = read_record(forests / f"{name}.safetensors")
        assert [(one.title, one.through) for one in record.learned] == [("painted 0:8", "")]
        possible, found = record.learned[0].content.found(section_marks(TISSUE.raw[7]))
        assert found == possible > 2
        assert record.unknown == tuple(f"fold{n}.safetensors does not record it" for n in (0, 1))

"""From a few annotated sections to forests, and what is said where they are too few."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from small_pipeline import (
    SECTIONS_NM,
    paint_tissue,
    save_dark_network,
    settings,
    write_volume,
)

from pipeline.cli import main
from pipeline.errors import InputError
from pipeline.forests import load_forest
from workflows.edge_parts import out_of_fold_parts, targets_of
from workflows.fine_tuning import FINE_TUNING
from workflows.shipped_forests import shipped_scores, verdict
from workflows.train_edges import EdgeTraining, train_edges

TISSUE = paint_tissue((8, 64, 64), cells=20, z_step=5)
UNLABELLED = 60_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of which a corner and two sections are not annotated."""
    folder = tmp_path_factory.mktemp("data")
    write_volume(folder / "raw.zarr", TISSUE.raw, SECTIONS_NM)
    labels = TISSUE.cells.astype(np.uint16)
    labels[[0, 3]] = UNLABELLED
    labels[:, :20, :20] = UNLABELLED
    tifffile.imwrite(folder / "labels.tif", labels)
    save_dark_network(folder / "dark.safetensors")
    return folder


def edge_training(**changes: Any) -> EdgeTraining:
    sections = settings(Path("unused")).model_dump()
    pipeline = {name: sections[name] for name in ("boundaries", "superpixels", "features")}
    small = {"trees": 8, "max_depth": 4, "min_leaf": 2}
    volume = {
        "name": "partly", "raw": "raw.zarr", "truth": "labels.tif", "truth_kind": "labels",
        "unlabelled": UNLABELLED,
    }  # fmt: skip
    return EdgeTraining.model_validate(
        {"name": "small", "licence": "none", "volumes": [volume], "pipeline": pipeline,
         "edges": small, "lifted": small, **changes}
    )  # fmt: skip


def test_superpixels_that_are_not_annotated_teach_no_forest(data: Path) -> None:
    networks = [data / "dark.safetensors"] * 2
    first, second = out_of_fold_parts(edge_training(), data, networks, "cpu")
    assert (first.volume.shape, second.volume.shape) == ((4, 64, 64), (3, 64, 64))
    np.testing.assert_array_equal(first.truth[0, 20:], TISSUE.cells[1, 20:])
    assert not first.truth[2].any()
    assert not first.truth[:, :20, :20].any()
    uv = first.edges["uv"]
    _, keep = targets_of(first, uv)
    box = first.tables["nodes"]["box"]
    unannotated = np.isin(box[:, 0], [2])[uv.astype(int)].any(axis=1)
    assert unannotated.any()
    assert keep.any()
    assert not keep[unannotated].any()


def test_too_few_clear_edges_are_refused_with_a_way_out(data: Path, tmp_path: Path) -> None:
    networks = [data / "dark.safetensors"] * 2
    with pytest.raises(InputError, match=r"only \d+ edges are clear .* keep the shipped forests"):
        train_edges(edge_training(min_clear_edges=10**6), data, tmp_path, networks, device="cpu")
    assert not list(tmp_path.iterdir())


def test_shipped_forests_of_other_features_are_not_compared(data: Path) -> None:
    networks = [data / "dark.safetensors"] * 2
    parts = out_of_fold_parts(edge_training(), data, networks, "cpu")
    assert shipped_scores(parts, edge_training()) == {}


def test_the_forest_with_the_smaller_log_loss_is_recommended() -> None:
    assert verdict({"log_loss": 0.2}, {"log_loss": 0.3}).endswith("use yours")
    assert verdict({"log_loss": 0.3}, {"log_loss": 0.2}).endswith("keep the shipped one")


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    assert not ended.value.code


@pytest.mark.slow
def test_the_whole_route_from_annotated_sections_to_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FINE_TUNING, "crop", 64)
    tissue = paint_tissue((6, 256, 256), cells=150, z_step=5)
    raw = write_volume(tmp_path / "raw.zarr", tissue.raw, SECTIONS_NM)
    labels = tissue.cells.astype(np.uint16)
    labels[0] = UNLABELLED
    write_volume(tmp_path / "labels.zarr", labels, SECTIONS_NM)
    # torch 2.13 corrupts memory in the backward pass of channels_last with 4 channels
    base = save_dark_network(tmp_path / "dark.safetensors", stem=8)
    given = (
        "--raw", raw, "--truth", tmp_path / "labels.zarr", "--truth-kind", "labels",
        "--unlabelled", UNLABELLED, "--device", "cpu",
    )  # fmt: skip
    tune = ("train", "boundaries", "--from", base, "--steps", 2, *given)
    run(*tune, "--output", tmp_path / "mine")
    for fold in (0, 1):
        run(*tune, "--fold", fold, "--output", tmp_path / f"f{fold}")
    networks = [
        part
        for fold in (0, 1)
        for part in ("--network", tmp_path / f"f{fold}" / f"f{fold}-fold{fold}.safetensors")
    ]
    run("train", "edges", *given, *networks, "--output", tmp_path / "forests")
    said = capsys.readouterr().err
    assert "held back: log loss" in said
    assert "edges: log loss" in said
    report = json.loads((tmp_path / "forests" / "forests.json").read_text())
    assert set(report["edges"]["shipped"]) == set(report["edges"]["out_of_bag"])
    assert "shipped forest, same edges" in (tmp_path / "forests" / "forests.md").read_text()
    chosen = {
        "boundaries.model": tmp_path / "mine" / "mine.safetensors",
        "edges.forest": tmp_path / "forests" / "edges-forests.safetensors",
        "lifted.forest": tmp_path / "forests" / "lifted-forests.safetensors",
    }
    data = load_forest(chosen["edges.forest"]).metadata["data"]
    assert data[0]["annotated_sections"] == [1, 2, 3, 4, 5]
    overrides = [part for key, path in chosen.items() for part in ("--set", f"{key}={path}")]
    run("run", raw, *overrides, "--device", "cpu", "--output", tmp_path / "out.zarr")
    run("evaluate", tmp_path / "out.zarr", tmp_path / "labels.zarr", "--sections", "1:6")

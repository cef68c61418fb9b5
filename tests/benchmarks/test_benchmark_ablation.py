"""What is measured on halves of training volumes, on painted tissue."""

from __future__ import annotations

import numpy as np
import pytest
from small_pipeline import SECTIONS_NM, paint_tissue

from benchmarks.ablation import as_markdown, cross_validated
from benchmarks.mean_boundary import choose_prior, labels_of, mean_boundary_multicut
from pipeline.config import parse_config
from pipeline.contract import VolumeInfo
from pipeline.multicut import STAGE
from workflows.in_memory import reconstruct_array
from workflows.train_edges import EdgeTraining, ForestConfig, Part
from workflows.training_data import AnnotatedVolume

FOREST = ForestConfig(trees=8, max_depth=5, min_leaf=3)
TRAINING = EdgeTraining(
    name="painted",
    licence="",
    volumes=(
        AnnotatedVolume(
            name="painted",
            raw="raw.tif",
            truth="truth.tif",
            truth_kind="labels",
            voxel_size_nm=SECTIONS_NM,
        ),
    ),
    edges=FOREST,
    lifted=FOREST,
)


def painted_part(seed: int) -> Part:
    tissue = paint_tissue((4, 96, 96), 40, 8.0, seed)
    boundaries = np.where(tissue.cells == 0, 230, 20).astype(np.uint8)
    config = parse_config(
        {"features": {"sigmas_voxels": [1.0]}, "edges": {"forest": "none"}}, "test"
    )
    tables = reconstruct_array(
        tissue.raw, SECTIONS_NM, config, until="features", given={"boundaries": boundaries}
    )
    shape = (4, 96, 96)
    return Part(f"seed {seed}", VolumeInfo(shape, SECTIONS_NM, "uint8"), tables, tissue.cells)


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    return [painted_part(0), painted_part(1)]


def test_a_family_left_out_takes_its_columns_away_and_no_others(parts: list[Part]) -> None:
    all_names = parts[0].feature_names
    topology = [name for name in all_names if name.startswith("topology/")]
    full = cross_validated("nothing", parts, TRAINING)
    less = cross_validated(
        "topology",
        parts,
        TRAINING,
        families=["raw", "boundary", "regions", "shape"],
        lifted_families=["paths", "regions", "geometry"],
    )
    assert full.columns == len(all_names)
    assert less.columns == len(all_names) - len(topology)
    assert less.lifted_columns < full.lifted_columns
    for line in (full, less):
        assert line.edge_auc > 0.8
        assert line.edge_out_of_bag_auc > 0.8
        assert line.arand < 0.5
    assert [row.split(" | ")[0] for row in as_markdown([full, less]).splitlines()[2:]] == [
        "| nothing",
        "| topology",
    ]


def test_mean_boundaries_separate_painted_cells_only_if_the_prior_cuts(parts: list[Part]) -> None:
    part = parts[0]
    found = {
        beta: mean_boundary_multicut(part.tables, part.volume, STAGE.config(), beta)
        for beta in (0.001, 0.999)
    }
    assert len(np.unique(found[0.001])) < len(np.unique(found[0.999]))
    labels = labels_of(part.tables, found[0.999])
    assert labels.shape == part.truth.shape
    assert (labels > 0).all()


def test_the_chosen_prior_is_the_best_of_those_tried(
    parts: list[Part], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = choose_prior(parts)
    tried = {}
    for line in capsys.readouterr().out.splitlines():
        beta, error = line.removeprefix("mean boundary, beta ").split(": ")
        tried[float(beta)] = float(error)
    assert chosen["arand"] == pytest.approx(min(tried.values()), abs=1e-4)
    assert tried[chosen["beta"]] == min(tried.values())


def test_voxels_without_a_superpixel_have_no_neuron() -> None:
    known = {
        "superpixels": np.array([[[0, 5, 9]]], np.uint64),
        "nodes": {"id": np.array([5, 9], np.uint64)},
    }
    assert labels_of(known, np.array([2, 1], np.uint64)).tolist() == [[[0, 2, 1]]]

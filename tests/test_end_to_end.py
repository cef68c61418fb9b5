"""The shipped model and forests, from a synthetic stack to scored neurons."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.store import Output, read_labels
from workflows.provenance import Ledger


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded anisotropic stack that went through ``run`` without any configuration."""
    folder = tmp_path_factory.mktemp("stack")
    main_returns(["synth", str(folder), "--shape", "5,192,192", "--seed", "7"])
    main_returns(["run", str(folder / "volume.zarr"), "--truth", str(folder / "truth.tif")])
    return folder


def main_returns(arguments: list[str]) -> None:
    """Call the command line, which must end with code 0."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (0, None)


def test_synthetic_stack_goes_through_the_2d_path_and_scores_well(finished: Path) -> None:
    scores = finished / "scores.json"
    main_returns(
        [
            "evaluate",
            str(finished / "volume.neurons.zarr"),
            str(finished / "truth.tif"),
            "--json",
            str(scores),
        ]
    )
    values = json.loads(scores.read_text())
    assert values["volume"]["arand_error"] < 0.1
    assert values["section_boundary"]["v_rand"] > 0.9


def test_superpixels_stay_within_their_sections(finished: Path) -> None:
    superpixels = read_labels(finished / "volume.neurons.zarr" / "labels" / "superpixels")
    for below, above in itertools.pairwise(superpixels):
        assert not np.intersect1d(below, above).size


def test_neurons_join_superpixels_across_sections(finished: Path) -> None:
    neurons = read_labels(finished / "volume.neurons.zarr")
    ids = np.unique(neurons)
    assert (ids == np.arange(len(ids)) + (ids[0] > 0)).all()
    spans = [np.unique(np.nonzero(neurons == i)[0]).size for i in ids[ids > 0]]
    assert max(spans) == len(neurons)


def test_lifted_edges_took_part(finished: Path) -> None:
    lifted = Output.open(finished / "volume.neurons.zarr").read_table("lifted")
    assert len(lifted["uv"]) > 0
    assert ((lifted["p_cut"] >= 0) & (lifted["p_cut"] <= 1)).all()


def test_run_again_computes_nothing(finished: Path) -> None:
    ledger = Ledger(finished / "volume.neurons.zarr")
    before = {p.name: p.read_text() for p in ledger.folder.glob("*.json")}
    main_returns(["run", str(finished / "volume.zarr"), "--no-pictures"])
    assert {p.name: p.read_text() for p in ledger.folder.glob("*.json")} == before


def test_pictures_are_written(finished: Path) -> None:
    names = {p.name for p in (finished / "volume.neurons.pictures").glob("*.png")}
    assert {"overview.png", "raw.png", "boundaries.png", "superpixels.png", "truth.png"} <= names

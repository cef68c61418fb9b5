"""Both routes of the comparison with elf, on painted tissue."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_pipeline import paint_tissue

from benchmarks import nifty_parity, peer_routes, peers
from benchmarks.children import Steps
from benchmarks.peer_routes import Labelled, Volume, auc, elf_route, labelled_edges, our_route

JOB: dict[str, Any] = {"threads": 1, "elf_filters": "boundary"}
OUR_STEPS = ["superpixels", "graph", "features", "forest fit", "forest prediction", "multicut"]


@pytest.fixture(scope="module")
def volume() -> Volume:
    tissue = paint_tissue((6, 128, 128), 60, 10.0)
    return Volume(
        tissue.raw,
        np.where(tissue.cells == 0, 230, 20).astype(np.uint8),
        tissue.cells,
        (0, 4),
        (4, 6),
    )


@pytest.fixture(scope="module")
def elf_result(volume: Volume) -> peer_routes.Result:
    pytest.importorskip("elf.segmentation")
    return elf_route(volume, Steps(), JOB, None)


def test_our_route_runs_every_step_and_its_forests_know_cuts(volume: Volume) -> None:
    steps = Steps()
    result = our_route(volume, steps, JOB, None)
    assert list(steps.measured) == OUR_STEPS
    assert result.auc["all"] is not None
    assert result.auc["all"] > 0.8
    assert 0 < result.learned_from < result.edges


def test_elfs_route_gives_a_result_of_the_same_form(elf_result: peer_routes.Result) -> None:
    assert elf_result.columns == 12 + 144 + 74
    assert elf_result.auc["all"] is not None
    assert elf_result.auc["all"] > 0.8


def test_on_elfs_superpixels_both_learn_from_and_score_the_same_edges(
    volume: Volume, elf_result: peer_routes.Result
) -> None:
    steps = Steps()
    ours = our_route(volume, steps, JOB, elf_result.fragments)
    assert "superpixels" not in steps.measured
    assert (ours.edges, ours.learned_from) == (elf_result.edges, elf_result.learned_from)
    np.testing.assert_array_equal(ours.fragments, elf_result.fragments)


def test_edges_count_for_the_sections_of_both_their_ends() -> None:
    fragments = np.zeros((3, 2, 4), np.uint64)
    fragments[:, :, :2], fragments[:, :, 2:] = 1, 2
    fragments += (np.arange(3, dtype=np.uint64) * np.uint64(2))[:, None, None]
    truth = np.ones((3, 2, 4), np.uint64)
    truth[:, :, 2:] = 2
    ids = np.arange(1, 7, dtype=np.uint64)
    # within sections 0, 1, 2; then from 0 to 1 and from 1 to 2, straight and crossed
    uv = np.array([[0, 1], [2, 3], [4, 5], [0, 2], [2, 4], [0, 3]], np.uint64)
    volume = Volume(
        np.zeros((3, 2, 4), np.uint8), np.zeros((3, 2, 4), np.uint8), truth, (0, 2), (2, 3)
    )
    found = labelled_edges(fragments, ids, uv, volume)
    assert found.cut.tolist() == [1, 1, 1, 0, 0, 1]
    assert found.across.tolist() == [False, False, False, True, True, True]
    assert found.fit.tolist() == [True, True, False, True, False, True]
    assert found.score.tolist() == [False, False, True, False, False, False]


def test_auc_is_that_of_the_scored_edges_by_kind() -> None:
    def flags(*values: int) -> NDArray[np.bool_]:
        return np.array(values, bool)

    labelled = Labelled(
        cut=np.array([0, 1, 0, 1, 1], np.uint8),
        fit=flags(0, 0, 0, 0, 1),
        score=flags(1, 1, 1, 1, 0),
        across=flags(0, 0, 0, 1, 1),
    )
    found = auc(labelled, np.array([0.1, 0.4, 0.6, 0.9, 0.0]))
    assert found == {"all": 0.75, "in section": 0.5, "across sections": None}


def options(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(data=tmp_path, output=tmp_path, boundaries=None, device="cpu")


def test_without_elf_the_report_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    text, values = peers.compared(options(tmp_path))
    assert "pip install python-elf" in text
    assert values["skipped"] in text


def side(cpu: float, **changes: Any) -> dict[str, Any]:
    step = {"cpu": cpu, "wall": 2 * cpu, "peak_bytes": 3.0 * 2**20}
    return {
        "superpixels": 10,
        "edges": 20,
        "columns": 4,
        "learned_from": 7,
        "auc": {"all": 0.5, "in section": None, "across sections": 0.25},
        "resident_bytes": 1 * 2**20,
        "peak_bytes": 3 * 2**20,
        "steps": {"superpixels": step, "graph": step, "features": step, **changes},
    }


def test_a_summary_takes_medians_and_an_error_takes_all() -> None:
    found = peers.summary([side(1.0), side(5.0), side(2.0)])
    assert found["steps"]["graph"]["cpu"] == 2.0
    assert found["total"] == {"cpu": 6.0, "wall": 12.0}
    assert found["seconds_per_column"] == 0.5
    assert found["own_peak_bytes"] == 2 * 2**20
    assert peers.summary([side(1.0), {"error": "lost"}]) == {"error": "lost"}


def test_the_table_shows_ratios_and_names_what_failed() -> None:
    values = {
        "shape": [3, 4, 5],
        "threads": 1,
        "repeats": 1,
        "fit_sections": [0, 2],
        "score_sections": [2, 3],
        "sides": {
            "elf": peers.summary([side(6.0)]),
            "ours": peers.summary([side(1.5)]),
            "ours on elf's superpixels": {"error": "lost"},
        },
    }
    text = peers.as_markdown(values)
    assert "| graph and features | 12.00 (24.00) | 3.00 (6.00) | 4.0 |" in text
    assert "| AUC, edges: in section | – | – |" in text
    assert "ours on elf's superpixels: lost" in text


def test_pypis_nifty_is_not_taken_for_the_graph_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "nifty" / "graph"
    for package in (folder, folder / "rag", folder / "opt", folder / "opt" / "multicut"):
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
    (tmp_path / "nifty" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert nifty_parity.nifty() is None
    (folder / "rag" / "__init__.py").write_text("def gridRag(): ...\n")
    for name in [n for n in sys.modules if n.split(".")[0] == "nifty"]:
        monkeypatch.delitem(sys.modules, name)
    assert nifty_parity.nifty() is not None
    for name in [n for n in sys.modules if n.split(".")[0] == "nifty"]:
        del sys.modules[name]

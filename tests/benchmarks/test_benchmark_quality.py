"""Kernels of the quality benchmarks, and the whole programs on small data of their form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_benchmarks import small_config, synthetic_stack

from benchmarks import fib25, snemi3d
from benchmarks.published import read
from benchmarks.quality import Row, arguments, moved_nodes, scored_part, thresholded
from benchmarks.quality_figures import levels, points, threshold_figure
from benchmarks.quality_rows import label_row, marked, score_table, worst_table
from benchmarks.thresholded_maps import component_errors, map_row_2d, map_row_3d


def test_renamed_clusters_move_no_node() -> None:
    assert moved_nodes(np.array([1, 1, 2, 3], np.uint64), np.array([7, 7, 5, 6], np.uint64)) == 0


def test_a_split_moves_its_smaller_part() -> None:
    assert moved_nodes(np.array([1, 1, 1, 2], np.uint64), np.array([1, 1, 3, 2], np.uint64)) == 1


def test_a_merge_moves_the_smaller_cluster() -> None:
    assert moved_nodes(np.array([1, 1, 2], np.uint64), np.array([1, 1, 1], np.uint64)) == 1


def test_thresholded_map_is_split_at_its_boundary_and_filled() -> None:
    boundaries = np.zeros((2, 4, 5), np.uint8)
    boundaries[:, :, 2] = 255
    labels = thresholded(boundaries, 0.5, flat=False)
    assert (labels > 0).all()
    assert len(np.unique(labels)) == 2
    assert labels[0, 0, 0] == labels[1, 3, 1] != labels[0, 0, 4]
    before = boundaries.copy()
    thresholded(boundaries, 0.5, flat=True)
    assert (boundaries == before).all()


@pytest.fixture
def fading() -> tuple[np.ndarray, np.ndarray]:
    """A map with a strong and a weak boundary between three cells; the weak one is false."""
    boundaries = np.zeros((2, 6, 12), np.uint8)
    boundaries[:, :, 4], boundaries[:, :, 8] = 255, 64
    truth = np.zeros(boundaries.shape, np.uint8)
    truth[:, :, :4], truth[:, :, 5:] = 1, 2
    return boundaries, truth


def test_the_oracle_takes_the_threshold_that_joins_over_a_weak_boundary(
    fading: tuple[np.ndarray, np.ndarray],
) -> None:
    boundaries, truth = fading
    errors = component_errors([boundaries], [truth])
    # 64 / 255 = .251: components stay apart up to a threshold of .25.
    assert {t for t, error in errors.items() if error == 0} == {
        t for t in errors if 0.251 < t <= 0.95
    }
    given, oracle = map_row_3d("map", boundaries, truth, 0.1, flat=True)
    assert (given.threshold, oracle.threshold) == ("0.10 train", "0.30 oracle")
    assert oracle.arand == oracle.cremi == oracle.snemi3d == 0
    assert given.voi_merge == 0
    assert given.voi_split is not None
    assert given.voi_split > 0


def test_a_chosen_threshold_that_is_the_best_gives_two_equal_rows(
    fading: tuple[np.ndarray, np.ndarray],
) -> None:
    given, oracle = map_row_3d("map", *fading, 0.3, flat=True)
    assert given.arand == oracle.arand == 0
    assert (given.threshold, oracle.threshold) == ("0.30 train", "0.30 oracle")


def test_sections_are_scored_against_ids_or_a_mask(
    fading: tuple[np.ndarray, np.ndarray],
) -> None:
    boundaries, truth = fading
    (by_ids,) = map_row_2d("map", boundaries, truth, None, kind="labels")
    (by_mask,) = map_row_2d("map", boundaries, (truth > 0).astype(np.uint8), None)
    assert by_ids == by_mask
    assert by_ids.v_rand == 1
    assert by_ids.threshold == "0.30 oracle"


def test_scores_that_apply_to_no_row_have_no_column() -> None:
    truth = np.repeat(np.array([1, 2], np.uint8), 8).reshape(1, 4, 4)
    table = score_table("", [label_row("perfect", truth, truth, None)])
    assert "V_rand" not in table.columns
    assert table.rows == (("perfect", None, 0.0, 0.0, 0.0, 0.0, 0.0),)


def test_rows_of_what_was_learned_from_say_so() -> None:
    row = Row("multicut", "", None, None, 0.1, 0.2, 0.3)
    assert marked([row], ()) == [row]
    (told,) = marked([row], ("sections 0-3",))
    assert told.method == "multicut (seen in training)"
    assert levels([told], "arand", ("multicut",)) == {"multicut (seen in training)": 0.1}


def test_the_worst_errors_carry_their_place() -> None:
    truth = np.ones((2, 4, 8), np.uint8)
    labels = truth.copy()
    labels[:, :, 4:] = 2
    (row,) = worst_table(labels, truth, origin=(60, 0, 0)).rows
    assert row[:5] == ("split", 1, 64, 1.0, "100.0%")
    assert str(row[5]).startswith("32 at 60, ")


def test_lines_of_labels_lie_beside_the_curves_of_maps() -> None:
    row = Row("max TTA", "0.20 oracle", None, None, 0.375, 0.2, 0.3)
    marks = points([row, Row("multicut", "", None, None, 0.125, 0.2, 0.3)], "arand")
    assert marks == {"max TTA": [(0.2, 0.375)]}
    curves = {"max TTA": {0.1: 0.5, 0.2: 0.25}}
    (axes,) = threshold_figure("arand", curves, {"multicut": 0.125}, marks).axes
    curve, mark, _, line = axes.get_lines()
    assert list(curve.get_ydata()) == [0.5, 0.25]
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([0.2], [0.375])
    assert set(line.get_ydata()) == {0.125}


def test_quick_scores_a_corner_of_the_validation_part() -> None:
    part = scored_part(fib25.FIB25, quick=True)
    assert part.validate == (100, 103)
    assert part.region == (0, 256, 0, 256)
    assert scored_part(fib25.FIB25, quick=False) is fib25.FIB25


def test_what_was_seen_is_scored_on_request_only() -> None:
    assert not arguments("what", ["--data", "here"]).allow_seen
    assert arguments("what", ["--data", "here", "--allow-seen"]).allow_seen


def test_fib25_is_scored_beside_the_flood_filling_network(tmp_path: Path) -> None:
    raw, ids = synthetic_stack((3, 40, 36), (8, 8, 8))
    ffn = np.where(np.arange(36) < 30, ids, 0)
    deep = ((100, 47), (0, 0), (0, 0))
    (tmp_path / "fib25").mkdir()
    for name, stack in (("raw", raw), ("bodies", ids), ("reference_ffn", ffn)):
        whole = np.pad(stack, deep, mode="edge").astype(np.uint8 if name == "raw" else np.uint16)
        tifffile.imwrite(tmp_path / "fib25" / f"{name}_z000-149.tif", whole)
    config = small_config(tmp_path, (8, 8, 8))
    words = ["--data", tmp_path, "--output", tmp_path / "out", "--config", config]
    found = read(fib25.main([*map(str, words), "--quick", "--device", "cpu"]))
    rows = {(row[0], row[1]): row[2:] for row in found.tables[0].rows}
    assert ("max TTA", "0.01 train") in rows
    flood = rows["flood-filling network", None]
    inside = rows["flood-filling network, on the FFN's foreground", None]
    assert inside == (0, 0, 0, 0, 0)  # its labels are the truth where it has any
    assert flood[0] > 0
    assert ("+ lifted multicut, on the FFN's foreground", None) in rows
    assert found.figures == ("thresholds-arand", "section")
    assert found.made.quick


def test_snemi3d_publishes_its_own_error_and_the_worst_objects(tmp_path: Path) -> None:
    raw, ids = synthetic_stack((3, 40, 36), (30, 6, 6))
    deep = ((60, 17), (0, 0), (0, 0))
    (tmp_path / "snemi3d").mkdir()
    for name, stack in (("raw", raw), ("neurites", ids)):
        whole = np.pad(stack, deep, mode="edge").astype(np.uint8)
        tifffile.imwrite(tmp_path / "snemi3d" / f"{name}_z00-79.tif", whole)
    config = small_config(tmp_path, (30, 6, 6))
    words = ["--data", tmp_path, "--output", tmp_path / "out", "--config", config]
    found = read(snemi3d.main([*map(str, words), "--quick", "--device", "cpu"]))
    scores, worst, paper = found.tables
    assert scores.columns[-2:] == ("CREMI score", "SNEMI3D error")
    assert len(worst.rows) > 0
    assert ("RC-SPCNet and lifted multicut", 0.0801) in paper.rows

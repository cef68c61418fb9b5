from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipeline.evaluation import as_json, as_markdown, evaluate_labels

MAIN_KEYS = [
    "shape",
    "voxel_size_nm",
    "truth_kind",
    "volume",
    "section_objects",
    "section_boundary",
    "sections",
]


def tissue() -> tuple[np.ndarray, np.ndarray]:
    """Three sections of two neurons; the prediction cuts one and keeps the other."""
    truth = np.zeros((3, 6, 9), np.uint16)
    truth[:, :, :4], truth[:, :, 5:] = 5, 8
    prediction = truth.copy()
    prediction[2, :, :4] = 6
    return prediction, truth


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    prediction, truth = tissue()
    paths = (tmp_path / "prediction.tif", tmp_path / "truth.tif")
    for path, labels in zip(paths, (prediction, truth), strict=True):
        tifffile.imwrite(path, labels)
    return paths


def test_without_options_the_main_scores_are_all_there_is(
    call: Any, files: tuple[Path, Path], tmp_path: Path
) -> None:
    scores = evaluate_labels(*tissue())
    answer = call("evaluate", *files, "--json", tmp_path / "scores.json")
    assert (answer.code, answer.out) == (0, as_markdown(scores))
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found.pop("seen_in_training")["seen"] == []
    assert found == json.loads(as_json(scores))


def test_all_families_and_the_worst_objects_are_added(
    call: Any, files: tuple[Path, Path], tmp_path: Path
) -> None:
    kept = tmp_path / "scores.json"
    answer = call("evaluate", *files, "--all", "--worst", 4, "--json", kept)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(as_markdown(evaluate_labels(*tissue())))
    assert "| PQ | " in answer.out
    found = json.loads(kept.read_text())
    assert list(found) == [
        *MAIN_KEYS,
        "instance",
        "semantic",
        "challenges",
        "worst",
        "seen_in_training",
    ]
    assert found["instance"]["ap_50"] == 2 / 3
    assert found["semantic"]["accuracy"] == 1
    assert found["challenges"]["isbi"]["pixel_error"] == 0
    (row,) = found["worst"]
    assert (row["kind"], row["id"], row["voxels"], row["share"]) == ("split", 5, 72, 1)
    assert [piece["id"] for piece in row["pieces"]] == [5, 6]


def test_coordinates_of_cut_sections_are_those_of_the_volume(
    call: Any, files: tuple[Path, Path], tmp_path: Path
) -> None:
    kept = tmp_path / "scores.json"
    assert call("evaluate", *files, "--sections", "1:3", "--worst", 1, "--json", kept).code == 0
    (row,) = json.loads(kept.read_text())["worst"]
    assert [piece["at"][0] for piece in row["pieces"]] == [1, 2]


def test_families_are_chosen_one_by_one(
    call: Any, files: tuple[Path, Path], tmp_path: Path
) -> None:
    kept = tmp_path / "scores.json"
    chosen = ("--family", "classes", "--family", "semantic", "--json", kept)
    assert call("evaluate", *files, *chosen).code == 0
    found = json.loads(kept.read_text())
    assert list(found) == [*MAIN_KEYS, "semantic", "classes", "seen_in_training"]
    assert list(found["classes"]["classes"]) == ["0", "5", "6", "8"]


def test_ignored_ids_band_and_mask_leave_voxels_out(
    call: Any, files: tuple[Path, Path], tmp_path: Path
) -> None:
    kept, mask = tmp_path / "scores.json", tmp_path / "mask.tif"
    selected = np.ones((3, 6, 9), np.uint8)
    selected[2] = 0
    tifffile.imwrite(mask, selected)
    for options, voxels, error in (
        (("--ignore-ids", "5,77"), 162 - 72, True),
        (("--ignore-band", "1"), 162 - 3 * 6 * 3, False),
        (("--mask", mask), 108, True),
    ):
        assert call("evaluate", *files, *options, "--json", kept).code == 0
        found = json.loads(kept.read_text())
        assert found["scored_voxels"] == voxels
        assert (found["volume"]["arand_error"] == 0) == error


def test_a_map_is_scored_by_the_challenges(call: Any, files: tuple[Path, Path]) -> None:
    _, truth = files
    probability = truth.with_name("map.tif")
    tifffile.imwrite(probability, np.where(tissue()[1] == 0, 250, 5).astype(np.uint8))
    answer = call("evaluate", probability, truth, "--map", "--all")
    assert answer.code == 0, answer.err
    assert "| warping error (best threshold) | 0 |" in answer.out


def test_skeletons_give_the_expected_run_length(
    call: Any, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    skeletons = tmp_path / "skeletons"
    skeletons.mkdir()
    nodes = [f"{z + 1} 0 16 16 {40 * z} 1 {z or -1}" for z in range(3)]
    (skeletons / "a.swc").write_text("\n".join(nodes))
    stack = tmp_path / "labels.zarr"
    assert call("import", files[0], stack, "--voxel-size", "40,8,8").code == 0
    kept = tmp_path / "scores.json"
    answer = call("evaluate", stack, files[1], "--skeletons", skeletons, "--json", kept)
    assert answer.code == 0, answer.err
    found = json.loads(kept.read_text())["run_length"]
    assert (found["expected_nm"], found["length_nm"], found["split"]) == (40**2 / 80, 80, 0.5)
    assert "| expected run length (µm) | 0.020 |" in answer.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ignore-ids", "three"), "--ignore-ids 'three': give ids as 3,7"),
        (("--ignore-ids", "5,8,0"), "no voxel is left to score"),
        (("--truth-kind", "mask", "--family", "instance"), "the ground truth is a mask"),
        (("--map", "--worst", "3"), "--worst and --skeletons need labels"),
        (("--skeletons", "nowhere"), "has no voxel size"),
    ],
)
def test_what_cannot_be_scored_is_one_line(
    call: Any, files: tuple[Path, Path], options: tuple[str, ...], message: str
) -> None:
    prediction, truth = files
    if "--map" in options:
        prediction = truth.with_name("map.tif")
        tifffile.imwrite(prediction, np.zeros((3, 6, 9), np.uint8))
    answer = call("evaluate", prediction, truth, *options)
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert message in answer.errors[0]


def test_a_folder_in_place_of_the_json_is_refused_before_anything_is_scored(
    call: Any, files: tuple[Path, Path], tmp_path: Path
) -> None:
    answer = call("evaluate", *files, "--json", tmp_path)
    assert answer.code == 2
    assert answer.out == ""
    assert "is a folder" in answer.errors[0]

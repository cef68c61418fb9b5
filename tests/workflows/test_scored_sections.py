"""Evaluation of volumes on disk: slab by slab, from any format, never whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation import OF_ALL, evaluate_families, evaluate_labels, evaluate_map
from pipeline.evaluation.regions import Region, scored_voxels
from pipeline.evaluation.skeletons import expected_run_length, nodes_inside, read_swc
from pipeline.store import StoredVolume, stored_labels, stored_map
from workflows import scored_sections, scoring
from workflows.results import print_scores
from workflows.score_options import score_skeletons
from workflows.scored_sections import StoredSections, kind_of, slab_depth
from workflows.scoring import score_label_sections, score_map_sections
from workflows.truth import Truth, open_truth

SHAPE = (11, 24, 30)


def tissue() -> tuple[NDArray[Any], NDArray[Any]]:
    """Predicted and true ids of bodies that go through all sections, with false splits."""
    rng = np.random.default_rng(4)
    truth = np.kron(np.arange(1, 21).reshape(1, 4, 5), np.ones((11, 6, 6), int)).astype(np.uint16)
    truth[:, ::6], truth[:, :, ::6] = 0, 0
    prediction = np.roll(truth, 1, axis=1).astype(np.uint64) * np.uint64(2**40)
    prediction[6:] += np.uint64(7) * (prediction[6:] > 0) * (rng.random((5, 1, 1)) < 0.6)
    return prediction, truth


def stored(folder: Path, name: str, array: NDArray[Any], kind: str) -> Path:
    """An array as a TIFF, or as a zarr whose chunks are three sections thick."""
    path = folder / f"{name}.{kind}"
    if kind == "tif":
        options: dict[str, Any] = {"compression": "zlib"} if name == "truth" else {}
        tifffile.imwrite(path, array, photometric="minisblack", **options)
    else:
        zarr.create_array(path, data=array, chunks=(3, 16, 16))
    return path


def opened(tmp_path: Path, kind: str, **options: Any) -> StoredSections:
    prediction, truth = tissue()
    predicted = stored_labels(stored(tmp_path, "prediction", prediction, kind))
    true = open_truth(stored(tmp_path, "truth", truth, kind), SHAPE, None)
    return replace(StoredSections(predicted, true, 0, SHAPE[0], Region()), **options)


@pytest.fixture(params=["thin slabs", "thick slabs"], autouse=True)
def slabs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One section at a time, or as many as chunks hold."""
    if request.param == "thin slabs":
        monkeypatch.setattr(scored_sections, "MOST_BYTES", 1)
    else:
        monkeypatch.setattr(scored_sections, "FEW_VOXELS", 1)


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_volumes_on_disk_have_the_scores_of_arrays_in_memory(tmp_path: Path, kind: str) -> None:
    prediction, truth = tissue()
    sections = opened(tmp_path, kind)
    scores, more = score_label_sections(sections, "labels", OF_ALL, worst=6)
    assert scores == evaluate_labels(prediction, truth)
    assert more == evaluate_families(prediction, truth, OF_ALL, worst=6)
    assert scores.volume is not None
    assert scores.volume.voi_split > 0


def test_cut_sections_ids_band_and_mask_are_those_of_arrays_in_memory(tmp_path: Path) -> None:
    prediction, truth = tissue()
    mask = np.ones(SHAPE, np.uint8)
    mask[5, 3:9] = 0
    sections = opened(tmp_path, "zarr", begin=2, end=9, region=Region((3, 8), 1))
    sections = replace(
        sections, mask=open_truth(stored(tmp_path, "mask", mask, "tif"), SHAPE, None)
    )
    scored = scored_voxels(truth[2:9], ignore_ids=(3, 8), ignore_band=1, mask=mask[2:9])
    scores, more = score_label_sections(sections, "labels", OF_ALL, worst=4, origin=(2, 0, 0))
    assert scores == evaluate_labels(prediction[2:9], truth[2:9], scored=scored)
    assert more == evaluate_families(
        prediction[2:9], truth[2:9], OF_ALL, scored=scored, worst=4, origin=(2, 0, 0)
    )


def test_a_boundary_map_on_disk_has_the_scores_of_the_array(tmp_path: Path) -> None:
    _, truth = tissue()
    boundaries = np.where(truth == 0, 200, 20).astype(np.uint8)
    boundaries[4, 7] = 90
    predicted = stored_map(stored(tmp_path, "map", boundaries, "zarr"))
    sections = replace(opened(tmp_path, "zarr"), prediction=predicted)
    scores, _ = score_map_sections(sections, "labels", ("challenges",))
    whole = boundaries.astype(np.float32) / np.float32(255)
    assert scores == evaluate_map(whole, truth, truth_kind="labels")


def watched(volume: StoredVolume, boxes: list[Box]) -> StoredVolume:
    """Notes what is read of a volume."""

    def read(box: Box) -> NDArray[Any]:
        boxes.append(box)
        return volume.read(box)

    return replace(volume, read=read)


def test_no_more_than_a_slab_is_read_at_once_and_no_section_twice(tmp_path: Path) -> None:
    sections = opened(tmp_path, "zarr")
    predicted: list[Box] = []
    true: list[Box] = []
    sections = replace(
        sections,
        prediction=watched(sections.prediction, predicted),
        truth=replace(sections.truth, stored=watched(sections.truth.stored, true)),
    )
    score_label_sections(sections, "labels", OF_ALL)
    depth = slab_depth([sections.prediction, sections.truth.stored])
    assert depth in (1, 3)
    for boxes in (predicted, true):
        assert max(box.shape[0] for box in boxes) == depth
        assert [z for box in boxes for z in range(box.begin[0], box.end[0])] == list(range(11))


def test_the_kind_of_truth_is_known_once_a_second_value_was_met(tmp_path: Path) -> None:
    values = np.zeros((11, 24, 30), np.uint8)
    values[4:] = 255
    boxes: list[Box] = []
    for changed, kind in ((None, "mask"), (9, "labels"), (5, "labels")):
        ids = values.copy()
        if changed is not None:
            ids[changed, 2, 3] = 7
        path = stored(tmp_path, f"ids{changed}", ids, "zarr")
        boxes.clear()
        truth = Truth(watched(stored_labels(path), boxes), SHAPE)
        assert kind_of(truth) == kind
        depth = slab_depth([truth.stored])
        last = 11 if changed is None else min(11, (changed // depth + 1) * depth)
        assert boxes[-1].end[0] == last
    assert kind_of(Truth(stored_labels(stored(tmp_path, "none", values * 0, "zarr")), SHAPE)) == (
        "mask"
    )


def test_labels_at_skeletons_are_read_by_chunk(tmp_path: Path) -> None:
    prediction, _ = tissue()
    folder = tmp_path / "skeletons"
    folder.mkdir()
    for n, (y, x) in enumerate(((40, 60), (130, 200))):
        nodes = [f"{z + 1} 0 {x} {y} {40 * z} 1 {z or -1}" for z in range(14)]
        (folder / f"{n}.swc").write_text("\n".join(nodes))
    boxes: list[Box] = []
    labels = stored_labels(stored(tmp_path, "prediction", prediction, "zarr"))
    labels = replace(watched(labels, boxes), voxel_size_nm=(40.0, 8.0, 8.0))
    found = score_skeletons(labels, folder, 1, 10)
    inside, voxels = nodes_inside(read_swc(folder), (9, 24, 30), (40, 8, 8), (1, 0, 0))
    assert found == expected_run_length(inside, prediction[1:10][tuple(voxels.T)])
    # Two columns of nodes, in the chunks of sections 1-2, 3-5, 6-8 and 9.
    assert sorted(box.shape for box in boxes) == 2 * [(1, 1, 1)] + 2 * [(2, 1, 1)] + 4 * [(3, 1, 1)]


def test_a_region_of_uncut_truth_is_read_where_it_lies(tmp_path: Path) -> None:
    _, truth = tissue()
    path = stored(tmp_path, "truth", truth, "tif")
    region = Box((2, 3, 4), (9, 20, 25))
    cut = open_truth(path, region.shape, region)
    assert np.array_equal(cut.read(Box((1, 0, 2), (4, 17, 9))), truth[3:6, 3:20, 6:13])
    with pytest.raises(InputError, match=r"\(11, 24, 30\) is neither that of the region"):
        open_truth(path, (5, 17, 21), Box((8, 3, 4), (13, 20, 25)))
    with pytest.raises(InputError, match=r"is not the volume's \(5, 17, 21\)"):
        open_truth(path, (5, 17, 21), None)


def test_sections_that_do_not_exist_and_a_damaged_page_are_named(tmp_path: Path) -> None:
    _, truth = tissue()
    paths = [stored(tmp_path, name, truth, "tif") for name in ("prediction", "truth")]
    with pytest.raises(ConfigError, match="there are sections 0:11"):
        print_scores(*paths, sections="8:12")
    content = bytearray(paths[1].read_bytes())
    with tifffile.TiffFile(paths[1]) as tif:
        offset = tif.pages[6].dataoffsets[0]
    content[offset : offset + 8] = b"\xff" * 8
    paths[1].write_bytes(content)
    with pytest.raises(InputError, match="page 7 is damaged"):
        print_scores(*paths)


def test_a_bar_comes_only_where_scoring_takes_longer_than_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = opened(tmp_path, "zarr")
    score_label_sections(sections, "labels")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(scoring, "MOMENT_SECONDS", -1.0)
    score_label_sections(sections, "labels")
    assert "scores, sections: 11/11 steps" in capsys.readouterr().err


def test_workers_change_no_score(tmp_path: Path) -> None:
    sections = opened(tmp_path, "zarr")
    one, several = (
        score_label_sections(sections, "labels", OF_ALL, worst=3, workers=n) for n in (1, 3)
    )
    assert one == several


@pytest.mark.parametrize("measured", ["labels", "map"])
def test_an_interrupted_evaluation_goes_on_from_its_kept_slabs(
    tmp_path: Path, measured: str
) -> None:
    sections, keep, boxes = opened(tmp_path, "zarr"), tmp_path / "kept", list[Box]()
    score: Any = score_label_sections
    if measured == "map":
        score = score_map_sections
        boundaries = np.where(tissue()[1] == 0, 200, 20).astype(np.uint8)
        stack = stored_map(stored(tmp_path, "map", boundaries, "zarr"))
        sections = replace(sections, prediction=stack)
    expected = score(sections, "labels", ("challenges",))

    def dies(box: Box) -> NDArray[Any]:
        if box.begin[0] >= 6:
            raise KeyboardInterrupt
        return sections.prediction.read(box)

    dying = replace(sections, prediction=replace(sections.prediction, read=dies))
    with pytest.raises(KeyboardInterrupt):
        score(dying, "labels", ("challenges",), keep=keep)
    damaged = sorted(keep.glob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    again = replace(sections, prediction=watched(sections.prediction, boxes))
    assert score(again, "labels", ("challenges",), keep=keep) == expected
    depth = slab_depth([sections.prediction, sections.truth.stored])
    assert [box.begin[0] for box in boxes] == [0, *range(6, 11, depth)]
    boxes.clear()
    assert score(again, "labels", ("challenges",), keep=keep) == expected
    assert boxes == []


def test_kept_slabs_serve_no_other_evaluation(tmp_path: Path) -> None:
    sections, keep = opened(tmp_path, "zarr"), tmp_path / "kept"
    score_label_sections(sections, "labels", OF_ALL, worst=2, keep=keep)
    zarr.open_array(tmp_path / "truth.zarr")[0, 0, 0] = 9
    changed = replace(sections, truth=open_truth(tmp_path / "truth.zarr", SHAPE, None))
    for other, families in (
        (sections, ()),
        (replace(sections, end=9), OF_ALL),
        (replace(sections, region=Region((3,))), OF_ALL),
        (changed, OF_ALL),
    ):
        with pytest.raises(ConfigError, match="another evaluation"):
            score_label_sections(other, "labels", families, worst=2, keep=keep)
    with pytest.raises(ConfigError, match="no folder of kept slabs"):
        score_label_sections(sections, "labels", keep=tmp_path)

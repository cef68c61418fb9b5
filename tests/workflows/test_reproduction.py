"""Reproductions: what their files say, recognising voxels, comparing scores."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import yaml
from pydantic import ValidationError

from pipeline.errors import ConfigError, InputError
from workflows.reproduction import Extent, Reproduction, all_reproductions
from workflows.reproduction_data import (
    Found,
    by_first_voxel,
    check_voxels,
    digest,
    find_all,
    read_voxels,
    to_fetch,
)
from workflows.reproduction_expected import Expected, Measured, read_expected, record
from workflows.reproduction_report import compare, notes_of, score

RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 256, (4, 10, 12), dtype=np.uint8)
IDS = RNG.integers(0, 5, (4, 10, 12)).astype(np.uint16) * 100
FRAGMENTS = np.where(IDS > 0, IDS + np.uint64(10**6), 0).astype(np.uint64)
EXTENT = Extent(sections=(1, 3), region=(2, 9, 0, 12))
CUT = (slice(1, 3), slice(2, 9), slice(0, 12))
NOW = Measured(
    date="2026-01-01",
    commit="abc",
    processor="p",
    cores=2,
    device="cpu",
    precision="fp32",
    versions={},
    seconds=1.0,
)


def values(**changes: Any) -> dict[str, Any]:
    """What a YAML file says."""
    return {
        "name": "small",
        "title": "A small one",
        "seen": "Nothing.",
        "terms": "None.",
        "cite": "Nobody.",
        "voxel_size_nm": [40, 8, 8],
        "raw": {"found_as": ["raw.tif", "data.h5:raw", "all.zip//raw.tif"]},
        "truths": {
            "ids": {
                "found_as": ["ids.tif", "data.h5:ids", "all.zip//ids.tif"],
                "kind": "labels",
                "bodies": "bodies",
                "scores": ["arand_error", "voi_split"],
            },
            "membranes": {"found_as": ["membranes.tif"], "kind": "mask", "scores": ["v_rand"]},
        },
        "forms": {"full": {"sections": [1, 3], "region": [2, 9, 0, 12]}},
        "tolerances": {"arand_error": 0.01, "voi_split": 0.05, "v_rand": 0.005},
        **changes,
    }


SMALL = Reproduction.model_validate(values())


def expected(**scores: float) -> Expected:
    return Expected(scores=scores, voxels={}, models={"net": "1"}, measured=NOW)


def write_tiff(path: Path, stack: np.ndarray) -> None:
    tifffile.imwrite(path, stack, photometric="minisblack", compression="zlib")


def as_tiff(folder: Path) -> None:
    write_tiff(folder / "raw.tif", RAW)
    write_tiff(folder / "ids.tif", IDS)


def as_hdf5(folder: Path) -> None:
    with h5py.File(folder / "data.h5", "w") as file:
        file.create_dataset("raw", data=RAW, chunks=(2, 4, 4))
        file.create_dataset("ids", data=FRAGMENTS)


def as_archive(folder: Path) -> None:
    for name, stack in (("raw.tif", RAW), ("ids.tif", IDS)):
        write_tiff(folder / name, stack)
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for name in ("raw.tif", "ids.tif"):
            archive.write(folder / name, f"challenge/{name}")
            (folder / name).unlink()


@pytest.mark.parametrize("form", [as_tiff, as_hdf5, as_archive])
def test_the_same_voxels_are_recognised_in_every_container(form: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    form(data)
    before = sorted(p.name for p in data.rglob("*"))
    files = find_all(data, SMALL)
    voxels = read_voxels(SMALL, files, EXTENT, tmp_path / "work", {})
    assert np.array_equal(voxels.raw, RAW[CUT])
    assert np.array_equal(by_first_voxel(voxels.truths["ids"]), by_first_voxel(IDS[CUT]))
    assert voxels.digests == {"raw": digest(RAW[CUT]), "ids": digest(IDS[CUT], "labels")}
    assert sorted(p.name for p in data.rglob("*")) == before  # nothing is written there


def test_a_digest_of_ids_knows_no_names_and_one_of_a_mask_only_zero() -> None:
    renamed = np.where(IDS == 0, 0, 7000 - IDS).astype(np.uint64)
    assert digest(renamed, "labels") == digest(IDS, "labels")
    assert digest(IDS > 0, "mask") == digest(IDS, "mask") != digest(IDS, "labels")
    merged = np.where(IDS == 100, 200, IDS)
    assert digest(merged, "labels") != digest(IDS, "labels")
    background = np.where(IDS == 100, 0, IDS)
    assert digest(background, "mask") != digest(IDS, "mask")
    other = RAW.copy()
    other[3, 9, 11] ^= 1
    assert (
        len({digest(a) for a in (RAW, other, RAW.astype(np.uint16), RAW.reshape(4, 12, 10))}) == 4
    )


def test_ids_are_numbered_by_their_first_voxel() -> None:
    assert by_first_voxel(np.array([[[9, 0, 4, 9, 2]]])).tolist() == [[[1, 0, 2, 1, 3]]]
    assert by_first_voxel(np.array([[[9, 4, 9]]])).tolist() == [[[1, 2, 1]]]


def test_fragments_become_bodies_unless_the_fragments_are_what_was_recorded(
    tmp_path: Path,
) -> None:
    as_hdf5(tmp_path)
    pairs = np.stack([np.unique(FRAGMENTS)[1:], np.array([5, 5, 6, 6], np.uint64)], 1)[::-1]
    with h5py.File(tmp_path / "data.h5", "a") as file:
        file.create_dataset("bodies", data=pairs)
    files = find_all(tmp_path, SMALL)
    bodies = np.choose(IDS[CUT] // 100, [0, 5, 5, 6, 6])
    voxels = read_voxels(SMALL, files, EXTENT, tmp_path / "work", {})
    assert np.array_equal(voxels.truths["ids"], bodies)
    recorded = {"ids": digest(IDS[CUT], "labels")}
    voxels = read_voxels(SMALL, files, EXTENT, tmp_path / "work", recorded)
    assert voxels.digests["ids"] == recorded["ids"]


def test_what_was_imported_is_not_imported_again_until_its_file_changes(tmp_path: Path) -> None:
    as_tiff(tmp_path)
    work = tmp_path / "work"
    files = find_all(tmp_path, SMALL)
    read_voxels(SMALL, files, EXTENT, work, {})
    made = (work / "raw.zarr" / "zarr.json").stat().st_mtime_ns
    read_voxels(SMALL, files, EXTENT, work, {})
    assert (work / "raw.zarr" / "zarr.json").stat().st_mtime_ns == made
    write_tiff(tmp_path / "raw.tif", 255 - RAW)
    assert np.array_equal(read_voxels(SMALL, files, EXTENT, work, {}).raw, 255 - RAW[CUT])


def test_other_voxels_are_named() -> None:
    check_voxels({"raw": "1", "ids": "2"}, {"raw": "1", "ids": "2", "other": "3"}, Path("d"))
    check_voxels({"raw": "1"}, {}, Path("d"))
    with pytest.raises(InputError, match="d: ids hold other voxels"):
        check_voxels({"raw": "1", "ids": "2"}, {"raw": "1", "ids": "9"}, Path("d"))


def test_sections_that_are_not_there_are_said(tmp_path: Path) -> None:
    as_tiff(tmp_path)
    with pytest.raises(InputError, match=r"raw.tif: has \(4, 10, 12\) voxels; .* \(5, 10, 12\)"):
        read_voxels(
            SMALL, find_all(tmp_path, SMALL), Extent(sections=(3, 5)), tmp_path / "work", {}
        )


def test_truth_that_is_not_there_is_not_needed_but_one_is(tmp_path: Path) -> None:
    write_tiff(tmp_path / "raw.tif", RAW)
    assert find_all(tmp_path, SMALL) == {}
    write_tiff(tmp_path / "membranes.tif", (IDS > 0).astype(np.uint8))
    found = find_all(tmp_path, SMALL)
    assert found == {
        "raw": Found(tmp_path / "raw.tif"),
        "membranes": Found(tmp_path / "membranes.tif"),
    }


def test_only_what_is_missing_is_fetched(tmp_path: Path) -> None:
    downloads = [
        {"url": f"https://host/{name}", "file": name, "source": "here"}
        for name in ("all.zip", "more.h5")
    ]
    reproduction = Reproduction.model_validate(values(downloads=downloads))
    assert [one.file for one in to_fetch(reproduction, tmp_path)] == ["all.zip", "more.h5"]
    (tmp_path / "more.h5").touch()
    assert [one.file for one in to_fetch(reproduction, tmp_path)] == ["all.zip"]
    as_tiff(tmp_path)  # placed by hand
    assert to_fetch(reproduction, tmp_path) == []


@pytest.mark.parametrize("file", ["../a.zip", "/a.zip", "a/../b", ".a", "a//b"])
def test_a_download_stays_in_its_folder(file: str) -> None:
    with pytest.raises(ValidationError, match="file"):
        Reproduction.model_validate(
            values(downloads=[{"url": "https://h/a", "file": file, "source": "x"}])
        )


def test_scores_are_compared_within_their_tolerance() -> None:
    aim = expected(**{"ids/arand_error": 0.2, "ids/voi_split": 1.0})
    measured = {"ids/arand_error": 0.2099, "ids/voi_split": 1.051}
    rows = compare(SMALL, measured, aim, trained=False)
    assert [(r.score, r.ok) for r in rows] == [
        ("arand_error", "yes"),
        ("voi_split", "no"),
        ("v_rand", "not scored"),
    ]
    assert compare(SMALL, {"ids/voi_split": float("nan")}, aim, trained=False)[1].ok == "no"
    assert {r.ok for r in compare(SMALL, measured, aim, trained=True)} == {
        "no verdict",
        "not scored",
    }
    assert compare(SMALL, measured, None, trained=False)[0].ok == "not recorded"


def test_scores_are_those_of_the_labels() -> None:
    truth = np.ones((2, 20, 20), np.uint64)
    truth[:, :, 10:] = 2
    cells = np.ones_like(truth)
    cells[:, :, 9:11] = 0
    perfect = score(SMALL, truth, {"ids": truth, "membranes": cells})
    assert perfect == {"ids/arand_error": 0, "ids/voi_split": 0, "membranes/v_rand": 1}
    halves = truth.copy()
    halves[:, 10:] += 2
    recall = (4 * 200 * 199) / (2 * 400 * 399)  # of pairs of voxels; precision is 1
    assert score(SMALL, halves, {"ids": truth}) == {
        "ids/arand_error": pytest.approx(1 - 2 * recall / (1 + recall)),
        "ids/voi_split": pytest.approx(1.0),
    }


def test_notes_say_what_differs_from_where_it_was_measured() -> None:
    assert "Nothing was recorded" in notes_of(None, {}, NOW, trained=False)[0]
    assert len(notes_of(expected(), {"net": "1"}, NOW, trained=False)) == 1
    on_gpu = NOW.model_copy(update={"device": "cuda", "precision": "bf16"})
    told = notes_of(expected(), {"net": "2"}, on_gpu, trained=False)
    assert "cuda in bf16 now" in told[1]
    assert "Not the files that the expected scores were measured with: net." in told[2]


def test_a_record_is_kept_by_form(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    assert read_expected(path, "full") is None
    record(path, "full", expected(a=1.0))
    record(path, "quick", expected(a=2.0))
    record(path, "full", expected(a=3.0))
    assert read_expected(path, "full") == expected(a=3.0)
    assert read_expected(path, "quick") == expected(a=2.0)


def test_a_record_is_not_replaced_by_one_that_lacks_scores(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    record(path, "full", expected(a=1.0, b=2.0))
    with pytest.raises(ConfigError, match="has b, which could not be scored now"):
        record(path, "full", expected(a=1.0))
    assert read_expected(path, "full") == expected(a=1.0, b=2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerances": {"voi_split": 0.1}}, "no tolerance for arand_error, v_rand"),
        ({"forms": {"quick": {"sections": [0, 1]}}}, "full is needed"),
        (
            {"learning": {"truth": "ids", "extent": {"sections": [0, 2]}}},
            "some of its sections are scored",
        ),
        ({"learning": {"truth": "x", "extent": {"sections": [0, 1]}}}, "there is no truth x"),
    ],
)
def test_a_wrong_description_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Reproduction.model_validate(values(**change))


def test_what_comes_with_the_program_is_well_described() -> None:
    found = {one.name: (one, path) for one, path in all_reproductions()}
    assert list(found) == ["sample", "fib25", "isbi2012", "snemi3d"]
    for name, (one, path) in found.items():
        assert path.stem == name
        assert set(one.forms) == {"full", "quick"}
        assert one.packaged or (one.downloads and one.by_hand and one.learning)
        assert all(d.url.startswith("https://") and d.source for d in one.downloads)
        assert len(yaml.safe_load(path.read_text())["tolerances"]) >= 3


def test_the_sample_is_at_hand() -> None:
    (sample, _), *_ = all_reproductions()
    assert sample.folder is not None
    assert set(find_all(sample.folder, sample)) == {"raw", "bodies"}

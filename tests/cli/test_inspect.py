"""``inspect`` on what people have: facts known by hand, defects put in, damage, nothing written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from small_pipeline import paint_tissue, write_volume

SHAPE = (12, 96, 80)
TISSUE = paint_tissue(SHAPE, 12, 5)
RAW, IDS = TISSUE.raw, TISSUE.cells


def write_tiff(folder: Path) -> Path:
    path = folder / "stack.tif"
    tifffile.imwrite(path, RAW, compression="deflate")
    return path


def write_npy(folder: Path) -> Path:
    path = folder / "stack.npy"
    np.save(path, RAW)
    return path


def write_hdf5(folder: Path) -> Path:
    path = folder / "cremi.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("volumes/raw", data=RAW, chunks=(4, 32, 32))
        data.attrs["resolution"] = (40.0, 4.0, 4.0)
    return path


def write_pngs(folder: Path) -> Path:
    path = folder / "sections"
    path.mkdir()
    for z, section in enumerate(RAW):
        Image.fromarray(section).save(path / f"z{z:03}.png")
    return path


def write_nifti(folder: Path) -> Path:
    path = folder / "stack.nii"
    image = nibabel.Nifti1Image(RAW.T, np.diag([4.0, 4.0, 40.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, path)
    return path


def write_mrc(folder: Path) -> Path:
    path = folder / "stack.mrc"
    with mrcfile.new(path) as file:
        file.set_data(RAW.astype(np.uint16))
        file.voxel_size = (40.0, 40.0, 400.0)  # Angstrom, x y z
    return path


WRITERS: dict[str, tuple[Callable[[Path], Path], str, list[float] | None]] = {
    "tiff": (write_tiff, "uint8", None),
    "npy": (write_npy, "uint8", None),
    "hdf5": (write_hdf5, "uint8", [40, 4, 4]),
    "pngs": (write_pngs, "uint8", None),
    "nifti": (write_nifti, "uint8", [40000, 4000, 4000]),
    "mrc": (write_mrc, "uint16", [40, 4, 4]),
}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    files = {str(p): p.stat() for p in sorted(folder.rglob("*"))}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in files.items()}


def inspected(call: Any, *arguments: Any) -> dict[str, Any]:
    answer = call("inspect", *arguments, "--json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


@pytest.mark.parametrize("kind", WRITERS)
def test_other_formats_are_described_and_nothing_is_written(
    call: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, dtype, size = WRITERS[kind]
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    found = inspected(call, path)
    assert snapshot(tmp_path) == before
    volume, values = found["volume"], found["values"]
    assert volume["shape"] == list(SHAPE)
    assert volume["dtype"] == dtype
    assert volume["voxel_size_nm"] == (None if size is None else pytest.approx(size))
    assert volume["bytes"] == RAW.size * np.dtype(dtype).itemsize
    assert volume["disk_bytes"] > 0
    assert values["voxels"] == RAW.size
    assert (values["lowest"], values["highest"]) == (RAW.min(), RAW.max())
    assert values["percentiles"]["50.0"] == np.percentile(RAW, 50, method="inverted_cdf")
    assert found["sample"]["share"] == 1
    commands = found["next"]["commands"]
    assert commands[0].startswith(f"python -m pipeline import {path} ")
    assert ("--voxel-size Z,Y,X" in commands[0]) == (size is None)
    assert commands[1] == f"python -m pipeline run {commands[0].split()[5]}"
    assert bool(found["next"]["problems"]) == (size is None)


def test_the_import_that_it_names_works_once_the_blanks_are_filled(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "colours.npy"
    np.save(path, np.stack([RAW, RAW // 2]))
    monkeypatch.chdir(tmp_path)
    found = inspected(call, path, "--axes", "czyx")
    assert any("--channel 0 to 1" in problem for problem in found["next"]["problems"])
    (command, _) = found["next"]["commands"]
    filled = command.replace("CHANNEL", "1").replace("Z,Y,X", "40,4,4").split()[3:]
    assert call(*filled).code == 0
    np.testing.assert_array_equal(zarr.open_array("colours.zarr/0", mode="r")[...], RAW // 2)


def test_what_run_would_do_with_an_imported_pyramid(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = np.tile(RAW, (1, 3, 3))
    np.save(tmp_path / "a.npy", raw)
    volume = tmp_path / "a.zarr"
    assert call("import", tmp_path / "a.npy", volume, "--voxel-size", "40,1,1").code == 0
    before = snapshot(tmp_path)
    found = inspected(call, volume)
    levels = found["volume"]["levels"]
    assert [level["shape"] for level in levels] == [[12, 288, 240], [12, 144, 120], [12, 72, 60]]
    assert [level["voxel_size_nm"] for level in levels] == [[40, n, n] for n in (1, 2, 4)]
    assert all(level["array"]["files_present"] == level["array"]["files"] for level in levels)
    assert levels[0]["array"]["codecs"] == ["zstd 3", "crc32c"]
    foreseen = found["next"]["foreseen"]
    assert (foreseen["level"], foreseen["voxel_size_nm"]) == (2, [40, 4, 4])
    assert (foreseen["superpixels"], foreseen["planes"]) == ("2d", "xy")
    assert found["next"]["preset"] == "cremi"
    assert found["next"]["problems"] == []
    assert found["next"]["commands"] == [f"python -m pipeline run {volume}"]
    text = call("inspect", volume).out
    assert "OME-Zarr 0.5 image" in text
    assert "12x144x120" in text
    assert "12 x 72 x 60 voxels of 40 x 4 x 4 nm" in text
    assert snapshot(tmp_path) == before


def test_an_array_without_voxel_size_says_so_and_what_to_give(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "bare.zarr"
    zarr.create_array(path, data=RAW, chunks=(4, 32, 32))
    found = inspected(call, path)
    assert found["volume"]["voxel_size_nm"] is None
    assert "--voxel-size Z,Y,X" in found["next"]["problems"][0]
    command = f"python -m pipeline run {path} --voxel-size"
    assert found["next"]["commands"] == [f"{command} Z,Y,X"]
    given = inspected(call, path, "--voxel-size", "8,8,8", "--fast")
    assert given["next"]["commands"] == [f"{command} 8,8,8"]
    assert given["next"]["foreseen"]["superpixels"] == "3d"
    assert given["next"]["preset"] == "fib_sem"


def with_defects() -> NDArray[Any]:
    raw = np.tile(paint_tissue((24, 128, 128), 40, 5).raw, (1, 2, 2))
    raw[:, :, :40] = 0
    raw[9] = 0
    raw[16] = raw[15]
    return raw


def test_defects_are_named_with_their_sections(call: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", with_defects())
    found = inspected(call, tmp_path / "a.npy", "--voxel-size", "40,8,8")
    sections = {(one["z"], one["what"]) for one in found["sections"]["findings"]}
    assert sections == {(9, "empty"), (16, "duplicate")}
    assert "section 9 is empty" in " ".join(found["sections"]["handled"])
    padding = dict(found["values"]["padding"])
    assert padding[0.0] == pytest.approx(40 / 256 * 23 / 24 + 1 / 24)
    text = call("inspect", tmp_path / "a.npy", "--voxel-size", "40,8,8").out
    assert "in squares of 32 x 32 or more" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["9", "empty"] in [line[:2] for line in lines]
    assert ["16", "duplicate", "of", "15"] in [line[:4] for line in lines]


def test_without_defects_nothing_is_suspicious(call: Any, tmp_path: Path) -> None:
    path = write_hdf5(tmp_path)
    assert inspected(call, path)["sections"]["findings"] == []
    text = call("inspect", path).out
    assert "nothing suspicious" in text
    assert "padding     none" in text


def test_a_large_volume_is_sampled_and_says_so(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.inspection.VOXELS", 1 << 17)
    raw = np.tile(RAW, (4, 8, 8))
    raw[30] = 0
    np.save(tmp_path / "a.npy", raw)
    found = inspected(call, tmp_path / "a.npy", "--voxel-size", "40,4,4")
    assert 0 < found["sample"]["share"] < 0.2
    assert found["values"]["voxels"] <= 1 << 17
    assert found["sample"]["sections"] < 48
    assert "evenly spread" in call("inspect", tmp_path / "a.npy").out


def test_labels_and_masks_are_told_from_grey_values(call: Any, tmp_path: Path) -> None:
    ids = write_volume(tmp_path / "ids.zarr", IDS)
    found = inspected(call, ids)
    assert found["values"]["looks_like"] == "labels"
    assert found["values"]["distinct"] == len(np.unique(IDS))
    assert found["next"]["use"] == "labels"
    assert found["next"]["commands"] == [f"python -m pipeline evaluate OUTPUT.neurons.zarr {ids}"]
    assert found["sections"] is None
    tifffile.imwrite(tmp_path / "ids.tif", IDS.astype(np.uint16))
    (convert, _) = inspected(call, tmp_path / "ids.tif")["next"]["commands"]
    assert convert.endswith("--voxel-size Z,Y,X --labels")
    tifffile.imwrite(tmp_path / "mask.tif", (IDS > 0).astype(np.uint8) * 255)
    mask = inspected(call, tmp_path / "mask.tif")
    assert mask["next"]["use"] == "mask"
    assert mask["next"]["commands"] == [
        f"python -m pipeline run VOLUME.zarr --mask {tmp_path / 'mask.tif'}"
    ]
    assert "looks like  a mask: 2 different values" in call("inspect", tmp_path / "mask.tif").out


def test_a_file_with_several_datasets_lists_them(call: Any, tmp_path: Path) -> None:
    path = write_hdf5(tmp_path)
    with h5py.File(path, "a") as file:
        file["volumes/labels/neuron_ids"] = IDS
        file["annotations/ids"] = np.arange(5)
    found = inspected(call, path)
    assert found["kind"] == "several"
    assert [(one["path"], one["shape"], one["dtype"]) for one in found["inside"]] == [
        (f"{path}:annotations/ids", [5], "int64"),
        (f"{path}:volumes/raw", list(SHAPE), "uint8"),
        (f"{path}:volumes/labels/neuron_ids", list(SHAPE), "uint64"),
    ]
    one = inspected(call, f"{path}:volumes/raw", "--fast")
    assert one["volume"]["voxel_size_nm"] == [40, 4, 4]
    same = inspected(call, path, "--dataset", "volumes/raw", "--fast")
    assert same["volume"] == one["volume"]
    assert "--dataset volumes/raw" in same["next"]["commands"][0]


def test_folders_and_groups_list_their_volumes(call: Any, tmp_path: Path) -> None:
    write_npy(tmp_path)
    write_tiff(tmp_path)
    group = zarr.create_group(tmp_path / "group.zarr")
    group.create_array("a", data=RAW)
    group.create_array("below/b", data=IDS)
    (tmp_path / "notes.txt").write_text("nothing")
    found = inspected(call, tmp_path)
    assert {Path(one["path"]).name for one in found["inside"]} == {
        "stack.npy",
        "stack.tif",
        "group.zarr",
    }
    inside = inspected(call, tmp_path / "group.zarr")["inside"]
    assert [(Path(one["path"]).name, one["dtype"]) for one in inside] == [
        ("a", "uint8"),
        ("b", "uint64"),
    ]
    text = call("inspect", tmp_path / "group.zarr").out
    assert "holds 2; give one of them" in text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a web server that shows the folder."""
    pytest.importorskip("aiohttp")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_an_address_is_described_as_the_folder_behind_it(
    call: Any, tmp_path: Path, server: str
) -> None:
    write_volume(tmp_path / "ids.zarr", IDS)
    here, there = inspected(call, tmp_path / "ids.zarr"), inspected(call, f"{server}/ids.zarr")
    assert there["values"] == here["values"]
    for key in ("format", "shape", "dtype", "voxel_size_nm", "codecs"):
        assert there["volume"][key] == here["volume"][key]
    assert there["volume"]["disk_bytes"] is None
    assert f"{server}/ids.zarr" in there["next"]["commands"][0]
    missing = call("inspect", f"{server}/nothing.zarr")
    assert missing.code == 2
    assert len(missing.errors) == 1


def test_damaged_voxels_are_told_after_what_is_known(call: Any, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "v.zarr", RAW)
    chunk = next(p for p in sorted((path / "0" / "c").rglob("*")) if p.is_file())
    chunk.write_bytes(b"not zstd")
    answer = call("inspect", path)
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert "damaged" in answer.errors[0]
    assert "12 x 96 x 80" in answer.out
    as_json = call("inspect", path, "--json")
    assert as_json.code == 2
    assert "damaged" in json.loads(as_json.out)["damage"]
    assert call("inspect", path, "--fast").code == 0


def test_missing_chunk_files_are_counted(call: Any, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "v.zarr", RAW)
    chunks = [p for p in sorted((path / "0" / "c").rglob("*")) if p.is_file()]
    for chunk in chunks[:3]:
        chunk.unlink()
    found = inspected(call, path, "--fast")
    assert found["volume"]["levels"][0]["array"]["files_present"] == len(chunks) - 3
    assert any(
        f"3 of {len(chunks)} chunk files are not there" in one
        for one in found["volume"]["warnings"]
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.tif", None, "does not exist"),
        ("notes.txt", b"some notes", "begins with b'some notes'"),
        ("empty.dat", b"", "an empty file"),
        ("cut.tif", b"II*\x00\x08\x00", "cut.tif"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n", "cut.h5"),
        ("cut.npy", b"\x93NUMPY\x01\x00", "cut.npy"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\x00", "cut.png"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    call: Any, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    answer = call("inspect", path)
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert said in answer.errors[0]
    assert answer.out == ""


def test_an_empty_folder_and_an_empty_array_are_one_line_each(call: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "an empty folder" in call("inspect", tmp_path / "folder").errors[0]
    zarr.create_array(tmp_path / "a.zarr", shape=(0, 5, 5), dtype="uint8")
    assert "is empty" in call("inspect", tmp_path / "a.zarr").errors[0]


def test_damaged_metadata_name_the_file(call: Any, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "v.zarr", RAW)
    (path / "zarr.json").write_text('{"zarr_format": 3,')
    answer = call("inspect", path)
    assert answer.code == 2
    assert str(path / "zarr.json") in answer.errors[0]


def test_nan_and_constant_volumes_are_problems_of_the_run(call: Any, tmp_path: Path) -> None:
    raw = RAW.astype(np.float32)
    raw[3, 4, 5], raw[3, 4, 6] = np.nan, np.inf
    np.save(tmp_path / "nan.npy", raw)
    found = inspected(call, tmp_path / "nan.npy", "--voxel-size", "40,4,4")
    assert (found["values"]["nan"], found["values"]["infinite"]) == (1, 1)
    assert any("NaN or infinite" in one for one in found["next"]["problems"])
    np.save(tmp_path / "flat.npy", np.full(SHAPE, 9, np.uint8))
    found = inspected(call, tmp_path / "flat.npy", "--voxel-size", "40,4,4")
    assert any("nothing to segment" in one for one in found["next"]["problems"])


def test_an_array_whose_metadata_say_empty_chunks_is_damaged(call: Any, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=RAW, chunks=(4, 32, 32), zarr_format=2)
    metadata = tmp_path / "a.zarr" / ".zarray"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "chunks": [0, 32, 32]}))
    answer = call("inspect", tmp_path / "a.zarr")
    assert answer.code == 2
    assert "is damaged: its metadata says chunks" in answer.errors[0]

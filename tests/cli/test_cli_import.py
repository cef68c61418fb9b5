"""``import`` on the command line: what it says, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipeline.contract import Box
from pipeline.store import open_labels, open_volume
from pipeline.store.importers import importing, partial_folder

STACK = np.random.default_rng(0).integers(0, 200, (2, 5, 10, 12), dtype=np.uint8)
SIZE = ("--voxel-size", "40,8,8")


@pytest.fixture
def channels(tmp_path: Path) -> Path:
    data = np.moveaxis(STACK, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZCYX"})
    return tmp_path / "a.tif"


def test_options_reach_the_import_and_the_next_command_is_named(
    call: Any, channels: Path, tmp_path: Path
) -> None:
    target = tmp_path / "v.zarr"
    roi = ("--roi", "1:4,0:10,2:12")
    answer = call("import", channels, target, *SIZE, "--channel", 1, *roi)
    assert answer.code == 0, answer.err
    end = f"{target}: 3 x 10 x 10 uint8, voxels of 40 x 8 x 8 nm; next: python -m pipeline run"
    assert answer.err.splitlines()[-1] == f"{end} {target}"
    volume = open_volume(target)
    assert np.array_equal(volume.read(Box((0, 0, 0), (3, 10, 10))), STACK[1, 1:4, :, 2:])
    assert volume.translation_nm == (40, 0, 16)


def test_a_missing_choice_is_asked_for(call: Any, channels: Path, tmp_path: Path) -> None:
    answer = call("import", channels, tmp_path / "v.zarr", *SIZE)
    assert answer.code == 2
    assert "choose with --channel 0 to 1" in answer.errors[0]


def test_labels_are_imported_as_ids(call: Any, tmp_path: Path) -> None:
    ids = np.arange(4 * 5 * 6).reshape(4, 5, 6).T.astype(np.int64) * 10**9
    np.save(tmp_path / "ids.npy", ids)
    answer = call(
        "import", tmp_path / "ids.npy", tmp_path / "l.zarr", "--labels", "--axes", "xyz", *SIZE
    )
    assert answer.code == 0, answer.err
    assert np.array_equal(open_labels(tmp_path / "l.zarr").labels, ids.T)
    assert "evaluate OUTPUT" in answer.err


def test_a_shift_of_signed_values_is_said(call: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 5), np.int16))
    answer = call("import", tmp_path / "a.npy", tmp_path / "a.zarr", *SIZE)
    assert "int16 is stored as uint16, shifted by 32768" in answer.err


def test_ctrl_c_says_where_the_rest_is_and_the_same_command_goes_on(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", STACK[0])
    command = ("import", tmp_path / "a.npy", tmp_path / "a.zarr", *SIZE)

    def interrupted(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(importing, "write_box", interrupted)
        answer = call(*command)
    assert answer.code == 130
    assert f"what is done stays in {partial_folder(tmp_path / 'a.zarr')}" in answer.err
    assert call(*command).code == 0
    assert not partial_folder(tmp_path / "a.zarr").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--axes", "zy"), "y and x must be among them"),
        (("--roi", "0:9"), "give z0:z1,y0:y1,x0:x1"),
        (("--roi", "0:9,0:10,0:12"), "is empty or leaves the volume of (5, 10, 12) voxels"),
        (("--dataset", "raw"), "holds one volume, so no 'raw' in it"),
        (("--level", "1"), "no level 1"),
        (("--time", "0"), "leave --time out"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    call: Any, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    np.save(tmp_path / "a.npy", STACK[0])
    answer = call("import", tmp_path / "a.npy", tmp_path / "a.zarr", *SIZE, *options)
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert says in answer.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_damaged_files_are_one_line_and_no_library_speaks(call: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="minisblack")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) - 100])
    answer = call("import", tmp_path / "a.tif", tmp_path / "a.zarr", *SIZE)
    assert answer.code == 2
    assert answer.err.splitlines() == answer.errors

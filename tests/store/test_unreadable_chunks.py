"""A chunk of a folder that cannot be read is named, with what the file system says."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.store import open_volume

SIZE = (40.0, 8.0, 8.0)
WHOLE = Box((0, 0, 0), (6, 20, 24))


@pytest.fixture
def path(tmp_path: Path, raw: NDArray[Any]) -> Path:
    array = zarr.create_array(tmp_path / "a", shape=raw.shape, dtype="u1", chunks=(3, 10, 12))
    array[...] = raw
    return tmp_path / "a"


def breaking(monkeypatch: pytest.MonkeyPatch, chunk: Path, number: int, times: int = 99) -> None:
    """Reading a file fails with an error of the system, so many times."""
    read, left = Path.read_bytes, [times]

    def fail(self: Path) -> bytes:
        if self == chunk and left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", fail)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EIO, "the file system gives an error"),
        (errno.EACCES, "may not be read; correct its permissions"),
    ],
)
def test_file_and_reason_are_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    chunk = path / "c/1/0/1"
    breaking(monkeypatch, chunk, number)
    volume = open_volume(path, voxel_size_nm=SIZE)
    volume.read(Box((0, 0, 0), (3, 20, 24)))
    with pytest.raises(InputError) as caught:
        volume.read(WHOLE)
    text = str(caught.value)
    assert says in text
    assert f"[{chunk}]" in text
    assert os.strerror(number) in text


def test_error_that_passes_at_once_does_no_harm(
    path: Path, raw: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, path / "c/1/0/1", errno.EIO, times=1)
    np.testing.assert_array_equal(open_volume(path, voxel_size_nm=SIZE).read(WHOLE), raw)

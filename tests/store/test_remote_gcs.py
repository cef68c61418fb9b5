"""Volumes in Google's storage, of which a small part is played by a server of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from remote_stores import gcs_server

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.store import Volume, as_place, open_volume, parse_storage_options, remote, stamps

SIZE = (40.0, 8.0, 8.0)
WHOLE = Box((0, 0, 0), (6, 20, 24))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Volume]]:
    stamps.forget_stamps()
    remote.forget_connections()
    with gcs_server(tmp_path) as url:

        def open_there(address: str, **options: Any) -> Volume:
            chosen = parse_storage_options(
                ["anon=true", f"endpoint_url={url}", "pause_seconds=0.01", "attempts=2"]
            )
            return open_volume(as_place(address, chosen), **options)

        yield open_there
    remote.forget_connections()


def write(path: Path, raw: NDArray[Any], zarr_format: Any, **options: Any) -> Path:
    array = zarr.create_array(
        path, shape=raw.shape, dtype="u1", chunks=(3, 10, 12), zarr_format=zarr_format, **options
    )
    array[...] = raw
    return path


@pytest.mark.parametrize(
    ("zarr_format", "options"),
    [(2, {}), (3, {}), (3, {"shards": (6, 20, 24)})],
    ids=["v2", "v3", "v3 sharded"],
)
def test_voxels_are_those_of_the_folder(
    opened: Callable[..., Volume],
    raw: NDArray[Any],
    tmp_path: Path,
    zarr_format: int,
    options: Any,
) -> None:
    write(tmp_path / "bucket/v.zarr", raw, zarr_format, **options)
    volume = opened("gs://bucket/v.zarr", voxel_size_nm=SIZE)
    part = Box((1, 12, 13), (3, 19, 23))
    np.testing.assert_array_equal(volume.read(part), raw[part.slices])
    np.testing.assert_array_equal(volume.read(WHOLE), raw)


def test_fingerprint_is_stable_and_tells_of_changed_and_of_missing_chunks(
    opened: Callable[..., Volume], raw: NDArray[Any], tmp_path: Path
) -> None:
    path = write(tmp_path / "bucket/v.zarr", raw, 3)

    def fingerprint() -> str:
        stamps.forget_stamps()
        return opened("gs://bucket/v.zarr", voxel_size_nm=SIZE).fingerprint()

    before = fingerprint()
    assert fingerprint() == before
    (path / "c/0/0/0").write_bytes((path / "c/0/0/1").read_bytes())
    assert fingerprint() != before
    for chunk in path.rglob("c/*/*/*"):
        chunk.unlink()
    with pytest.raises(InputError, match="none of its chunks"):
        fingerprint()


def test_missing_volume_suggests_what_is_there(
    opened: Callable[..., Volume], raw: NDArray[Any], tmp_path: Path
) -> None:
    write(tmp_path / "bucket/v.zarr", raw, 3)
    with pytest.raises(InputError, match=r"inside are: gs://bucket/v\.zarr; give one"):
        opened("gs://bucket")
    with pytest.raises(InputError, match="check the address"):
        opened("gs://bucket/other.zarr")

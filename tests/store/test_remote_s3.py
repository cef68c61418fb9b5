"""Volumes in object stores: the same voxels as from a folder, and one clear line otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from remote_stores import CREDENTIALS, S3, s3_server

from pipeline.contract import Box
from pipeline.errors import ConfigError, InputError, StoreError
from pipeline.store import as_place, open_mask, open_volume, parse_storage_options, remote, stamps
from pipeline.store.place import RemotePlace

SIZE = (40.0, 8.0, 8.0)
PARTS = [Box((0, 0, 0), (6, 20, 24)), Box((1, 5, 6), (5, 15, 20))]


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    stamps.forget_stamps()
    remote.forget_connections()
    yield
    stamps.forget_stamps()


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> str:
    return f"b{abs(hash(request.node.name)):x}"


def at(server: S3, address: str, **options: Any) -> RemotePlace:
    given = {"endpoint_url": server.url, "pause_seconds": 0.01, **options}
    place = as_place(address, parse_storage_options([f"{k}={v}" for k, v in given.items()]))
    assert isinstance(place, RemotePlace)
    return place


def write_array(path: Path, raw: NDArray[Any], zarr_format: Any, **options: Any) -> Path:
    array = zarr.create_array(
        path, shape=raw.shape, dtype=raw.dtype, chunks=(3, 8, 8), zarr_format=zarr_format, **options
    )
    array[...] = raw
    return path


def error_of(place: RemotePlace) -> str:
    with pytest.raises(InputError) as caught:
        open_volume(place, voxel_size_nm=SIZE).fingerprint()
    text = str(caught.value)
    assert "\n" not in text
    assert place.url in text
    return text


@pytest.mark.parametrize(
    ("zarr_format", "options"),
    [
        (2, {}),
        (2, {"chunk_key_encoding": {"name": "v2", "separator": "/"}}),
        (3, {}),
        (3, {"shards": (6, 16, 24)}),
    ],
    ids=["v2", "v2 nested", "v3", "v3 sharded"],
)
def test_bare_arrays_read_as_from_a_folder(
    server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path, zarr_format: int, options: Any
) -> None:
    path = write_array(tmp_path / "a.zarr", raw, zarr_format, **options)
    volume = open_volume(at(server, server.upload(path, bucket)), voxel_size_nm=SIZE)
    assert volume.info == open_volume(path, voxel_size_nm=SIZE).info
    for box in PARTS:
        np.testing.assert_array_equal(volume.read(box), raw[box.slices])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_level_of_an_image_reads_as_from_a_folder(
    server: S3, bucket: str, raw: NDArray[Any], write_image: Callable[..., Path], version: str
) -> None:
    path = write_image(raw, version)
    address = server.upload(path, bucket)
    for level in (0, 1):
        here = open_volume(path, level=level)
        there = open_volume(at(server, address), level=level)
        assert (there.info, there.translation_nm) == (here.info, here.translation_nm)
        whole = Box((0, 0, 0), here.shape)
        np.testing.assert_array_equal(there.read(whole), here.read(whole))
    single = open_volume(at(server, f"{address}/s1"))
    assert (single.level, single.voxel_size_nm) == (1, here.voxel_size_nm)


def test_the_endpoint_may_come_from_the_environment(
    server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.upload(write_array(tmp_path / "a.zarr", raw, 3), bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    volume = open_volume(as_place(address), voxel_size_nm=SIZE)
    np.testing.assert_array_equal(volume.read(PARTS[0]), raw)


def test_a_mask_may_be_remote(server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path) -> None:
    volume = open_volume(write_array(tmp_path / "v.zarr", raw, 3), voxel_size_nm=SIZE)
    address = server.upload(write_array(tmp_path / "m.zarr", (raw > 99).astype("u1"), 2), bucket)
    mask = open_mask(at(server, address), volume)
    mask.check_foreground()
    np.testing.assert_array_equal(mask.read(PARTS[1]), (raw > 99)[PARTS[1].slices])
    assert mask.fingerprint() == open_mask(at(server, address), volume).fingerprint()


def test_missing_chunks_are_the_fill_value_unless_all_are_missing(
    server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path
) -> None:
    path = write_array(tmp_path / "a.zarr", raw, 3, fill_value=7)
    place = at(server, server.upload(path, bucket))
    chunks = [f.relative_to(path).as_posix() for f in path.rglob("c/*/*/*")]
    server.client.delete_object(Bucket=bucket, Key="a.zarr/c/1/0/1")
    volume = open_volume(place, voxel_size_nm=SIZE)
    expected = raw.copy()
    expected[3:6, 0:8, 8:16] = 7
    np.testing.assert_array_equal(volume.read(PARTS[0]), expected)
    volume.fingerprint()
    for name in chunks:
        server.client.delete_object(Bucket=bucket, Key=f"a.zarr/{name}")
    stamps.forget_stamps()
    assert "none of its chunks" in error_of(place)


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "asked one by one"])
def test_fingerprint_changes_with_the_content_of_a_chunk_only(
    server: S3,
    bucket: str,
    raw: NDArray[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listed: bool,
) -> None:
    path = write_array(tmp_path / "a.zarr", raw, 3)
    place = at(server, server.upload(path, bucket))
    if not listed:
        monkeypatch.setattr(stamps, "LISTED", 1)

    def fingerprint() -> str:
        stamps.forget_stamps()
        return open_volume(place, voxel_size_nm=SIZE).fingerprint()

    before = fingerprint()
    chunk = (path / "c/1/0/1").read_bytes()
    put = {"Bucket": bucket, "Key": "a.zarr/c/1/0/1"}
    server.client.put_object(Body=chunk, **put)
    assert fingerprint() == before
    server.client.put_object(Body=chunk[:-1] + b"\0", **put)
    changed = fingerprint()
    server.client.delete_object(**put)
    assert len({before, changed, fingerprint()}) == 3
    server.client.put_object(Body=b"", **put)
    stamps.forget_stamps()
    assert "c/1/0/1: chunk is empty" in error_of(place)


def test_marks_that_tools_leave_for_folders_are_no_chunks(
    server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path
) -> None:
    place = at(server, server.upload(write_array(tmp_path / "a.zarr", raw, 3), bucket))
    before = open_volume(place, voxel_size_nm=SIZE).fingerprint()
    for name in ("a.zarr/", "a.zarr/c/", "a.zarr/c/1/"):
        server.client.put_object(Bucket=bucket, Key=name, Body=b"")
    stamps.forget_stamps()
    assert open_volume(place, voxel_size_nm=SIZE).fingerprint() == before


def test_a_bucket_that_may_be_read_but_not_listed_is_asked_chunk_by_chunk(
    server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(*_: Any, **__: Any) -> Any:
        raise PermissionError("Access Denied")

    monkeypatch.setattr("s3fs.S3FileSystem._find", denied)
    place = at(server, server.upload(write_array(tmp_path / "a.zarr", raw, 3), bucket))
    volume = open_volume(place, voxel_size_nm=SIZE)
    before = volume.fingerprint()
    put = {"Bucket": bucket, "Key": "a.zarr/c/1/0/1"}
    server.client.put_object(Body=b"other", **put)
    stamps.forget_stamps()
    assert volume.fingerprint() != before


def test_damaged_chunk_is_named(server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path) -> None:
    place = at(server, server.upload(write_array(tmp_path / "a.zarr", raw, 3), bucket))
    server.client.put_object(Bucket=bucket, Key="a.zarr/c/1/0/1", Body=b"nonsense")
    volume = open_volume(place, voxel_size_nm=SIZE)
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), (3, 20, 24))), raw[:3])
    with pytest.raises(InputError, match=r"damaged .*\[s3://.*/a.zarr/c/1/0/1\]"):
        volume.read(PARTS[0])


def test_missing_bucket_and_missing_volume_are_told_apart(
    server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path
) -> None:
    server.upload(write_array(tmp_path / "a.zarr", raw, 3), bucket)
    assert "no such bucket" in error_of(at(server, f"s3://{bucket}x/a.zarr"))
    text = error_of(at(server, f"s3://{bucket}/b.zarr"))
    assert "no zarr array or group is there" in text
    assert "check the address" in text
    assert f"inside are: s3://{bucket}/a.zarr" in error_of(at(server, f"s3://{bucket}/"))


def test_public_bucket_is_read_without_credentials_where_there_are_none(
    server: S3,
    bucket: str,
    raw: NDArray[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write_array(tmp_path / "a.zarr", raw, 3)
    server.client.create_bucket(Bucket=bucket, ACL="public-read")
    address = server.upload(path, bucket, ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    caplog.set_level(logging.INFO, "pipeline")
    volume = open_volume(at(server, address), voxel_size_nm=SIZE)
    np.testing.assert_array_equal(volume.read(PARTS[0]), raw)
    said = [r.getMessage() for r in caplog.records if "no credentials" in r.getMessage()]
    assert len(said) == 1
    assert "no credentials were found" in error_of(at(server, address, anon="false"))


def test_private_bucket_denies_who_has_no_credentials(
    server: S3, bucket: str, raw: NDArray[Any], tmp_path: Path
) -> None:
    address = server.upload(write_array(tmp_path / "a.zarr", raw, 3), bucket)
    text = error_of(at(server, address, anon="true"))
    assert "access denied" in text
    assert "without credentials" in text


def test_unknown_profile_is_named(server: S3, bucket: str) -> None:
    assert "nobody" in error_of(at(server, f"s3://{bucket}/a.zarr", profile="nobody"))


def test_endpoint_that_nobody_listens_at_is_tried_again_then_named(
    bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    options = parse_storage_options(
        ["endpoint_url=http://127.0.0.1:9", "pause_seconds=0.01", "attempts=3"]
    )
    place = as_place(f"s3://{bucket}/a.zarr", options)
    with pytest.raises(StoreError, match=r"cannot be reached .*\(3 attempts\)"):
        open_volume(place, voxel_size_nm=SIZE)
    assert "attempt 2 of 3" in caplog.text


@pytest.mark.parametrize("pair", ["secret=x1y2", "key=x1y2", "token=x1y2", "x1y2"])
def test_secrets_are_refused_as_options_and_not_repeated(pair: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_storage_options([pair])
    assert "x1y2" not in str(caught.value)


@pytest.mark.parametrize(
    ("pair", "says"),
    [("attempts=0", "attempts"), ("anon=perhaps", "anon"), ("timeout_seconds=-1", "timeout")],
)
def test_impossible_options_are_named(pair: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_storage_options([pair])


def test_an_option_that_the_protocol_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="https:// does not know it"):
        as_place("https://host/v.zarr", parse_storage_options(["profile=lab"]))

"""Volumes on web servers: good ones, slow ones, and those that fail now and then or for good."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from remote_stores import Web, web_server

from pipeline.contract import Box
from pipeline.errors import InputError, StoreError
from pipeline.store import Volume, as_place, open_volume, parse_storage_options, remote, stamps
from pipeline.store.remote_trouble import explain

SIZE = (40.0, 8.0, 8.0)
WHOLE = Box((0, 0, 0), (6, 20, 24))
CHUNK = "/c/0/0/1"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    stamps.forget_stamps()
    remote.forget_connections()
    with web_server(tmp_path) as running:
        yield running
    stamps.forget_stamps()


def write(path: Path, raw: NDArray[Any], zarr_format: Any = 3, **options: Any) -> Path:
    array = zarr.create_array(
        path,
        shape=raw.shape,
        dtype=raw.dtype,
        chunks=(6, 10, 12),
        zarr_format=zarr_format,
        **options,
    )
    array[...] = raw
    return path


def opened(web: Web, name: str = "v.zarr", **options: Any) -> Volume:
    given = {"pause_seconds": 0.01, "attempts": 3, **options}
    place = as_place(
        f"{web.url}/{name}", parse_storage_options([f"{k}={v}" for k, v in given.items()])
    )
    return open_volume(place, voxel_size_nm=SIZE)


@pytest.mark.parametrize(
    ("zarr_format", "options"),
    [(2, {}), (3, {}), (3, {"shards": (6, 20, 24)})],
    ids=["v2", "v3", "v3 sharded"],
)
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole files only"])
def test_voxels_are_those_of_the_folder(
    web: Web, raw: NDArray[Any], tmp_path: Path, zarr_format: int, options: Any, ranges: bool
) -> None:
    write(tmp_path / "v.zarr", raw, zarr_format, **options)
    web.ranges = ranges
    volume = opened(web)
    part = Box((1, 12, 13), (5, 19, 23))  # one of the four chunks
    np.testing.assert_array_equal(volume.read(part), raw[part.slices])
    np.testing.assert_array_equal(volume.read(WHOLE), raw)


def test_a_part_of_a_shard_is_read_without_the_rest(
    web: Web, raw: NDArray[Any], tmp_path: Path
) -> None:
    write(tmp_path / "v.zarr", raw, shards=(6, 20, 24), compressors=None)
    volume = opened(web)
    web.asked.clear()
    volume.read(Box((0, 0, 0), (6, 10, 12)))
    assert [path for _, path in web.asked] == ["/v.zarr/c/0/0/0"] * 2  # its index, one chunk


@pytest.mark.parametrize("kind", [429, 500, 503, "cut", "drop"])
def test_trouble_that_passes_is_waited_for_and_told_once(
    web: Web, raw: NDArray[Any], tmp_path: Path, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "v.zarr", raw)
    caplog.set_level(logging.INFO, "pipeline")
    volume = opened(web)
    web.trouble[CHUNK].extend([kind, kind])
    np.testing.assert_array_equal(volume.read(WHOLE), raw)
    ours = [record for record in caplog.records if record.name.startswith("pipeline")]
    told = [record.getMessage() for record in ours]
    assert len(told) == 1
    assert f"{web.url}/v.zarr{CHUNK}" in told[0]
    assert "attempt 2 of 3" in told[0]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (503, r"error 503 \(slow down\) \(3 attempts\)"),
        (500, r"error 500 \(3 attempts\)"),
        ("cut", r"ended too early \(3 attempts\)"),
        ("drop", r"cannot be reached .*\(3 attempts\)"),
    ],
)
def test_trouble_that_stays_ends_in_one_line_with_the_object(
    web: Web, raw: NDArray[Any], tmp_path: Path, kind: Any, says: str
) -> None:
    write(tmp_path / "v.zarr", raw)
    volume = opened(web)
    web.trouble[CHUNK].extend([kind] * 9)
    with pytest.raises(StoreError, match=says) as caught:
        volume.read(WHOLE)
    text = str(caught.value)
    assert text.startswith(f"{web.url}/v.zarr{CHUNK}: ")
    assert "the same command goes on" in text
    assert "\n" not in text
    if kind != "drop":  # aiohttp itself asks again where a kept connection breaks
        assert sum(path.endswith(CHUNK) for _, path in web.asked) == 3


def test_slow_server_is_waited_for_up_to_the_time_out(
    web: Web, raw: NDArray[Any], tmp_path: Path
) -> None:
    write(tmp_path / "v.zarr", raw)
    web.trouble[CHUNK].append("slow")
    np.testing.assert_array_equal(opened(web).read(WHOLE), raw)
    impatient = opened(web, timeout_seconds=0.2, attempts=1)
    web.trouble[CHUNK].append("slow")
    with pytest.raises(StoreError, match=r"no answer within 0\.2 s"):
        impatient.read(WHOLE)


@pytest.mark.parametrize(("status", "says"), [(403, "access denied"), (418, "error 418")])
def test_refusals_are_not_tried_again(
    web: Web, raw: NDArray[Any], tmp_path: Path, status: int, says: str
) -> None:
    write(tmp_path / "v.zarr", raw)
    volume = opened(web)
    web.trouble[CHUNK].append(status)
    with pytest.raises(InputError, match=says) as caught:
        volume.read(WHOLE)
    assert not isinstance(caught.value, StoreError)
    assert not web.trouble[CHUNK]


def test_missing_chunk_is_the_fill_value(web: Web, raw: NDArray[Any], tmp_path: Path) -> None:
    path = write(tmp_path / "v.zarr", raw, fill_value=9)
    (path / "c/0/0/1").unlink()
    data = opened(web).read(WHOLE)
    assert (data[:, :10, 12:] == 9).all()
    np.testing.assert_array_equal(data[:, 10:], raw[:, 10:])


def test_volume_without_any_chunk_is_refused(web: Web, raw: NDArray[Any], tmp_path: Path) -> None:
    path = write(tmp_path / "v.zarr", raw)
    for chunk in path.rglob("c/*/*/*"):
        chunk.unlink()
    with pytest.raises(InputError, match="none of its chunks"):
        opened(web).fingerprint()


def test_missing_volume_and_a_page_in_place_of_metadata_are_named(
    web: Web, raw: NDArray[Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"/none\.zarr: no zarr array or group is there"):
        opened(web, "none.zarr")
    write(tmp_path / "v.zarr", raw)
    web.trouble["/v.zarr/zarr.json"].append(b"<html>welcome</html>")
    with pytest.raises(InputError, match=r"/v\.zarr/zarr\.json: damaged metadata"):
        opened(web)


@pytest.mark.parametrize("heads", [True, False], ids=["HEAD", "GET only"])
def test_fingerprint_is_stable_and_changes_with_a_chunk(
    web: Web, raw: NDArray[Any], tmp_path: Path, heads: bool
) -> None:
    path = write(tmp_path / "v.zarr", raw)
    web.heads = heads

    def fingerprint() -> str:
        stamps.forget_stamps()
        return opened(web).fingerprint()

    before = fingerprint()
    assert fingerprint() == before
    os.utime(path / "c/0/1/0", ns=(1, 1))
    changed = fingerprint()
    (path / "c/0/1/0").unlink()
    assert len({before, changed, fingerprint()}) == 3


def test_fingerprint_of_many_chunks_asks_for_a_sample_and_of_a_small_region_for_all(
    web: Web, tmp_path: Path
) -> None:
    array = zarr.create_array(tmp_path / "v.zarr", shape=(8, 64, 64), dtype="u1", chunks=(1, 8, 8))
    array[...] = 1
    volume = opened(web)
    web.asked.clear()
    volume.fingerprint()
    assert len(set(web.asked)) == len(web.asked) == stamps.SAMPLED
    web.asked.clear()
    place = as_place(f"{web.url}/v.zarr", parse_storage_options(["attempts=2"]))
    region = Box((0, 0, 0), (2, 9, 8))
    open_volume(place, voxel_size_nm=SIZE, roi=region).fingerprint()
    heads = {path for method, path in web.asked if method == "HEAD"}
    assert heads == {f"/v.zarr/c/{z}/{y}/0" for z in (0, 1) for y in (0, 1)}


def test_a_command_asks_for_stamps_once(web: Web, raw: NDArray[Any], tmp_path: Path) -> None:
    write(tmp_path / "v.zarr", raw)
    first = opened(web).fingerprint()
    web.asked.clear()
    assert opened(web).fingerprint() == first
    assert all(method == "GET" for method, _ in web.asked)  # metadata only


def test_samples_are_spread_and_never_double() -> None:
    for count in (1, 256, 257, 1_000, 1_000_003):
        chosen = list(stamps.sampled(count))
        assert len(set(chosen)) == len(chosen) == min(count, stamps.SAMPLED)
        assert min(chosen) >= 0
        assert max(chosen) < count
    gaps = np.diff(list(stamps.sampled(1_000_003)))
    assert gaps.max() < 2 * 1_000_003 / stamps.SAMPLED
    assert len(set(np.array(list(stamps.sampled(64**3))) % 64)) > 40  # not of one column


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("https://me:x1y2@host/v.zarr", "user name or password"),
        ("https://host/v.zarr?X-Amz-Signature=x1y2", "signed addresses"),
        ("s3://NAME:x1/y2@bucket/v.zarr", "user name or password"),
        ("https://me:x1y2/z@host/v.zarr", "user name or password"),
        ("https://[host/v.zarr?X-Amz-Signature=x1y2", "malformed"),
        ("https://host:port/v.zarr", "malformed"),
        ("s3://", "names no bucket"),
        ("https:///v.zarr", "names no bucket or server"),
        ("file://host/v.zarr", "known are"),
        ("file:///v.zarr?part#1", "from . or # on"),
        ("ftp://host/v.zarr", "known are"),
        ("zip://a.zarr::s3://b/a.zip", "known are"),
        ("memory://v.zarr", "known are"),
    ],
)
def test_addresses_that_cannot_or_must_not_be_used_are_refused(address: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        as_place(address)
    assert "x1y2" not in str(caught.value)


def test_the_name_of_an_address_leads_nowhere_else() -> None:
    assert as_place("https://host/%2e%2e%2Fv%20w.zarr").name == "v w.zarr"


def test_unknown_server_is_named_at_once() -> None:
    with pytest.raises(InputError, match=r"host\.invalid/v\.zarr.*name is not known"):
        open_volume("https://no.such.host.invalid/v.zarr")


def test_file_address_is_a_folder(raw: NDArray[Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a b.zarr", raw)
    volume = open_volume(path.as_uri(), voxel_size_nm=SIZE)
    assert volume.path == path
    np.testing.assert_array_equal(volume.read(WHOLE), raw)


@pytest.mark.parametrize(
    ("code", "status", "says", "passing"),
    [
        ("PermanentRedirect", 301, "another region", False),
        ("AuthorizationHeaderMalformed", 400, "another region", False),
        ("SlowDown", 503, "slow down", True),
        ("InternalError", 500, "error 500", True),
        ("ExpiredToken", 400, "ExpiredToken", False),
        ("InvalidAccessKeyId", 403, r"access denied (InvalidAccessKeyId)", False),
    ],
)
def test_answers_of_s3_are_told_in_words(code: str, status: int, says: str, passing: bool) -> None:
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    response: Any = {
        "Error": {"Code": code, "Message": "key AKIA? no: text of the server"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    place = as_place("s3://bucket/v.zarr")
    assert not isinstance(place, Path)
    error = translate_boto_error(ClientError(response, "GetObject"))
    trouble = explain(error, place, anonymous=False)
    assert says in trouble.what
    assert trouble.passing is passing


def test_missing_library_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from pipeline.errors import ConfigError

    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"pip install 'neuron-pipeline\[cloud\]'"):
        open_volume(as_place("s3://b/v.zarr", parse_storage_options(["attempts=19"])))

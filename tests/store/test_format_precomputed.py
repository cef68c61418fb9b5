"""Precomputed volumes written by tensorstore, on disk and behind servers that fail or hang."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import tensorstore
from foreign_volumes import check_parts, flipped, opened, random_volume, refusal, survive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from remote_stores import CREDENTIALS, s3_server

from pipeline.errors import InputError, StoreError
from pipeline.store.importers import tensorstores
from pipeline.store.importers.foreign import Wanted
from pipeline.store.importers.precomputed import open_precomputed
from pipeline.store.importers.precomputed_urls import key_value_store, recognises_precomputed

XYZC = random_volume((21, 17, 9, 1), "uint8")
SHARDS = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "minishard_bits": 1,
    "shard_bits": 1,
    "hash": "identity",
    "data_encoding": "gzip",
    "minishard_index_encoding": "gzip",
}


def write(
    path: Path,
    xyzc: NDArray[Any] = XYZC,
    scale: int = 0,
    kind: str = "image",
    **entry: Any,
) -> Path:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "scale_index": scale,
        "multiscale_metadata": {
            "data_type": xyzc.dtype.name,
            "num_channels": xyzc.shape[3],
            "type": kind,
        },
        "scale_metadata": {
            "size": list(xyzc.shape[:3]),
            "resolution": [4, 5, 40],
            "chunk_size": [8, 8, 4],
            "encoding": "raw",
            **entry,
        },
    }
    tensorstore.open(spec, create=True).result()[...] = xyzc
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return write(tmp_path / "volume", voxel_offset=[100, 200, 30])


def change(path: Path, **entry: Any) -> None:
    """Alter the first scale in ``info``."""
    info = json.loads((path / "info").read_text())
    info["scales"][0].update(entry)
    (path / "info").write_text(json.dumps(info))


def test_a_folder_is_turned_to_zyx_with_its_place(volume: Path) -> None:
    assert recognises_precomputed(str(volume))
    foreign, data = opened(open_precomputed, volume)
    assert (foreign.axes, foreign.shape, foreign.chunk) == ("zyx", (9, 17, 21), (4, 8, 8))
    assert foreign.voxel_size_nm == (40.0, 5.0, 4.0)
    assert foreign.translation_nm == (1200.0, 1000.0, 400.0)
    assert foreign.warnings == ()
    assert len(foreign.files) == 1 + 3 * 3 * 3
    assert np.array_equal(data, XYZC[..., 0].transpose())
    check_parts(open_precomputed, f"precomputed://file://{volume}", XYZC[..., 0].transpose())


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation"])
@pytest.mark.parametrize("sharding", [None, SHARDS])
def test_label_volumes_in_every_encoding_come_back(
    tmp_path: Path, encoding: str, sharding: Any
) -> None:
    ids = random_volume((21, 17, 9, 1), "uint64") % np.uint64(1 << 40)
    options: dict[str, Any] = {"sharding": sharding} if sharding else {}
    if encoding == "compressed_segmentation":
        options["compressed_segmentation_block_size"] = [4, 4, 2]
    path = write(tmp_path / "v", ids, kind="segmentation", encoding=encoding, **options)
    foreign, data = opened(open_precomputed, path)
    assert foreign.dtype == np.uint64
    assert foreign.facts["encoding"] == encoding + (", sharded" if sharding else "")
    assert np.array_equal(data, ids[..., 0].transpose())
    check_parts(open_precomputed, path, ids[..., 0].transpose())


def test_channels_stay_an_axis_of_their_own(tmp_path: Path) -> None:
    xyzc = random_volume((10, 9, 8, 3), "float32")
    path = write(tmp_path / "v", xyzc)
    foreign, data = opened(open_precomputed, path)
    assert (foreign.axes, foreign.chunk) == ("czyx", (3, 4, 8, 8))
    assert np.array_equal(data, xyzc.transpose())
    check_parts(open_precomputed, path, xyzc.transpose())


def test_scales_are_levels(volume: Path) -> None:
    coarse = XYZC[::2, ::2]
    write(volume, coarse, 1, resolution=[8, 10, 40], voxel_offset=[50, 100, 30])
    foreign, data = opened(open_precomputed, volume, level=1)
    assert foreign.voxel_size_nm == (40.0, 10.0, 8.0)
    assert foreign.translation_nm == (1200.0, 1002.5, 402.0)  # between two of the finer voxels
    assert np.array_equal(data, coarse[..., 0].transpose())
    assert "has levels 0 to 1, not 2" in refusal(open_precomputed, volume, level=2)
    assert "no dataset 'raw'" in refusal(open_precomputed, volume, "raw")


def test_missing_chunks_are_zero_and_counted(volume: Path) -> None:
    (volume / "4_5_40" / "100-108_208-216_30-34").unlink()
    expected = XYZC[..., 0].copy()
    expected[:8, 8:16, :4] = 0
    foreign, data = opened(open_precomputed, volume)
    assert foreign.warnings == ("1 of its 27 chunks are not there and are read as 0",)
    assert np.array_equal(data, expected.transpose())


def test_a_file_off_the_grid_is_no_chunk(volume: Path) -> None:
    (volume / "4_5_40" / "100-108_208-216_30-34").rename(
        volume / "4_5_40" / "101-109_208-216_30-34"
    )
    foreign, _ = opened(open_precomputed, volume)
    assert foreign.warnings == ("1 of its 27 chunks are not there and are read as 0",)


def test_chunks_that_cannot_be_read_are_told_before_reading(volume: Path) -> None:
    folder = volume / "4_5_40"
    for file in folder.iterdir():
        file.rename(f"{file}.gz")
    line = refusal(open_precomputed, volume)
    assert "packed one by one (4_5_40/100-108_200-208_30-34.gz)" in line
    for file in folder.iterdir():
        file.unlink()
    assert "none of its 27 chunks is in" in refusal(open_precomputed, volume)


def test_a_truncated_chunk_is_named(volume: Path) -> None:
    chunk = volume / "4_5_40" / "100-108_208-216_30-34"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert chunk.name in refusal(open_precomputed, volume)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"size": [21, 17]}, "damaged"),
        ({"size": [21, 17, 0]}, "is empty"),
        ({"size": [21, 17, 1.5]}, "1.5 is no whole number"),
        ({"chunk_sizes": [[8, 8, 0]]}, "damaged"),
        ({"chunk_sizes": []}, "damaged"),
        ({"resolution": [4, 5]}, "damaged"),
        ({"resolution": ["a", 5, 1]}, "damaged"),
        ({"voxel_offset": "x"}, "damaged"),
        ({"encoding": "unheard"}, "damaged, truncated or not readable"),
    ],
)
def test_a_damaged_description_is_told(volume: Path, entry: dict[str, Any], expected: str) -> None:
    change(volume, **entry)
    assert expected in refusal(open_precomputed, volume)


def test_what_is_no_volume_is_told(volume: Path) -> None:
    info = volume / "info"
    content = info.read_text()
    info.write_text(content[:-20])
    assert "its 'info' is damaged" in refusal(open_precomputed, volume)
    info.write_text("[]")
    assert "its 'info' is damaged" in refusal(open_precomputed, volume)
    info.write_text('{"@type": "neuroglancer_skeletons"}')
    assert "is no Neuroglancer volume (neuroglancer_skeletons" in refusal(open_precomputed, volume)
    assert not recognises_precomputed(str(volume))
    info.write_text(content.replace('"uint8"', '"text"'))
    assert "voxels of type text" in refusal(open_precomputed, volume)
    info.unlink()
    assert "no file 'info'" in refusal(open_precomputed, volume)
    assert "is no folder" in refusal(open_precomputed, f"precomputed://file://{volume}/gone")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("precomputed://gs://bucket/a/b", {"driver": "gcs", "bucket": "bucket", "path": "a/b/"}),
        (
            "gs://bucket/a/|neuroglancer-precomputed:",
            {"driver": "gcs", "bucket": "bucket", "path": "a/"},
        ),
        ("s3://bucket/a", {"driver": "s3", "bucket": "bucket", "path": "a/"}),
        ("precomputed://https://host:81/a/", {"driver": "http", "base_url": "https://host:81/a/"}),
        ("http://host", {"driver": "http", "base_url": "http://host/"}),
    ],
)
def test_addresses_are_understood_as_neuroglancer_does(
    text: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert recognises_precomputed(text)
    assert key_value_store(text) == expected


def test_other_addresses_are_refused() -> None:
    for text, expected in (
        ("precomputed://middleauth+https://host/a", "cannot be read from"),
        ("az://container/a", "cannot be read from"),
        ("s3:///a", "names no host or bucket"),
        ("https:///a", "names no host or bucket"),
        ("precomputed://https://me:secret@host/a", "holds a user name or password"),
    ):
        line = refusal(open_precomputed, text)
        assert expected in line
        assert "me:secret" not in line
    assert not recognises_precomputed("s3://bucket/volume.zarr")
    assert not recognises_precomputed("s3://bucket/volume.zarr/images/raw")
    assert not recognises_precomputed("a\0b")


def test_a_link_to_a_view_means_its_one_image() -> None:
    layers = [
        {"type": "image", "name": "em", "source": "precomputed://gs://bucket/em"},
        {"type": "segmentation", "source": [{"url": "precomputed://gs://bucket/ids"}, "x"]},
        {"type": "annotation"},
    ]
    link = "https://neuroglancer-demo.appspot.com/#!"
    view = link + quote(json.dumps({"layers": layers}))
    assert key_value_store(view) == {"driver": "gcs", "bucket": "bucket", "path": "em/"}
    view = link + json.dumps({"layers": layers[1:]})
    assert key_value_store(view) == {"driver": "gcs", "bucket": "bucket", "path": "ids/"}
    both = link + json.dumps({"layers": layers[:1] * 2})
    assert "which volume of this view is meant?" in refusal(open_precomputed, both)
    assert "there are: none" in refusal(open_precomputed, link + '{"layers": []}')
    assert "a view that cannot be read" in refusal(open_precomputed, link + "{")


class Server(SimpleHTTPRequestHandler):
    """Serves a folder; ``trouble`` says which answers fail and how often."""

    trouble: dict[str, int]
    released: threading.Event
    asked: list[str]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.trouble.get("hang"):
            self.released.wait(20)
            self.close_connection = True
        elif self.trouble.get("left", 0) > 0:
            self.trouble["left"] -= 1
            self.send_error(self.trouble["code"])
        else:
            super().do_GET()


@pytest.fixture
def served(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, dict[str, int], list[str]]]:
    """Address of the volume, what goes wrong, and what was asked for."""
    retries = {"max_retries": 3, "initial_delay": "1ms", "max_delay": "10ms"}
    monkeypatch.setattr(tensorstores, "RETRIES", retries)
    monkeypatch.setattr(tensorstores, "ANSWER_SECONDS", 5.0)
    trouble: dict[str, int] = {}
    asked: list[str] = []
    released = threading.Event()
    state = {"trouble": trouble, "asked": asked, "released": released}
    handler = type("Handler", (Server,), state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(volume)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"precomputed://http://127.0.0.1:{server.server_port}", trouble, asked
    released.set()
    server.shutdown()
    server.server_close()
    thread.join()


Served = tuple[str, dict[str, int], list[str]]


def test_a_volume_on_a_server_is_the_one_on_disk(served: Served) -> None:
    address, _, _ = served
    foreign, data = opened(open_precomputed, address)
    assert foreign.files == ()
    assert foreign.facts["missing chunks"] == "chunks that are not there are read as 0"
    assert np.array_equal(data, XYZC[..., 0].transpose())


@pytest.mark.parametrize("code", [429, 500, 503])
def test_answers_that_fail_now_and_then_are_asked_for_again(served: Served, code: int) -> None:
    address, trouble, _ = served
    with open_precomputed(address, Wanted()) as foreign:
        trouble.update(code=code, left=3)
        data = foreign.read(tuple(slice(0, n) for n in foreign.shape))
    assert trouble["left"] == 0
    assert np.array_equal(data, XYZC[..., 0].transpose())


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        (403, InputError, "the store does not let it be read"),
        (503, StoreError, "the store fails again and again"),
    ],
)
def test_a_server_that_keeps_failing_is_given_up_in_one_line(
    served: Served, code: int, kind: type[Exception], expected: str
) -> None:
    address, trouble, _ = served
    trouble.update(code=code, left=10**6)
    line = refusal(open_precomputed, address)
    assert f"{address}: {expected}" in line
    assert f"[HTTP code {code}]" in line
    trouble["left"] = 0
    with open_precomputed(address, Wanted()) as foreign:
        trouble["left"] = 10**6
        with pytest.raises(kind, match=expected) as told:
            foreign.read(tuple(slice(0, n) for n in foreign.shape))
    assert type(told.value) is kind
    assert f"[HTTP code {code}]" in str(told.value)


def test_a_server_without_the_volume_is_told(served: Served) -> None:
    address, _, _ = served
    assert "no Neuroglancer volume is there (no file 'info')" in refusal(
        open_precomputed, f"{address}/elsewhere"
    )


def test_a_server_that_hangs_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    address, trouble, _ = served
    monkeypatch.setattr(tensorstores, "ANSWER_SECONDS", 0.3)
    trouble["hang"] = 1
    assert "the store sent no answer within 0.3 seconds" in refusal(open_precomputed, address)


def test_nobody_at_the_address_is_told(served: Served) -> None:
    line = refusal(open_precomputed, "precomputed://http://127.0.0.1:9/volume")
    assert "the store fails again and again" in line


def test_large_reads_go_in_pieces(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    address, _, asked = served
    monkeypatch.setattr(tensorstores, "PIECE_BYTES", 600)
    _, data = opened(open_precomputed, address)
    assert np.array_equal(data, XYZC[..., 0].transpose())
    chunks = [name for name in asked if "-" in name]
    assert len(chunks) == len(set(chunks)) == 27


def test_a_bucket_of_a_local_s3_store_is_read(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as server:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        address = server.upload(volume, "bucket")
        assert np.array_equal(
            opened(open_precomputed, f"precomputed://{address}")[1], XYZC[..., 0].transpose()
        )
        assert "no file 'info'" in refusal(open_precomputed, f"{address}/elsewhere")


@given(data=st.data())
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_torn_description_gives_one_line_or_the_shape_it_says(
    volume: Path, data: st.DataObject
) -> None:
    saved = volume / "saved"
    if not saved.exists():
        saved.write_bytes((volume / "info").read_bytes())
    content = saved.read_bytes()
    flips = data.draw(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), max_size=3))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    (volume / "info").write_bytes(flipped(content, flips, 0, len(content))[:cut])
    survive(open_precomputed, volume)

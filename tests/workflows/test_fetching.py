"""Files from addresses, from a server that misbehaves; archives that do."""

from __future__ import annotations

import fcntl
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from remote_stores import Web, web_server

from pipeline.errors import InputError, OutputError, StoreError
from workflows import fetching
from workflows.fetching import Patience, fetch, size_of
from workflows.unpacking import unpack

DATA = np.random.default_rng(0).bytes(3_000_000)
CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
QUICKLY = Patience(attempts=3, timeout_seconds=0.5, pause_seconds=0.0)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(fetching, "SCHEMES", ("http",))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.bin").write_bytes(DATA)
    with web_server(folder) as server:
        yield server


class Told:
    """What ``advance`` was told; interrupts after so many calls."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.done: list[int] = []
        self._after = interrupt_after

    def __call__(self, done: int, total: int | None) -> None:
        assert total in (None, len(DATA))
        self.done.append(done)
        if len(self.done) == self._after:
            raise KeyboardInterrupt


def gets(web: Web) -> int:
    return sum(method == "GET" for method, _ in web.asked)


def test_a_file_is_fetched_and_its_size_known_before(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "a.bin"
    assert size_of(f"{web.url}/a.bin") == len(DATA)
    assert fetch(f"{web.url}/a.bin", target, checksum=CHECKSUM) == target
    assert target.read_bytes() == DATA
    assert [p.name for p in target.parent.iterdir()] == ["a.bin"]


def test_what_is_there_is_not_asked_for_again(web: Web, tmp_path: Path) -> None:
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin")
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin")
    assert gets(web) == 1


def test_an_answer_that_ends_early_is_gone_on_with(web: Web, tmp_path: Path) -> None:
    web.trouble["a.bin"].extend(["cut", "cut", "drop", 503])
    told = Told()
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin", patience=QUICKLY, advance=told)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert told.done == sorted(told.done)  # never from the beginning
    assert gets(web) == 5


def test_an_interrupted_download_is_gone_on_with_by_the_next_call(web: Web, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{web.url}/a.bin", tmp_path / "a.bin", advance=Told(interrupt_after=4))
    assert not (tmp_path / "a.bin").exists()
    told = Told()
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin", advance=told)
    assert told.done[0] > 4 * fetching.BYTES
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_download_that_only_lacked_its_name_gets_it(web: Web, tmp_path: Path) -> None:
    calls = -(-len(DATA) // fetching.BYTES)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{web.url}/a.bin", tmp_path / "a.bin", advance=Told(interrupt_after=calls))
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_file_that_has_changed_since_is_fetched_anew(web: Web, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{web.url}/a.bin", tmp_path / "a.bin", advance=Told(interrupt_after=4))
    other = DATA[::-1]
    (web.folder / "a.bin").write_bytes(other)
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin", patience=QUICKLY)
    assert (tmp_path / "a.bin").read_bytes() == other


def test_a_server_without_ranges_sends_all_again(web: Web, tmp_path: Path) -> None:
    web.ranges = False
    web.trouble["a.bin"].append("cut")
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin", patience=QUICKLY)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_server_that_does_not_answer_is_given_up(web: Web, tmp_path: Path) -> None:
    web.trouble["a.bin"].extend(["cut", "slow", "drop", 500, 503])
    with pytest.raises(StoreError, match=r"gave up after 3 attempts.*kept: the same command"):
        fetch(f"{web.url}/a.bin", tmp_path / "a.bin", patience=QUICKLY)
    assert not (tmp_path / "a.bin").exists()
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin", patience=QUICKLY)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_missing_file_is_said_at_once(web: Web, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"404.*--data"):
        fetch(f"{web.url}/b.bin", tmp_path / "b.bin", patience=QUICKLY)
    assert gets(web) == 1


def test_another_file_than_expected_is_not_taken(web: Web, tmp_path: Path) -> None:
    (web.folder / "a.bin").write_bytes(DATA[:-1] + b"x")
    with pytest.raises(InputError, match="another file than expected"):
        fetch(f"{web.url}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    assert not (tmp_path / "a.bin").exists()
    (web.folder / "a.bin").write_bytes(DATA)
    fetch(f"{web.url}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_second_process_waits_for_the_first(web: Web, tmp_path: Path) -> None:
    with (tmp_path / ".a.bin.partial").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process"):
            fetch(f"{web.url}/a.bin", tmp_path / "a.bin")
    assert gets(web) == 0


@pytest.mark.parametrize("url", ["http://localhost/a", "file:///etc/passwd", "ftp://x/a", "a"])
def test_only_https_is_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only https"):
        fetch(url, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_address_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no address"):
        fetch("https://[x/a", tmp_path / "a")


def test_a_redirection_away_from_https_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "ftp://localhost/a")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.setattr(fetching, "SCHEMES", ("http",))
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with pytest.raises(InputError, match="ftp://localhost/a: only https"):
            fetch(f"http://127.0.0.1:{server.server_address[1]}/a", tmp_path / "a")
    finally:
        server.shutdown()
        server.server_close()


def packed(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_file_is_unpacked_from_whatever_folder(tmp_path: Path) -> None:
    archive = packed(
        tmp_path / "a.zip", **{"x/y/a.tif": b"voxels", "__MACOSX/x/y/a.tif": b"", "b.tif": b"b"}
    )
    target = tmp_path / "out" / "a.tif"
    assert unpack(archive, "a.tif", target).read_bytes() == b"voxels"
    written = target.stat().st_mtime_ns
    unpack(archive, "a.tif", target)
    assert target.stat().st_mtime_ns == written
    target.write_bytes(b"others")
    assert unpack(archive, "a.tif", target).read_bytes() == b"voxels"


@pytest.mark.parametrize("name", ["../../a.tif", "/a.tif", "x/../../../a.tif"])
def test_an_archive_never_decides_where_to_write(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    unpack(packed(folder / "a.zip", **{name: b"voxels"}), "a.tif", folder / "out" / "named.tif")
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["deep/down/a.zip", "deep/down/out/named.tif"]


def test_an_archive_without_the_file_or_with_two_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"x/a.tif": b"1", "y/a.tif": b"2"})
    with pytest.raises(InputError, match=r"holds 2 files a.tif; it has x/a.tif, y/a.tif"):
        unpack(archive, "a.tif", tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"holds 0 files b.tif"):
        unpack(archive, "b.tif", tmp_path / "b.tif")


def test_a_damaged_archive_leaves_no_file(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"a.tif": DATA[:100_000]})
    damaged = bytearray(archive.read_bytes())
    damaged[50_000] ^= 255
    archive.write_bytes(damaged)
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(archive, "a.tif", tmp_path / "a.tif")
    assert not (tmp_path / "a.tif").exists()
    archive.write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(archive, "a.tif", tmp_path / "a.tif")

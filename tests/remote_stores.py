"""Stores for tests: a local S3 server, and a web server that can be told to misbehave."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY, SECRET = "KEYTHATNOBODYSEES", "secret-that-nobody-sees"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@dataclass(frozen=True)
class S3:
    """A server of moto."""

    url: str
    client: Any

    def upload(self, folder: Path, bucket: str, **options: Any) -> str:
        """Everything below a folder; its address."""
        self.client.create_bucket(Bucket=bucket)
        for file in folder.rglob("*"):
            if file.is_file():
                name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=bucket, Key=name, Body=file.read_bytes(), **options)
        return f"s3://{bucket}/{folder.name}"


@contextmanager
def s3_server() -> Iterator[S3]:
    """On a free port of this machine."""
    from botocore.session import get_session
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        client = get_session().create_client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        yield S3(url, client)
    finally:
        server.stop()


@dataclass
class Web:
    """A web server over a folder, with byte ranges.

    ``trouble`` holds, by a path's end, what happens to its next requests: an HTTP status,
    ``slow`` (no answer for a second), ``cut`` (half of the data), ``drop`` (hangs up) or the path
    that it is sent to.
    """

    folder: Path
    url: str = ""
    ranges: bool = True
    heads: bool = True
    trouble: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    asked: list[tuple[str, str]] = field(default_factory=list)

    def next_trouble(self, path: str) -> Any:
        """What happens to this request; ``None``: nothing."""
        for end, waiting in self.trouble.items():
            if path.endswith(end) and waiting:
                return waiting.popleft()
        return None


@contextmanager
def web_server(folder: Path) -> Iterator[Web]:
    """On a free port of this machine."""
    web = Web(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if web.heads:
                self.answer(body=False)
            else:
                self.send_error(405)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            web.asked.append((self.command, self.path))
            kind = web.next_trouble(self.path)
            if kind == "slow":
                time.sleep(1.0)
            elif kind == "drop":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            elif isinstance(kind, int):
                self.send_error(kind)
                return
            elif isinstance(kind, str) and kind.startswith("/"):
                self.deliver(302, b"", {"Location": kind}, body=body)
                return
            elif isinstance(kind, bytes):
                self.deliver(200, kind, {}, body=body)
                return
            file = web.folder / unquote(self.path).lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            self.part_of(file, body=body, cut=kind == "cut")

        def part_of(self, file: Path, *, body: bool, cut: bool) -> None:
            data, status = file.read_bytes(), file.stat()
            headers = {
                "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
                "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            }
            wanted = self.headers.get("Range", "") if web.ranges else ""
            if wanted:
                first, last = wanted.removeprefix("bytes=").split("-")
                begin = int(first) if first else max(0, len(data) - int(last))
                end = min(int(last) + 1, len(data)) if first and last else len(data)
                headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
                data = data[begin:end]
            self.deliver(206 if wanted else 200, data, headers, body=body, cut=cut)

        def deliver(
            self,
            status: int,
            data: bytes,
            headers: dict[str, str],
            *,
            body: bool,
            cut: bool = False,
        ) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data[: len(data) // 2] if cut else data)

        def log_message(self, *args: Any) -> None:
            pass

    with _running(Handler) as web.url:
        yield web


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def gcs_server(folder: Path) -> Iterator[str]:
    """As much of Google's storage as reading needs: every folder in ``folder`` is a bucket."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            parts = [unquote(part) for part in address.path.split("/b/", 1)[1].split("/")]
            bucket, key = folder / parts[0], "/".join(parts[2:])
            if not key:
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                self.deliver(json.dumps(self.listing(bucket, **query)).encode())
            elif not (bucket / key).is_file():
                self.send_error(404)
            elif "/download/" in address.path:
                self.deliver(self.part_of((bucket / key).read_bytes()))
            else:
                self.deliver(json.dumps(self.described(bucket, bucket / key)).encode())

        def listing(
            self, bucket: Path, prefix: str = "", delimiter: str = "", **_: str
        ) -> dict[str, Any]:
            files = [file for file in sorted(bucket.rglob("*")) if file.is_file()]
            found = [file for file in files if str(file.relative_to(bucket)).startswith(prefix)]
            rests = [str(file.relative_to(bucket))[len(prefix) :] for file in found]
            below = {rest.split("/")[0] for rest in rests if delimiter and "/" in rest}
            items = [
                self.described(bucket, file)
                for file, rest in zip(found, rests, strict=True)
                if not (delimiter and "/" in rest)
            ]
            return {"items": items, "prefixes": [f"{prefix}{name}/" for name in sorted(below)]}

        def described(self, bucket: Path, file: Path) -> dict[str, Any]:
            status = file.stat()
            return {
                "name": str(file.relative_to(bucket)),
                "bucket": bucket.name,
                "size": str(status.st_size),
                "etag": f"{status.st_mtime_ns:x}",
                "generation": "1",
            }

        def part_of(self, data: bytes) -> bytes:
            first, _, last = (
                self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            )
            if not first:
                return data[-int(last) :]
            return data[int(first) : int(last) + 1 if last else None]

        def deliver(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    with _running(Handler) as url:
        yield url

"""A file from an address: only by https, checked, and gone on with after any kill.

1. What has come lies in ``.NAME.partial`` beside the target, what it is part of in
   ``.NAME.partial.json``.
2. Every further request asks for the bytes that are missing, if the server still has the same
   file (its ETag or date); else all is fetched anew.
3. The complete file is checked against its checksum and only then gets its name.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from pipeline.errors import InputError, OutputError, ResourceError, StoreError
from workflows.quantities import size

SCHEMES = ("https",)
"""Addresses that are fetched; tests add http for a server of their own."""
BYTES = 1 << 18
"""Read at once."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers of servers that may be others later."""
LONGEST_PAUSE = 30.0
AGENT = "neuron-pipeline"

Advance = Callable[[int, int | None], None]
"""Called with (bytes that are there, bytes in all if the server says)."""


@dataclass(frozen=True)
class Patience:
    """How long a server is asked.

    Parameters
    ----------
    attempts
        In a row that bring no byte that was not there before.
    timeout_seconds
        Without a byte, until an attempt has failed.
    pause_seconds
        Before the second attempt; doubled before each further one.
    """

    attempts: int = 6
    timeout_seconds: float = 30.0
    pause_seconds: float = 1.0


class _Passing(Exception):
    """An attempt failed; the next may not."""


def fetch(
    url: str,
    target: Path,
    *,
    checksum: str | None = None,
    patience: Patience | None = None,
    advance: Advance | None = None,
) -> Path:
    """Fetch a file; killed anywhere, the same call goes on.

    Parameters
    ----------
    url
        https, also after redirections.
    target
        The file; what is there already is taken as it is.
    checksum
        ``sha256:...`` or ``md5:...`` of the file, in hexadecimal digits; ``None``: not known.
    patience
        With a server that does not answer.
    advance
        Told how far it is.

    Returns
    -------
    target
        Complete.

    Raises
    ------
    InputError
        If the address is not https or holds nothing, or another file than the one expected.
    StoreError
        If the server does not answer, in spite of several attempts.
    OutputError
        If another process fetches the same file.
    ResourceError
        If the disk is too small.
    """
    _check_scheme(url)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _Part.held(target, url) as part:
        if target.exists():  # by another process, which has ended since
            return target
        _complete(part, url, checksum, patience or Patience(), advance or _silent)
        if checksum is not None:
            _check(part, url, checksum)
        part.finish(target)
    return target


def size_of(url: str, timeout_seconds: float = 10.0) -> int | None:
    """Bytes of the file at an address; ``None`` if the server does not say."""
    _check_scheme(url)
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": AGENT})
    try:
        with _opener().open(request, timeout=timeout_seconds) as answer:
            return _number(answer.headers.get("Content-Length"))
    except (OSError, http.client.HTTPException):
        return None


class _Part:
    """What has come of a file so far."""

    def __init__(self, path: Path, file: IO[bytes], url: str) -> None:
        self.path, self.file, self._url = path, file, url
        self._note = path.with_name(f"{path.name}.json")
        self.validator: str | None = None
        with suppress(OSError, ValueError):
            known = json.loads(self._note.read_text())
            if known["url"] == url:
                self.validator = known["validator"]

    @classmethod
    @contextmanager
    def held(cls, target: Path, url: str) -> Iterator[_Part]:
        """Open and locked; the system frees it if we are killed."""
        path = target.with_name(f".{target.name}.partial")
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"{target}: another process is fetching it; wait") from error
            yield cls(path, file, url)

    @property
    def bytes(self) -> int:
        """That are there."""
        return os.fstat(self.file.fileno()).st_size

    def restart(self) -> None:
        """Forget what has come."""
        self.validator = None
        self.file.truncate(0)

    def note(self, validator: str | None) -> None:
        """Remember what the bytes to come are part of."""
        self.validator = validator
        temporary = self._note.with_suffix(".new")
        temporary.write_text(json.dumps({"url": self._url, "validator": validator}))
        temporary.replace(self._note)

    def finish(self, target: Path) -> None:
        """Give the complete file its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.path.replace(target)
        self._note.unlink(missing_ok=True)


def _complete(
    part: _Part, url: str, checksum: str | None, patience: Patience, advance: Advance
) -> None:
    """Ask until all bytes are there, or too often in vain."""
    failed, pause, most = 0, patience.pause_seconds, part.bytes
    while True:
        if part.bytes and part.validator is None and checksum is None:
            part.restart()  # nothing would tell that the rest is of another file
        try:
            _ask(part, url, patience.timeout_seconds, advance)
            return
        except _Passing as error:
            failed += 1
            if part.bytes > most:
                failed, pause, most = 0, patience.pause_seconds, part.bytes
            if failed >= patience.attempts:
                raise StoreError(
                    f"{url}: gave up after {failed} attempts ({error}); what has come, "
                    f"{size(part.bytes)}, is kept: the same command goes on from there"
                ) from error
            time.sleep(min(pause, LONGEST_PAUSE))
            pause *= 2


def _ask(part: _Part, url: str, timeout_seconds: float, advance: Advance) -> None:
    """One request for what is missing."""
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    begin = part.bytes
    if begin:
        headers["Range"] = f"bytes={begin}-"
        if part.validator is not None:
            headers["If-Range"] = part.validator
    try:
        request = urllib.request.Request(url, headers=headers)
        with _opener().open(request, timeout=timeout_seconds) as answer:
            _receive(part, url, answer, advance)
    except urllib.error.HTTPError as error:
        _judge(part, url, error, begin)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise InputError(
                f"{url}: the server's certificate is not valid ({reason.verify_message})"
            ) from error
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of this machine's disk, not of the server
        raise _Passing(str(reason) or type(reason).__name__) from error


def _receive(part: _Part, url: str, answer: Any, advance: Advance) -> None:
    """Write what comes behind what is there, or in its place if the server begins anew."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise InputError(f"{url}: the server sends it as {encoding}, which was not asked for")
    begin, validator = _first_byte(answer), _validator(answer)
    if begin and (begin != part.bytes or part.validator not in (None, validator)):
        part.restart()
        raise _Passing("has become another file")
    if not begin:
        part.restart()
    length = _number(answer.headers.get("Content-Length"))
    total = None if length is None else begin + length
    _check_room(part.path, url, length)
    part.note(validator)
    while True:
        received = answer.read(BYTES)
        if not received:
            break
        _write(part, received)
        advance(part.bytes, total)
    if total is not None and part.bytes < total:
        raise _Passing(f"ended after {part.bytes} of {total} bytes")


def _write(part: _Part, received: bytes) -> None:
    try:
        part.file.write(received)
        part.file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(part.path)) from error


def _judge(part: _Part, url: str, error: urllib.error.HTTPError, begin: int) -> None:
    """What an answer other than "here it is" means; nothing if all bytes are there."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and begin:
        total = str(error.headers.get("Content-Range", "")).rpartition("/")[2]
        if _number(total) == begin:
            return
        part.restart()
        raise _Passing("has become another file") from error
    if error.code in PASSING:
        raise _Passing(f"answers {error.code} {error.reason}") from error
    raise InputError(
        f"{url}: the server answers {error.code} {error.reason}; fetch the file by hand and give "
        "its folder as --data"
    ) from error


def _first_byte(answer: Any) -> int:
    """Where the bytes of an answer begin in the file."""
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    found = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", answer.headers.get("Content-Range", ""))
    if found is None:
        raise _Passing("says not which part it sends")
    return int(found[1])


def _validator(answer: Any) -> str | None:
    """What tells that the file is the same: a strong ETag, else the date of its last change."""
    tag = answer.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return str(tag)
    date = answer.headers.get("Last-Modified")
    return str(date) if date else None


def _check(part: _Part, url: str, checksum: str) -> None:
    kind, _, expected = checksum.partition(":")
    with part.path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != expected.lower():
        part.restart()
        raise InputError(
            f"{url}: holds another file than expected ({kind} {found}, not {expected}), or it was "
            "damaged on the way; try once more, or fetch it by hand and give its folder as --data"
        )


def _check_room(path: Path, url: str, missing: int | None) -> None:
    free = shutil.disk_usage(path.parent).free
    if missing is not None and missing > free:
        raise ResourceError(
            f"{url}: {size(missing)} are missing, {size(free)} are free in {path.parent}"
        )


def _check_scheme(url: str) -> None:
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise InputError(f"{url}: is no address ({error})") from error
    if scheme not in SCHEMES:
        raise InputError(f"{url}: only https addresses are fetched")


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Followed, but never away from https."""

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any
    ) -> Any:
        """Check where it leads."""
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirections)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _silent(done: int, total: int | None) -> None:
    """Nobody is told."""

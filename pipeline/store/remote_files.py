"""One file system of fsspec, asked patiently: attempts, time-outs, plain errors."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)

from pipeline.errors import ConfigError, InputError
from pipeline.store.file_systems import open_file_system
from pipeline.store.place import RemotePlace, StorageOptions
from pipeline.store.remote_trouble import (
    TruncatedError,
    explain,
    is_missing_bucket,
    lacks_credentials,
)

LOG = logging.getLogger(__name__)

PAUSE_GROWS = 2.5
LONGEST_PAUSE = 30.0
LONGEST_REQUEST = 30
"""Times the time-out: a request that brings bytes, but takes longer in all, has failed too."""
BETWEEN_MESSAGES = 10.0
"""Seconds, so that many requests in trouble say it once."""

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectStamp:
    """What tells that an object has changed.

    Parameters
    ----------
    name
        Relative to the folder that was asked for.
    size
        Bytes; ``None`` if the store does not say.
    version
        Its ETag, or the time of its last change; empty if the store says neither.
    """

    name: str
    size: int | None
    version: str


class RemoteFiles:
    """One file system of fsspec, asked patiently; all coroutines run in one event loop.

    Parameters
    ----------
    protocol
        ``s3``, ``https``, ...
    options
        How it is reached.

    Raises
    ------
    ConfigError
        If a library is missing.
    """

    def __init__(self, protocol: str, options: StorageOptions) -> None:
        self._protocol, self._options = protocol, options
        self._said = 0.0
        self.anonymous = bool(options.anon)
        self.system = open_file_system(protocol, options, anonymous=self.anonymous)
        credentials = getattr(self.system, "credentials", None)  # gcsfs has looked for them by now
        if not self.anonymous and getattr(credentials, "method", None) == "anon":
            self.anonymous = True
            LOG.info("no credentials were found for %s://, so it is read as public", protocol)

    def path(self, place: RemotePlace) -> str:
        """As fsspec wants it."""
        return str(self.system._strip_protocol(place.url))

    async def fetch(self, place: RemotePlace, part: ByteRequest | None = None) -> bytes | None:
        """An object or part of it; ``None`` if it is missing."""
        begin, end = _limits(part)

        async def read() -> bytes | None:
            try:
                data = await self.system._cat_file(self.path(place), start=begin, end=end)
            except FileNotFoundError as error:
                if is_missing_bucket(error):
                    raise
                return None
            return self._cut(bytes(data), part, place)

        return await self._patiently(place, read)

    async def listing(self, place: RemotePlace) -> list[ObjectStamp]:
        """Every object below an address."""

        async def find() -> list[ObjectStamp]:
            root = self.path(place)
            found = await self.system._find(root, detail=True)
            return [
                _stamp(name.removeprefix(f"{root}/"), info)
                for name, info in found.items()
                if info.get("type") == "file" and not name.endswith("/")  # a mark for a folder
            ]

        return await self._patiently(place, find)

    async def names(self, place: RemotePlace) -> list[str]:
        """Names right below an address, sorted."""

        async def ask() -> list[str]:
            try:
                found = await self.system._ls(self.path(place), detail=False)
            except FileNotFoundError:
                return []
            return sorted({str(one).rstrip("/").rpartition("/")[2] for one in found} - {""})

        return await self._patiently(place, ask)

    async def stamp(self, place: RemotePlace, name: str) -> ObjectStamp | None:
        """What tells that an object below an address has changed; ``None`` if it is missing."""
        whole = place / name

        async def ask() -> ObjectStamp | None:
            try:
                if place.can_list:
                    return _stamp(name, await self.system._info(self.path(whole)))
                return await self._headers(whole.url, name)
            except FileNotFoundError as error:
                if is_missing_bucket(error):
                    raise
                return None

        return await self._patiently(whole, ask)

    async def close(self) -> None:
        """Hang up."""
        for name in ("_session", "_s3"):  # of http and gs, of s3
            session = getattr(self.system, name, None)
            if session is not None:
                await session.close()

    async def _headers(self, url: str, name: str) -> ObjectStamp | None:
        """Of a web server, which may know GET only."""
        session = await self.system.set_session()
        encoded = self.system.encode_url(url)
        plain = {"Accept-Encoding": "identity"}
        async with session.head(encoded, headers=plain, allow_redirects=True) as answer:
            if answer.status not in (403, 405, 501):
                self.system._raise_not_found_for_status(answer, url)
                return _stamp_of_headers(name, answer.headers)
        async with session.get(encoded, headers={**plain, "Range": "bytes=0-0"}) as answer:
            self.system._raise_not_found_for_status(answer, url)
            return _stamp_of_headers(name, answer.headers)

    async def _patiently(self, place: RemotePlace, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until an answer comes, waiting may not help, or the attempts are used up."""
        attempt = 0
        longest = LONGEST_REQUEST * self._options.timeout_seconds
        while True:
            attempt += 1
            asked = self.system
            try:
                return await asyncio.wait_for(ask(), longest)
            except (InputError, ConfigError):
                raise
            except Exception as error:
                if self._goes_on_without_credentials(error, asked, place):
                    attempt -= 1
                    continue
                trouble = explain(error, place, anonymous=self.anonymous)
                if not trouble.passing or attempt >= self._options.attempts:
                    raise trouble.error(place.url, attempt) from error
                pause = _pause(self._options, attempt)
                self._say(f"{place.url}: {trouble.what}", attempt + 1, pause)
            await asyncio.sleep(pause)

    def _goes_on_without_credentials(
        self, error: BaseException, asked: Any, place: RemotePlace
    ) -> bool:
        """A public bucket needs none, so where there are none it is asked without."""
        if self._options.anon is not None or not lacks_credentials(error):
            return False
        if asked is self.system:  # else another request has found out meanwhile
            if self.anonymous:
                return False
            self.anonymous = True
            self.system = open_file_system(self._protocol, self._options, anonymous=True)
            LOG.info("no credentials were found for %s, so it is read as public", place.url)
        return True

    def _say(self, what: str, attempt: int, pause: float) -> None:
        now = time.monotonic()
        if now - self._said >= BETWEEN_MESSAGES:
            self._said = now
            attempts = self._options.attempts
            LOG.info("%s; attempt %d of %d in %.0f s", what, attempt, attempts, pause)

    def _cut(self, data: bytes, part: ByteRequest | None, place: RemotePlace) -> bytes:
        """The part that was asked for, also of a server that sends the whole instead.

        Raises
        ------
        TruncatedError
            If there is less.
        """
        if isinstance(part, SuffixByteRequest):
            wanted, kept = part.suffix, data[-part.suffix :]
        elif isinstance(part, RangeByteRequest):
            wanted = part.end - part.start
            kept = data if len(data) <= wanted else data[part.start : part.end]
        else:
            return data
        if len(data) > wanted:
            _warn_of_ranges(place.url.partition("://")[2].partition("/")[0])
        if len(kept) < wanted:
            raise TruncatedError(f"{len(kept)} of {wanted} bytes")
        return kept


@lru_cache(maxsize=1024)
def _warn_of_ranges(server: str) -> None:
    LOG.warning(
        "%s sends whole files where a part is asked for: reading shards will be slow", server
    )


def _limits(part: ByteRequest | None) -> tuple[int | None, int | None]:
    if isinstance(part, RangeByteRequest):
        return part.start, part.end
    if isinstance(part, OffsetByteRequest):
        return part.offset, None
    if isinstance(part, SuffixByteRequest):
        return -part.suffix, None
    return None, None


def _pause(options: StorageOptions, attempt: int) -> float:
    """Seconds after a failed attempt; chance keeps many workers from returning together."""
    pause = min(options.pause_seconds * PAUSE_GROWS ** (attempt - 1), LONGEST_PAUSE)
    return pause * random.uniform(0.8, 1.2)


def _stamp(name: str, info: dict[str, Any]) -> ObjectStamp:
    """From what fsspec tells of an object."""
    keys = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime")
    version = next((str(info[key]) for key in keys if info.get(key)), "")
    return ObjectStamp(name, info.get("size"), version)


def _stamp_of_headers(name: str, headers: Any) -> ObjectStamp:
    version = headers.get("ETag", "").removeprefix("W/") or headers.get("Last-Modified", "")
    length = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length")
    return ObjectStamp(name, int(length) if str(length).isdecimal() else None, version)

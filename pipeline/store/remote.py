"""Reads objects of remote stores.

All requests of a process run in zarr's own event loop, through one ``RemoteFiles`` for every
protocol and set of options.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Iterable, Sequence
from contextlib import suppress

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from pipeline.errors import InputError, StoreError
from pipeline.store.place import RemotePlace, StorageOptions
from pipeline.store.remote_files import ObjectStamp, RemoteFiles

AT_ONCE = 16
"""Requests for stamps in flight."""
CLOSING_SECONDS = 2.0


def read_objects(place: RemotePlace, names: Sequence[str]) -> dict[str, bytes]:
    """Those of some small objects below an address that are there, asked for at once.

    Raises
    ------
    InputError
        If the store refuses all that it does not call missing: a bucket that may not be listed
        also refuses what is missing. A ``StoreError`` if it does not answer.
    """
    files = _files(place)

    async def all_of_them() -> list[bytes | BaseException | None]:
        asked = (files.fetch(place / name) for name in names)
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = dict(zip(names, sync(all_of_them()), strict=True))
    found = {name: one for name, one in answers.items() if isinstance(one, bytes)}
    for one in answers.values():
        if isinstance(one, BaseException) and (
            not found or isinstance(one, StoreError) or not isinstance(one, InputError)
        ):
            raise one
    return found


def list_objects(place: RemotePlace) -> list[ObjectStamp]:
    """Every object below an address, in no order; see ``RemotePlace.can_list``."""
    return sync(_files(place).listing(place))


def list_names(place: RemotePlace) -> list[str]:
    """Names right below an address, sorted; empty where the store cannot list."""
    if not place.can_list:
        return []
    return sync(_files(place).names(place))


def stamp_objects(place: RemotePlace, names: Iterable[str]) -> list[ObjectStamp | None]:
    """Stamps of single objects below an address, ``None`` for those that are missing."""
    files = _files(place)

    async def all_of_them() -> list[ObjectStamp | None]:
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> ObjectStamp | None:
            async with at_once:
                return await files.stamp(place, name)

        return list(await asyncio.gather(*(one(name) for name in names)))

    return sync(all_of_them())


def forget_connections() -> None:
    """Close all connections; the next ones use the credentials that are found then."""
    for files in _open.values():
        with suppress(Exception):
            sync(files.close(), timeout=CLOSING_SECONDS)
    _open.clear()


def zarr_store(place: RemotePlace) -> FsspecStore:
    """A zarr's root for reading: missing chunks are missing, all other trouble is raised.

    Raises
    ------
    ConfigError
        If a library is missing.
    """
    return PatientStore(_files(place), place)


class PatientStore(FsspecStore):
    """Zarr's own store, but what it reads goes through ``RemoteFiles``."""

    def __init__(self, files: RemoteFiles, place: RemotePlace) -> None:
        super().__init__(files.system, read_only=True, path=files.path(place))
        self._files, self._place = files, place

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """An object or part of it; ``None`` if it is missing."""
        place = self._place / key if key else self._place
        data = await self._files.fetch(place, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Parts of objects."""
        wanted = (self.get(key, prototype, part) for key, part in key_ranges)
        return list(await asyncio.gather(*wanted))


_open: dict[tuple[str, StorageOptions], RemoteFiles] = {}
atexit.register(forget_connections)


def _files(place: RemotePlace) -> RemoteFiles:
    key = place.protocol, place.options
    if key not in _open:
        _open[key] = RemoteFiles(*key)
    return _open[key]

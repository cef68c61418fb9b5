"""What tells that the chunks of somebody's array have changed, without reading them.

Files of this machine are all looked at. So are the objects of a store that lists them, while
the array has no more than ``LISTED`` chunks. Of larger arrays, in buckets that one may not list,
and on web servers, which cannot list, up to ``SAMPLED`` chunks are asked for one by one, spread
over the region that is read: all chunks of a small region. A volume that was written anew is
noticed then; a few changed chunks among many may not be.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import zarr

from pipeline.errors import InputError, StoreError
from pipeline.store.chunk_keys import ChunkKeys
from pipeline.store.nodes import METADATA_FILES, chunk_files
from pipeline.store.place import Place, RemotePlace
from pipeline.store.remote import list_objects, stamp_objects
from pipeline.store.remote_files import ObjectStamp

LOG = logging.getLogger(__name__)

LISTED = 100_000
"""Chunks of an array that is listed: 100 requests of 1,000 objects."""
SAMPLED = 256
"""Chunks asked for one by one. If 1 % of all were written anew, at random, one of these is among
them 92 times in 100."""
FRESH_SECONDS = 120.0
"""A command wants the same stamps several times; the store is asked once."""
SCATTER = 2_654_435_761
"""Knuth's multiplier: its multiples are spread evenly, and are the same every time."""

_known: dict[tuple[Any, ...], tuple[float, str]] = {}


def add_chunk_stamps(
    digest: Any, place: Place, array: zarr.Array[Any], part: Sequence[slice]
) -> None:
    """Add to a digest what tells that chunks have changed.

    Parameters
    ----------
    digest
        Of ``hashlib``.
    place
        Of the array.
    array
        Opened.
    part
        Of the array that is read, a slice an axis.

    Raises
    ------
    InputError
        If a chunk is empty, which is what an interrupted copy leaves; if a remote store has none.
    """
    if isinstance(place, RemotePlace):
        digest.update(_remote_stamps(place, array, part).encode())
        return
    for name, status in chunk_files(place):
        if status.st_size == 0:
            raise InputError(f"{place / name}: chunk is empty; copy it again")
        digest.update(f"\n{name} {status.st_size} {status.st_mtime_ns}".encode())


def forget_stamps() -> None:
    """Ask the stores again when stamps are wanted next."""
    _known.clear()


def _remote_stamps(place: RemotePlace, array: zarr.Array[Any], part: Sequence[slice]) -> str:
    key = (place, tuple((one.start, one.stop) for one in part))
    asked, known = _known.get(key, (-math.inf, ""))
    if time.monotonic() - asked < FRESH_SECONDS:
        return known
    chunks = len(ChunkKeys(array))
    found = _listed(place) if place.can_list and chunks <= LISTED else None
    complete = found is not None
    if found is None:
        found = _asked_for(place, ChunkKeys(array, part))
        complete = len(found) == chunks
    _check(place, found, complete)
    lines = "\n".join(f"{name} {_text(one)}" for name, one in sorted(found.items()))
    text = hashlib.sha256(lines.encode()).hexdigest()
    _known[key] = time.monotonic(), text
    return text


def _listed(place: RemotePlace) -> dict[str, ObjectStamp | None] | None:
    """Stamps of all chunks; ``None`` where they may be read but not listed."""
    try:
        objects = list_objects(place)
    except StoreError:
        raise
    except InputError:
        return None
    return {one.name: one for one in objects if one.name.rpartition("/")[2] not in METADATA_FILES}


def _asked_for(place: RemotePlace, keys: ChunkKeys) -> dict[str, ObjectStamp | None]:
    names = [keys[number] for number in sampled(len(keys))]
    return dict(zip(names, stamp_objects(place, names), strict=True))


def sampled(count: int) -> Iterator[int]:
    """Up to ``SAMPLED`` numbers below ``count``, spread evenly, the same ones every time.

    >>> list(sampled(3))
    [0, 1, 2]
    """
    if count <= SAMPLED:
        yield from range(count)
        return
    for stratum in range(SAMPLED):
        begin, end = (n * count // SAMPLED for n in (stratum, stratum + 1))
        yield begin + stratum * SCATTER % (end - begin)


def _check(place: RemotePlace, found: dict[str, ObjectStamp | None], complete: bool) -> None:
    empty = [name for name, one in found.items() if one is not None and one.size == 0]
    if empty:
        raise InputError(f"{place / min(empty)}: chunk is empty; copy it again")
    if any(one is not None for one in found.values()):
        return
    if complete:
        raise InputError(
            f"{place}: has metadata, but none of its chunks is there, so every voxel would be the "
            "fill value; check the address, or copy it again"
        )
    LOG.warning(
        "%s: none of %d chunks that were looked for is there; missing ones are read as the fill "
        "value",
        place,
        len(found),
    )


def _text(stamp: ObjectStamp | None) -> str:
    return "missing" if stamp is None else f"{stamp.size} {stamp.version}"

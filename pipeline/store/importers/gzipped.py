"""Voxels of a gzipped file, in any order, in bounded memory.

A gzip stream can only be decoded from its start. On the way through, copies of the decoder's
state are kept, evenly spaced and at most about ``STATES`` (50 KB each), and a later read starts
from the nearest one. So reading forward decodes once, and reading back decodes at most 1 part in
``STATES`` (or 4 MiB) more than is asked for.
"""

from __future__ import annotations

import bisect
import gzip
import math
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

if TYPE_CHECKING:
    from zlib import _Decompress

MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 31
STATES = 256
CLOSEST_STATES = 4 << 20
INPUT_BYTES = 1 << 16
OUTPUT_BYTES = 1 << 20
LARGEST_RATIO = 1032
"""Deflate packs no more bytes than this into one."""


@dataclass(frozen=True)
class _State:
    """Decoder before byte ``position`` of the decoded stream; ``pending`` is input not yet used.

    ``between`` says that no byte of the next member was seen.
    """

    position: int
    file_position: int
    pending: bytes
    decoder: _Decompress
    between: bool


class GzippedBytes:
    """Decoded bytes of a gzip file (also of several members), in any order; safe for threads.

    Parameters
    ----------
    file
        Open for reading; the caller closes it.
    decoded_bytes
        How many are expected, which spaces the kept states; after the last of them the stream
        must end well, for only then its checksum is known to be right.
    """

    def __init__(self, file: BinaryIO, decoded_bytes: int) -> None:
        self._file = file
        self._last = decoded_bytes
        self._end_checked = False
        self._spacing = max(CLOSEST_STATES, decoded_bytes // STATES)
        self._states = [_State(0, 0, b"", zlib.decompressobj(GZIP_WINDOW), True)]
        self._lock = threading.Lock()
        self._restore(self._states[0])

    def read(self, offset: int, count: int) -> bytes:
        """``count`` decoded bytes from ``offset``.

        Raises
        ------
        EOFError
            If the stream ends before.
        zlib.error
            If it is damaged.
        """
        with self._lock:
            nearest = self._states[bisect.bisect_right(self._states, offset, key=_position) - 1]
            if not self._begin <= offset or nearest.position > self._begin + len(self._buffer):
                self._restore(nearest)
            found = bytearray()
            while len(found) < count:
                at = offset + len(found) - self._begin
                if at < len(self._buffer):
                    found += self._buffer[at : at + count - len(found)]
                else:
                    self._decode_next()
            if offset + count >= self._last and not self._end_checked:
                self._check_end()
            return bytes(found)

    def _check_end(self) -> None:
        """Decode what follows the last voxels: at the best nothing but the checksum."""
        try:
            self._decode_next()
        except EOFError:
            if not self._between:
                raise
        self._end_checked = True

    def _restore(self, state: _State) -> None:
        self._file.seek(state.file_position)
        self._pending = state.pending
        self._decoder, self._between = state.decoder.copy(), state.between
        self._begin, self._buffer = state.position, b""

    def _decode_next(self) -> None:
        """Replace the buffer by what follows it."""
        self._begin += len(self._buffer)
        self._buffer = b""
        if self._begin >= self._states[-1].position + self._spacing:
            place, decoder = self._file.tell(), self._decoder.copy()
            self._states.append(_State(self._begin, place, self._pending, decoder, self._between))
        while not self._buffer:
            ended = False
            if not self._pending:
                self._pending = self._file.read(INPUT_BYTES)
                ended = not self._pending
            if self._between:
                self._pending = self._pending.lstrip(b"\0")  # tapes and some tools pad with 0
                self._between = not self._pending
            self._buffer = self._decoder.decompress(self._pending, OUTPUT_BYTES)
            self._pending = self._decoder.unconsumed_tail
            if self._decoder.eof:
                self._pending = self._decoder.unused_data
                self._decoder, self._between = zlib.decompressobj(GZIP_WINDOW), True
            elif ended and not self._buffer:
                raise EOFError(f"its gzip stream ends after {self._begin} decoded bytes")


def _position(state: _State) -> int:
    return state.position


@dataclass(frozen=True)
class GzippedArray:
    """Voxels one after another in a decoded gzip stream, the last axis fastest.

    Parameters
    ----------
    source
        The decoded bytes.
    offset
        Of the first voxel, in decoded bytes.
    shape
        Voxels along every axis, slowest first; 3 or more axes.
    dtype
        As stored, with its byte order.
    """

    source: GzippedBytes
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, part: tuple[slice, ...]) -> NDArray[Any]:
        """A part of the array; whole sections are decoded one at a time."""
        lengths = [axis.stop - axis.start for axis in part]
        data = np.empty(lengths, self.dtype.newbyteorder("="))
        section = self.shape[-2:]
        count = math.prod(section) * self.dtype.itemsize
        for index in np.ndindex(*lengths[:-2]):
            outer = tuple(i + axis.start for i, axis in zip(index, part, strict=False))
            number = int(np.ravel_multi_index(outer, self.shape[:-2]))
            decoded = self.source.read(self.offset + number * count, count)
            data[index] = np.frombuffer(decoded, self.dtype).reshape(section)[part[-2:]]
        return data


def is_gzipped(path: str | Path) -> bool:
    """Whether a file begins like a gzip file; ``False`` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, decoded if it is gzipped; fewer if it is shorter.

    Raises
    ------
    InputError
        If it cannot be read or decoded.
    """
    try:
        with gzip.open(path) if is_gzipped(path) else open(path, "rb") as file:
            return bytes(file.read(count))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: damaged or truncated ({error})") from error


@contextmanager
def gzipped_array(
    path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[GzippedArray]:
    """Open the voxels of a gzipped file.

    Raises
    ------
    InputError
        If the file is too short to hold them however well it is packed.
    """
    needed = offset + math.prod(shape) * dtype.itemsize
    size = os.path.getsize(path)
    if needed > size * LARGEST_RATIO:
        raise InputError(
            f"{path}: is truncated or damaged: {size} packed bytes cannot hold the {needed} that "
            f"its shape {shape} of {dtype.name} needs"
        )
    with open(path, "rb") as file:
        yield GzippedArray(GzippedBytes(file, needed), offset, shape, dtype)

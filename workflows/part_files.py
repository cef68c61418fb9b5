"""Files of kept tables: safetensors, read by ranges, every 16 KiB with a checksum.

A range is read with ``pread`` and not mapped into memory, so that it does not count as
memory of the worker once it is gone, and a file that is cut short while it is read is an
error and not a dead process. It is written here too, not by the safetensors library, whose
errors do not tell a full disk from others.
"""

from __future__ import annotations

import json
import os
import uuid
import weakref
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BlockError

STRETCH = 1 << 14
"""Bytes of a column that share a checksum: what is read at the least to look at one row."""
DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "U16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"),
    "I8": np.dtype(np.int8),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
"""Of safetensors, by the names that stand in its files."""
CHECKSUMS = "crc32"
CHECKSUM = np.dtype("<u4")
LENGTH_BYTES = 8
LARGEST_HEADER = 1 << 28


@dataclass(frozen=True, eq=False)
class StoredColumn:
    """Where a column lies in a file.

    Parameters
    ----------
    name
        ``table/column``.
    dtype
        Of its numbers.
    shape
        (rows, ...).
    begin
        Its first byte in the file.
    checksums
        (stretches,) uint32, one for every ``STRETCH`` bytes; name, dtype, shape and place of
        the stretch count in.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    checksums: NDArray[np.uint32]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        """Bytes of all rows."""
        return self.shape[0] * self.row_bytes


class PartFile:
    """An open file of kept tables.

    Parameters
    ----------
    path
        Written by ``write_part``.

    Raises
    ------
    BlockError
        If it is missing, cut short or damaged; names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._descriptor)
            self.columns = _columns(self._descriptor)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, str(error) or type(error).__name__) from error

    def read(self, name: str, begin: int, end: int) -> NDArray[Any]:
        """Rows ``begin .. end - 1`` of ``table/column``; there must be as many.

        Raises
        ------
        BlockError
            If what is read does not fit its checksums.
        """
        column = self.columns[name]
        first, last = begin * column.row_bytes, end * column.row_bytes
        if first >= last:
            return np.empty((max(end - begin, 0), *column.shape[1:]), column.dtype)
        start = first // STRETCH * STRETCH
        stop = min(-(-last // STRETCH) * STRETCH, column.bytes)
        content = np.empty(stop - start, np.uint8)
        self._fill(content, column.begin + start)
        if not np.array_equal(
            _checksums(content, _salt(name, column.dtype, column.shape), start // STRETCH),
            column.checksums[start // STRETCH : -(-stop // STRETCH)],
        ):
            raise _damaged(self.path, f"{name} does not fit its checksum")
        rows = content[first - start : last - start]
        return rows.view(column.dtype).reshape(end - begin, *column.shape[1:])

    def _fill(self, content: NDArray[np.uint8], offset: int) -> None:
        view, done = content.data, 0
        while done < len(view):
            try:
                read = os.preadv(self._descriptor, [view[done:]], offset + done)
            except OSError as error:
                raise _damaged(self.path, str(error)) from error
            if not read:
                raise _damaged(self.path, "cut short")
            done += read


def write_part(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns, ``table/column`` -> (rows, ...) array; the file is whole or not there."""
    unknown = {column.dtype for column in columns.values()} - set(DTYPES.values())
    if unknown:
        raise AssertionError(f"{path.name}: columns of {unknown} cannot be kept")
    path.parent.mkdir(parents=True, exist_ok=True)
    largest_first = sorted(columns, key=lambda name: (-columns[name].dtype.itemsize, name))
    stored = {name: np.ascontiguousarray(columns[name]) for name in largest_first}
    header = _header(stored)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(len(header).to_bytes(LENGTH_BYTES, "little"))
            file.write(header)
            for column in stored.values():
                file.write(_bytes_of(column).data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _header(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """What stands before the columns, which follow each other in this order."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    entries: dict[str, Any] = {}
    checksums = {}
    begin = 0
    for name, column in columns.items():
        offsets = [begin, begin + column.nbytes]
        entries[name] = {
            "dtype": names[column.dtype],
            "shape": list(column.shape),
            "data_offsets": offsets,
        }
        salt = _salt(name, column.dtype, column.shape)
        checksums[name] = _checksums(_bytes_of(column), salt).tobytes().hex()
        begin = offsets[1]
    text = json.dumps(
        {"__metadata__": {CHECKSUMS: json.dumps(checksums)}, **entries}, separators=(",", ":")
    ).encode()
    return text + b" " * (-len(text) % LENGTH_BYTES)


def _bytes_of(column: NDArray[Any]) -> NDArray[np.uint8]:
    return column.reshape(-1).view(np.uint8)


def _columns(descriptor: int) -> dict[str, StoredColumn]:
    """Columns of an open file; ``ValueError`` if its header is not what was written."""
    size = os.fstat(descriptor).st_size
    length = int.from_bytes(os.pread(descriptor, LENGTH_BYTES, 0), "little")
    base = LENGTH_BYTES + length
    if not LENGTH_BYTES < base <= min(size, LARGEST_HEADER):
        raise ValueError("cut short")
    header = json.loads(os.pread(descriptor, length, LENGTH_BYTES))
    checksums = json.loads(header.pop("__metadata__")[CHECKSUMS])
    found = {name: _column(name, entry, base, checksums[name]) for name, entry in header.items()}
    ends = [column.begin + column.bytes for column in found.values()]
    if set(found) != set(checksums) or max(ends, default=base) != size:
        raise ValueError("header and content do not fit")
    return found


def _column(name: str, entry: Any, base: int, checksums: str) -> StoredColumn:
    begin, end = entry["data_offsets"]
    if not all(isinstance(number, int) for number in (*entry["shape"], begin, end)):
        raise ValueError(f"header of {name} is damaged")
    column = StoredColumn(
        name,
        DTYPES[entry["dtype"]],
        tuple(entry["shape"]),
        base + begin,
        np.frombuffer(bytes.fromhex(checksums), CHECKSUM),
    )
    stretches = -(-column.bytes // STRETCH)
    if not column.shape or end - begin != column.bytes or len(column.checksums) != stretches:
        raise ValueError(f"header of {name} is damaged")
    return column


def _salt(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    return f"{name} {dtype.str} {shape}".encode()


def _checksums(content: NDArray[np.uint8], salt: bytes, first: int = 0) -> NDArray[np.uint32]:
    """CRC-32 of every stretch of bytes, with where it belongs."""
    return np.fromiter(_each_checksum(content.data, salt, first), CHECKSUM)


def _each_checksum(view: memoryview, salt: bytes, first: int) -> Iterator[int]:
    for number, begin in enumerate(range(0, len(view), STRETCH), first):
        yield zlib.crc32(view[begin : begin + STRETCH], zlib.crc32(salt + b" %d" % number))


def _damaged(path: Path, why: str) -> BlockError:
    return BlockError(f"{path}: damaged or missing ({why}); remove it and run again")

"""One file out of a zip archive, under a name that the archive has no say in."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pipeline.errors import InputError, ResourceError
from workflows.quantities import size

BYTES = 1 << 20
LARGEST = 16 << 30
"""Bytes of an unpacked file; more is no volume of a benchmark."""


def unpack(archive: Path, name: str, target: Path) -> Path:
    """Unpack the file of this name, in whatever folder of the archive it lies.

    Parameters
    ----------
    archive
        A zip.
    name
        Without folders; what macOS adds under ``__MACOSX`` does not count.
    target
        The file to write; what lies there stays if it is the same.

    Returns
    -------
    target
        Complete: it gets its name when its checksum is right.

    Raises
    ------
    InputError
        If the archive is damaged, or has no such file or several.
    ResourceError
        If the disk is too small.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            member = _member(opened, archive, name)
            if not _same(target, member):
                _write(opened, member, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{archive}: cannot be unpacked ({error}); remove it, and it is fetched again"
        ) from error
    return target


def _member(opened: zipfile.ZipFile, archive: Path, name: str) -> zipfile.ZipInfo:
    found = [
        member
        for member in opened.infolist()
        if PurePosixPath(member.filename).name == name
        and not member.is_dir()
        and "__MACOSX" not in PurePosixPath(member.filename).parts
    ]
    if len(found) != 1:
        held = ", ".join(m.filename for m in opened.infolist()[:8])
        raise InputError(f"{archive}: holds {len(found)} files {name}; it has {held}")
    if found[0].file_size > LARGEST:
        raise InputError(f"{archive}: {name} would be {size(found[0].file_size)}")
    return found[0]


def _same(target: Path, member: zipfile.ZipInfo) -> bool:
    if not target.is_file() or target.stat().st_size != member.file_size:
        return False
    total = 0
    with target.open("rb") as file:
        while read := file.read(BYTES):
            total = zlib.crc32(read, total)
    return total == member.CRC


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if member.file_size > free:
        raise ResourceError(f"{target}: needs {size(member.file_size)}, {size(free)} are free")
    partial = target.with_name(f".{target.name}.partial")
    with opened.open(member) as packed, partial.open("wb") as file:
        shutil.copyfileobj(packed, file, BYTES)
    partial.replace(target)

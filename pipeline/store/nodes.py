"""Zarr nodes: what lies at a place, its attributes; for directories atomic changes to them."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.store.place import Place, RemotePlace

METADATA_FILES = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})
MARK = "neuron_pipeline"
"""Key of this program's own attributes."""


@dataclass(frozen=True)
class Node:
    """A zarr array or group.

    Parameters
    ----------
    path
        Its directory or address.
    kind
        ``array`` or ``group``.
    zarr_format
        2 or 3.
    metadata
        Text of the metadata file, without the attributes file of format 2.
    attributes
        The node's attributes.
    """

    path: Place
    kind: Literal["array", "group"]
    zarr_format: Literal[2, 3]
    metadata: str
    attributes: Mapping[str, Any]


def read_node(place: Place) -> Node | None:
    """What lies at a place; ``None`` if it is not a zarr node.

    Raises
    ------
    ValueError
        If a metadata file is not what it should be; the message names the file.
    InputError
        If a remote store refuses, or does not answer.
    """
    read = _reader(place)
    content = read("zarr.json")
    if content is not None:
        kind = content.get("node_type")
        if kind not in ("array", "group"):
            raise ValueError(f"{place / 'zarr.json'}: node_type is {kind!r}, not array or group")
        attributes = content.get("attributes", {})
        if not isinstance(attributes, dict):
            raise ValueError(f"{place / 'zarr.json'}: attributes is not an object")
        return Node(place, kind, 3, json.dumps(content, sort_keys=True), attributes)
    files: tuple[tuple[str, Literal["array", "group"]], ...] = (
        (".zarray", "array"),
        (".zgroup", "group"),
    )
    for name, node_kind in files:
        content = read(name)
        if content is not None:
            text = json.dumps(content, sort_keys=True)
            return Node(place, node_kind, 2, text, read(".zattrs") or {})
    return None


def _reader(place: Place) -> Callable[[str], dict[str, Any] | None]:
    """Gives the object in a metadata file of a node, ``None`` if there is no such file."""
    if not isinstance(place, RemotePlace):
        return lambda name: read_json(place / name) if (place / name).is_file() else None
    from pipeline.store.remote import read_objects

    found = read_objects(place, ("zarr.json", ".zarray", ".zgroup", ".zattrs"))
    return lambda name: _parsed(found[name], place / name) if name in found else None


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; ``ValueError`` naming the file if it is damaged."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: damaged metadata ({error})") from error
    return _parsed(data, file)


def _parsed(data: bytes, file: Place) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: damaged metadata ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: damaged metadata (not a JSON object)")
    return content


def write_atomically(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that the file is never seen half-written, even after a power cut."""
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:  # on a full disk
        partial.unlink(missing_ok=True)


def write_group(path: Path, attributes: Mapping[str, Any]) -> None:
    """Make ``path`` a zarr v3 group with these attributes, keeping what it holds."""
    path.mkdir(parents=True, exist_ok=True)
    content = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    write_atomically(path / "zarr.json", content)


def remove_directory(path: Path) -> None:
    """Remove a directory so that a kill half-way leaves nothing under its name."""
    if not path.exists():
        return
    doomed = path.with_name(f".{path.name}.{uuid.uuid4().hex}.removed")
    path.rename(doomed)
    shutil.rmtree(doomed)


def remove_leftovers(path: Path) -> None:
    """Remove what kills in the middle of ``remove_directory`` left in a directory."""
    for doomed in path.glob(".*.removed"):
        shutil.rmtree(doomed, ignore_errors=True)


def chunk_files(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Relative name and status of every chunk file below an array's directory, sorted."""
    for folder, subfolders, files in os.walk(directory):
        subfolders.sort()
        for name in sorted(files):
            if name not in METADATA_FILES:
                file = Path(folder, name)
                yield file.relative_to(directory).as_posix(), file.stat()

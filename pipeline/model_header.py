"""The JSON header of a model file (safetensors), read and extended without touching weights.

A file is the length of its header (8 bytes, little endian), the header, and the weights, whose
places the header gives from its own end on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError

_LENGTH = 8
_LARGEST = 100_000_000
"""Bytes of a header, as safetensors limits them."""
_METADATA = "__metadata__"


def read_header(path: Path) -> dict[str, str]:
    """What the maker of a model file wrote into its header.

    Raises
    ------
    ModelError
        If the file is missing, cut short or no model file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            header = file.read(min(length, _LARGEST))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
    return _metadata(_parsed(header, length, path))


def with_header(content: bytes, more: Mapping[str, str], path: Path) -> bytes:
    """A model file with further keys in its header; the weights are the same bytes.

    Parameters
    ----------
    content
        Of the file.
    more
        Keys that are added or replaced; keys are sorted, so that the same content gives the same
        bytes.
    path
        For messages.

    Raises
    ------
    ModelError
        If it is no model file.
    """
    length = int.from_bytes(content[:_LENGTH], "little")
    end = _LENGTH + length
    header = _parsed(content[_LENGTH:end], length, path)
    header[_METADATA] = dict(sorted((_metadata(header) | dict(more)).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)  # the weights stay aligned
    return len(text).to_bytes(_LENGTH, "little") + text + content[end:]


def extend_header(path: Path, more: Mapping[str, str]) -> None:
    """Add or replace keys in the header of a model file, atomically.

    Raises
    ------
    ModelError
        If it is no model file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(with_header(content, more, path))
    os.replace(temporary, path)


def _parsed(header: bytes, length: int, path: Path) -> dict[str, Any]:
    try:
        if len(header) != length:
            raise ValueError(f"its header ends after {len(header)} of {length} bytes")
        found = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a model file, or damaged ({error})") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: not a model file, or damaged (its header is no mapping)")
    return found


def _metadata(header: Mapping[str, Any]) -> dict[str, str]:
    found = header.get(_METADATA, {})
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}

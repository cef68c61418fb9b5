"""Forests as safetensors files: arrays and JSON, nothing that can run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pipeline.errors import ModelError
from pipeline.forests.model import ARRAYS, KNOTS, Forest
from pipeline.model_header import with_header

MAX_BYTES = 4 * 1024 * 1024
_HEADER = "forest"


def save_forest(path: str | Path, forest: Forest, more: Mapping[str, str] | None = None) -> None:
    """Write a forest; the same forest always gives the same bytes.

    Parameters
    ----------
    path
        Ends in ``.safetensors``.
    forest
        What to write.
    more
        Further keys of the header, e.g. what the forest learned from.

    Raises
    ------
    ModelError
        If the file would be larger than ``MAX_BYTES`` (4 MiB).
    """
    header = {"feature_names": list(forest.feature_names), "metadata": forest.metadata}
    names = [*ARRAYS, *(KNOTS if len(forest.calibration_x) else ())]
    content = save(
        {name: getattr(forest, name) for name in names},
        metadata={_HEADER: json.dumps(header, sort_keys=True)},
    )
    if more:
        content = with_header(content, more, Path(path))  # safetensors has no order of keys
    if len(content) > MAX_BYTES:
        raise ModelError(
            f"{path}: the forest takes {len(content)} bytes, the limit is {MAX_BYTES}; "
            "use fewer trees, less depth or larger leaves"
        )
    Path(path).write_bytes(content)


def load_forest(path: str | Path) -> Forest:
    """Read and check a forest.

    Raises
    ------
    ModelError
        If the file is missing, too large, damaged or not a forest; names the path.
    """
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{size} bytes, the limit is {MAX_BYTES}")
        return _read(path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except SafetensorError as error:
        raise ModelError(f"{path}: not a readable safetensors file: {error}") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def _read(path: str | Path) -> Forest:
    with safe_open(str(path), framework="numpy") as file:
        names = set(file.keys())
        if names not in (set(ARRAYS), {*ARRAYS, *KNOTS}):
            raise ModelError(
                f"not a forest: it holds {sorted(names)}, not {sorted(ARRAYS)} with or without "
                f"{sorted(KNOTS)}"
            )
        known = {name: dtype for name, dtype in (ARRAYS | KNOTS).items() if name in names}
        for name, dtype in known.items():
            stored = file.get_slice(name).get_dtype()
            if stored != f"{dtype.kind.upper()}{8 * dtype.itemsize}":
                raise ModelError(f"{name} is stored as {stored}, not {dtype}")
        feature_names, metadata = _parsed((file.metadata() or {}).get(_HEADER))
        arrays = {name: file.get_tensor(name) for name in known}
    return Forest(**arrays, feature_names=feature_names, metadata=metadata)


def _parsed(header: str | None) -> tuple[tuple[str, ...], dict[str, Any]]:
    try:
        content = json.loads(header or "null")
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its header is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError("its header lacks the forest's description")
    names, metadata = content.get("feature_names"), content.get("metadata")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelError("feature_names must be a list of names")
    if not isinstance(metadata, dict):
        raise ModelError("metadata must be a mapping")
    return tuple(names), metadata

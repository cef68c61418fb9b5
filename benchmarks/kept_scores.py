"""Scores that are computed once and kept: thinning a map at every threshold takes minutes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.reports import write_whole
from benchmarks.thresholded_maps import THRESHOLDS

VERSION = 1
"""Of how maps are scored; scores kept by another one are computed again."""


def kept_scores(
    folder: Path,
    what: str,
    arrays: Sequence[NDArray[Any]],
    compute: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """What an earlier call with the same arrays computed, or what is computed now.

    Parameters
    ----------
    folder
        Of the kept scores; made if need be.
    what
        Which scores: part of the file's name.
    arrays
        All that decides them: the map and its truth.
    compute
        Gives what JSON can hold.
    """
    digest = hashlib.sha256(f"{VERSION} {THRESHOLDS}".encode())
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    path = folder / f"{what}-{digest.hexdigest()[:16]}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(compute(), indent=1) + "\n")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found

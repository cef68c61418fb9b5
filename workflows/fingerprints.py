"""Fingerprints: hashes of everything that decides the result of a stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.contract import Stage, StageConfig


def fingerprint_content(
    stage: Stage,
    config: StageConfig,
    files: Sequence[str],
    inputs: Mapping[str, str],
    geometry: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that decides a stage's result, as JSON.

    Parameters
    ----------
    stage
        Its name and version count.
    config
        Its resolved parameters.
    files
        Model files; their content counts, not their place.
    inputs
        Fingerprint of the raw volume and of the stages that it reads.
    geometry
        Shape and voxel size of the volume.
    """
    paths = {Path(f) for f in files}
    values = config.model_dump(mode="json")
    return {
        "stage": stage.name,
        "version": stage.version,
        "config": {
            k: v for k, v in values.items() if not (isinstance(v, str) and Path(v) in paths)
        },
        "files": [file_hash(Path(f)) for f in files],
        "inputs": dict(sorted(inputs.items())),
        "geometry": dict(geometry),
    }


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """Hash of what ``fingerprint_content`` gives."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why a stage is stale, a phrase each.

    Parameters
    ----------
    old, new
        From ``fingerprint_content``; ``old`` as its record keeps it.

    >>> differences({"version": 1, "config": {"a": 1}}, {"version": 1, "config": {"a": 2}})
    ['a: 1 -> 2']
    """
    if not old:
        return ["its record does not say what it was computed from"]
    found = []
    if old.get("version") != new.get("version"):
        found.append(f"version of the stage: {old.get('version')} -> {new.get('version')}")
    before, now = old.get("config", {}), new.get("config", {})
    for key in [*now, *(set(before) - set(now))]:
        if before.get(key) != now.get(key):
            found.append(f"{key}: {before.get(key)} -> {now.get(key)}")
    if old.get("files") != new.get("files"):
        found.append("its model files changed")
    before, now = old.get("inputs", {}), new.get("inputs", {})
    found += [f"{name} changed" for name in now if before.get(name) != now[name]]
    found += [f"{name} is not given any more" for name in before if name not in now]
    if old.get("geometry") != new.get("geometry"):
        found.append("shape or voxel size of the volume changed")
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

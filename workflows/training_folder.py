"""A training's folder goes on only with what it began with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.training.volumes import TrainingVolume
from workflows.annotated_volume import AnnotatedVolume
from workflows.base_model import Base
from workflows.fingerprints import file_hash


def keep_to_its_data(
    output: Path,
    chosen: Sequence[AnnotatedVolume],
    volumes: Sequence[TrainingVolume],
    base: Base | None,
) -> None:
    """Note what a training begins with, or refuse another, so that data never mix.

    Parameters
    ----------
    output
        Its folder.
    chosen
        Described.
    volumes
        What is learned from, and after it what is validated on.
    base
        The model to start from.

    Raises
    ------
    ConfigError
        If the folder began with other data, another model or the other fold, or its note is
        damaged.
    """
    digest = hashlib.sha256()
    for volume in volumes:
        digest.update(volume.raw.tobytes())
        digest.update(volume.target.tobytes())
    now = {
        "volumes": [v.model_dump(mode="json") for v in chosen],
        "voxels": digest.hexdigest(),
        "base": None if base is None else file_hash(base.path),
    }
    note = output / "data.json"
    if note.exists() and _began(note) != now:
        raise ConfigError(
            f"{output} holds a training on other data, from another model or of the other fold; "
            "give another output folder or remove it"
        )
    temporary = note.with_suffix(".partial")
    temporary.write_text(json.dumps(now, indent=1) + "\n")
    temporary.replace(note)


def _began(note: Path) -> dict[str, Any]:
    """What was noted; keys of volumes that have come since have their defaults."""
    try:
        began: dict[str, Any] = json.loads(note.read_text())
        volumes = [AnnotatedVolume.model_validate(v) for v in began["volumes"]]
    except ValidationError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{note} is damaged; give another output folder") from error
    return {**began, "volumes": [v.model_dump(mode="json") for v in volumes]}

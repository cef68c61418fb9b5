"""Finished slabs of a long evaluation in a folder, so that it goes on where it was killed."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, OutputError
from pipeline.evaluation.blockwise import Measures
from workflows.scored_sections import StoredSections

VERSION = 1
"""Raised whenever a score changes, so that slabs kept before are not used."""
IDENTITY = "evaluation.json"

Part = TypeVar("Part")


@dataclass(frozen=True)
class KeptSlabs(Generic[Part]):
    """Parts of slabs, a file each.

    Parameters
    ----------
    folder
        That ``open_folder`` gave.
    to_columns, of_columns
        From a part to columns, and back.
    """

    folder: Path
    to_columns: Callable[[Part], Mapping[str, NDArray[Any]]]
    of_columns: Callable[[Mapping[str, NDArray[Any]]], Part]

    def read(self, begin: int, end: int) -> Part | None:
        """The part of a slab; ``None`` if it is not kept, or damaged."""
        try:
            with np.load(self._file(begin, end)) as columns:
                return self.of_columns(dict(columns))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, begin: int, end: int, part: Part) -> None:
        """Keep the part of a slab; its file is whole, or not there.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        file = self._file(begin, end)
        partial = file.with_name(f".{file.name}.{os.getpid()}.npz")
        try:
            np.savez(partial, **self.to_columns(part))  # type: ignore[arg-type]
            partial.replace(file)
        except OSError as error:
            raise OutputError(f"{file}: cannot be written ({error.strerror or error})") from error

    def _file(self, begin: int, end: int) -> Path:
        return self.folder / f"{begin}-{end}.npz"


def open_folder(folder: Path, sections: StoredSections, measures: Measures) -> Path:
    """A folder for the slabs of one evaluation, made if need be.

    Raises
    ------
    ConfigError
        If it holds slabs of other volumes, sections or options, or anything else.
    OutputError
        If it cannot be made.
    """
    identity = _identity(sections, measures)
    file = folder / IDENTITY
    if file.is_file():
        if file.read_text() != identity:
            raise ConfigError(
                f"--keep {folder}: holds slabs of another evaluation (volumes, sections or options "
                "differ, or a volume has changed); give another folder, or remove it"
            )
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--keep {folder}: is no folder of kept slabs; give a new one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(identity)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder


def _identity(sections: StoredSections, measures: Measures) -> str:
    """JSON of all that decides what the parts of slabs hold."""
    volumes = [sections.truth, *([] if sections.mask is None else [sections.mask])]
    facts = {
        "version": VERSION,
        "prediction": sections.prediction.fingerprint(),
        "truth_and_mask": [
            (one.stored.fingerprint(), one.begin, one.finest and one.finest.as_json())
            for one in volumes
        ],
        "sections": (sections.begin, sections.end),
        "slabs": hashlib.sha256(json.dumps(sections.slabs()).encode()).hexdigest(),
        "region": asdict(sections.region),
        "measures": asdict(measures),
    }
    return json.dumps(facts, indent=1)

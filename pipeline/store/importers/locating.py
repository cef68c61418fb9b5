"""What a path means: which file or folder, which format, which dataset in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, InputError, PipelineError
from pipeline.store.arrays import reason
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.formats import FORMATS

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class Location:
    """A file, folder or URL, and what in it is meant.

    Parameters
    ----------
    path
        Without the dataset.
    dataset
        Its name, if one was given.
    format
        What it is.
    """

    path: str
    dataset: str | None
    format: Format


def locate(text: str, dataset: str | None = None) -> Location:
    """Find the format of ``path`` or ``path:dataset``.

    Parameters
    ----------
    text
        As the user gave it; colons in the path itself, as of Windows, do no harm.
    dataset
        Given apart.

    Raises
    ------
    ConfigError
        If two datasets are given.
    InputError
        If nothing is there, or no format knows it.
    """
    path, named = split_dataset(text)
    if named is not None and dataset is not None and named != dataset:
        raise ConfigError(f"{text}: names dataset {named}, --dataset {dataset}; give one of them")
    if not URL.match(path):
        if not os.path.exists(path):
            raise InputError(f"{path}: does not exist")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path}: may not be read (no permission)")
    for one in FORMATS:
        if one.recognises(path):
            return Location(path, dataset if named is None else named, one)
    if ".zarr" in path or any(Path(path, name).is_file() for name in ZARR_FILES):
        raise InputError(f"{path}: is a zarr already; other commands read it as it is")
    known = ", ".join(one.name for one in FORMATS)
    raise InputError(f"{path}: is of no format that can be imported; known: {known}")


def split_dataset(text: str) -> tuple[str, str | None]:
    """Path and dataset of ``path:dataset``; what exists as it is, and a URL, has no dataset.

    >>> split_dataset("https://host:8080/a.n5")
    ('https://host:8080/a.n5', None)
    """
    if not URL.match(text) and not os.path.lexists(text):
        for colon in reversed([match.start() for match in re.finditer(":", text)]):
            path, dataset = text[:colon], text[colon + 1 :]
            if path and dataset and os.path.lexists(path):
                return path, dataset
    return text, None


@contextmanager
def open_foreign(text: str, dataset: str | None = None, level: int = 0) -> Iterator[Foreign]:
    """Open a volume in another format.

    Parameters
    ----------
    text, dataset
        See ``locate``.
    level
        Resolution, 0 = finest.

    Raises
    ------
    InputError
        If it cannot be used; one line.
    """
    with opened(locate(text, dataset), level) as foreign:
        yield foreign


@contextmanager
def opened(location: Location, level: int) -> Iterator[Foreign]:
    """Open what was found; see ``open_foreign``."""
    with ExitStack() as stack:
        try:
            wanted = Wanted(location.dataset, level)
            foreign = stack.enter_context(location.format.open(location.path, wanted))
        except PipelineError:
            raise
        except Exception as error:  # damaged files make other libraries raise anything
            raise InputError(
                f"{location.path}: cannot be opened as {location.format.name} ({reason(error)})"
            ) from error
        yield foreign

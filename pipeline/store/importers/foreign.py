"""What an importer makes of a file or folder in another format: a description, and a way to read.

An opener judges a path by its metadata alone, without reading voxels, and says what is wrong
in one line. Whatever the format, ``importing`` turns the axes, converts the dtype and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.store.layout import Nanometres


@dataclass(frozen=True)
class Wanted:
    """Which of several arrays in a file is meant.

    Parameters
    ----------
    dataset
        Name of the array inside an HDF5 file, of an N5 container or of the like; ``None``: the
        only one.
    level
        Resolution of a format with several, 0 = finest.
    """

    dataset: str | None = None
    level: int = 0


@dataclass(frozen=True)
class Foreign:
    """A volume in another format, opened.

    Parameters
    ----------
    path
        As the user gave it, with the dataset: for messages.
    format
        What it is, for people: ``TIFF stack``, ``HDF5 dataset``.
    shape
        Voxels along every axis, in the order of ``axes``.
    axes
        One letter an axis, slowest first: of ``z y x``, ``c`` (channel) and ``t`` (time). Empty:
        the format does not say, and three axes are taken for z, y, x.
    dtype
        As stored, in the machine's byte order.
    voxel_size_nm
        zyx, in nanometres, or one sentence that says why it is unknown.
    chunk
        Voxels along every axis that are cheapest read together.
    read
        Called with a slice for every axis; gives that part in ``dtype``. Raises ``InputError``
        that names the file and what of it is damaged.
    translation_nm
        zyx, centre of the first voxel, in nanometres.
    files
        Local files that make it up: their sizes and times tell whether it has changed. Empty
        for remote ones.
    facts
        Further lines for ``inspect``: name -> value, e.g. ``compression``.
    warnings
        Sentences that a person should read before the import, e.g. missing section numbers.
    """

    path: str
    format: str
    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    voxel_size_nm: Nanometres | str
    chunk: tuple[int, ...]
    read: Callable[[tuple[slice, ...]], NDArray[Any]]
    translation_nm: Nanometres = (0.0, 0.0, 0.0)
    files: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


Opener = Callable[[str, Wanted], AbstractContextManager[Foreign]]
"""Opens a path (a URL where the format can be read from one); closes its files at the end.
Raises ``InputError``."""


@dataclass(frozen=True)
class Format:
    """One line of the registry ``FORMATS``.

    Parameters
    ----------
    name
        For people: ``HDF5``.
    recognises
        Whether a path (without ``:dataset``) is of this format, told by its name or its first
        bytes; never raises.
    open
        See ``Opener``.
    """

    name: str
    recognises: Callable[[str], bool]
    open: Opener

"""A volume that is looked at, in whatever format: what its metadata say, and a way to read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.store.array_facts import ArrayFacts
from pipeline.store.layout import Nanometres
from pipeline.store.place import StorageOptions

Opened = TypeVar("Opened")


@dataclass(frozen=True)
class Question:
    """What the user wants looked at.

    Parameters
    ----------
    path
        As given, with or without ``:dataset``.
    dataset
        Given apart.
    level
        Of a pyramid; ``None``: the finest.
    axes
        Of formats that do not name them.
    channel, time
        Where there are several.
    voxel_size_nm
        zyx; goes before the metadata.
    options
        How an address is reached.
    """

    path: str
    dataset: str | None = None
    level: int | None = None
    axes: str | None = None
    channel: int | None = None
    time: int | None = None
    voxel_size_nm: Nanometres | None = None
    options: StorageOptions = field(default_factory=StorageOptions)


@dataclass(frozen=True)
class LevelFacts:
    """One level of a pyramid.

    Parameters
    ----------
    name
        Of its array.
    shape
        zyx, in voxels; ``None`` if it cannot be opened.
    voxel_size_nm
        zyx, or why it is unknown.
    array
        How it is stored; ``None`` if it cannot be opened.
    problem
        Why it cannot be opened.
    """

    name: str
    shape: Triple | None
    voxel_size_nm: Nanometres | str
    array: ArrayFacts | None
    problem: str = ""


@dataclass(frozen=True)
class Subject:
    """A volume, opened.

    Parameters
    ----------
    path
        As given, with the dataset.
    is_zarr
        Whether ``run`` reads it as it is; other formats are imported first.
    format
        For people: ``OME-Zarr 0.5 image``, ``TIFF stack``.
    axes
        Of the stored array, a letter each; empty where nothing names them.
    stored_shape
        Along all axes.
    shape
        zyx, in voxels.
    dtype
        As stored.
    byte_order
        ``little``, ``big``, ``none`` (one byte a voxel) or empty: not known.
    voxel_size_nm
        zyx, or why it is unknown.
    voxel_size_from
        Where from: ``its metadata`` or ``--voxel-size``.
    translation_nm
        zyx, centre of the first voxel.
    chunk
        Voxels that are decoded at once, zyx.
    level
        Of a pyramid.
    levels
        All of them; none but of OME-Zarr images.
    codecs
        Compression and checksums.
    disk_bytes
        Of all levels and files; ``None``: not known.
    facts
        What else the format says: name -> value.
    warnings
        Sentences.
    choice
        The question that is still open, if there are several channels or time points; the first
        is looked at.
    read
        Voxels of a box, (Z, Y, X). Raises ``InputError`` that names what is damaged.
    """

    path: str
    is_zarr: bool
    format: str
    axes: str
    stored_shape: tuple[int, ...]
    shape: Triple
    dtype: np.dtype[Any]
    byte_order: str
    voxel_size_nm: Nanometres | str
    voxel_size_from: str
    translation_nm: Nanometres
    chunk: Triple
    read: Callable[[Box], NDArray[Any]]
    level: int = 0
    levels: tuple[LevelFacts, ...] = ()
    codecs: tuple[str, ...] = ()
    disk_bytes: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    choice: str = ""


def first_of_several(
    question: Question, open_: Callable[[int | None, int | None], Opened]
) -> tuple[Opened, str]:
    """As asked, or the first channel or time point, and what would have to be said."""
    channel, time = question.channel, question.time
    try:
        return open_(channel, time), ""
    except InputError as error:
        first = str(error)
        for option, c, t in (
            ("--channel", 0, time),
            ("--time", channel, 0),
            ("--channel", 0, 0),
        ):
            if option not in first or (c, t) != (channel or c, time or t):
                continue
            try:
                return open_(c, t), without_path(first, question.path)
            except InputError:
                continue
        raise


def without_path(message: str, path: str) -> str:
    """A message without the path, or one below it, that it begins with and everybody sees."""
    start = os.path.abspath(path) if message.startswith(os.path.abspath(path)) else path
    if not message.startswith(start.rstrip("/")):
        return message
    return message[len(start.rstrip("/")) :].partition(": ")[2]


def chosen_voxel_size(question: Question, found: Nanometres | str) -> tuple[Nanometres | str, str]:
    """Voxel size, or why it is unknown, and where it is from."""
    if question.voxel_size_nm is not None:
        return question.voxel_size_nm, "--voxel-size"
    return found, "" if isinstance(found, str) else "its metadata"

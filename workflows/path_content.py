"""What lies at a path: a zarr, an output of this program, another format, or several volumes."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import InputError, StoreError
from pipeline.store.importers.destination import partial_folder
from pipeline.store.importers.formats import FORMATS
from pipeline.store.importers.listing import Dataset, datasets_in
from pipeline.store.importers.locating import Location, opened, split_dataset
from pipeline.store.ngff import read_image_metadata
from pipeline.store.nodes import Node, read_node
from pipeline.store.ownership import is_output
from pipeline.store.place import Place, RemotePlace, as_place
from pipeline.store.suggestions import usable_below
from workflows.subject import Question, without_path
from workflows.zarr_subject import open_source, zarr_format_of

LISTED = 40
"""Volumes that are listed."""
LOOKED_AT = 200
"""Files and folders of a folder that are looked at."""
FIRST_BYTES = 16
VIEW = re.compile(r"^precomputed://|#!|\|")
"""What only addresses of Neuroglancer hold."""


@dataclass(frozen=True)
class Inside:
    """One of several volumes.

    Parameters
    ----------
    path
        To be given in place of that of the folder or file.
    format
        For people; empty where it is that of the file.
    shape
        Of all axes; ``None`` if it cannot be opened.
    dtype
        As stored.
    problem
        Why it cannot be opened, or is no volume.
    """

    path: str
    format: str
    shape: tuple[int, ...] | None
    dtype: str
    problem: str = ""


@dataclass(frozen=True)
class Content:
    """One of these.

    Parameters
    ----------
    zarr
        An array or image.
    output
        Made by ``run``.
    location
        Of another format.
    inside
        Several volumes.
    """

    zarr: Place | None = None
    output: Path | None = None
    location: Location | None = None
    inside: tuple[Inside, ...] = ()


def content_of(question: Question) -> Content:
    """Recognise a path.

    Raises
    ------
    InputError
        If there is nothing, or nothing known; one line that says what was found.
    """
    path, named = split_dataset(question.path)
    dataset = named if question.dataset is None else question.dataset
    if VIEW.search(path):
        return Content(location=_foreign(path, dataset))
    place = as_place(path, question.options)
    if isinstance(place, Path):
        path = str(place)  # of file:// too
        _check_there(place)
    node = _zarr_node(place)
    if node is not None:
        return _of_zarr(question, place if dataset is None else place / dataset)
    location = _foreign(path, dataset)
    if location is not None:
        several = () if dataset is not None else _several(path, location)
        if several:
            return Content(inside=tuple(_inside(path, one, location) for one in several))
        return Content(location=location)
    if isinstance(place, RemotePlace):
        raise InputError(f"{path}: {_unknown('no zarr is there')}")
    inside = volumes_in(question) if place.is_dir() else ()
    if inside:
        return Content(inside=inside)
    raise InputError(f"{path}: {_unknown(_found(place))}")


def volumes_in(question: Question) -> tuple[Inside, ...]:
    """Volumes right in a folder: zarrs, and files and folders of other formats.

    Images of single sections are no volumes.
    """
    paths = (
        os.path.join(question.path, name)
        for name in sorted(os.listdir(question.path))[:LOOKED_AT]
        if not name.startswith(".")
    )
    found = (_child(question, path) for path in paths)
    return tuple(one for one in found if one is not None)[:LISTED]


def _child(question: Question, path: str) -> Inside | None:
    """What lies at one path of a folder, if it is a volume or holds some."""
    try:
        node = read_node(Path(path)) if os.path.isdir(path) else None
    except (InputError, ValueError) as error:
        return Inside(path, "zarr", None, "", without_path(str(error), path))
    if node is not None and is_output(path):
        return Inside(path, "output of run", None, "")
    if node is not None and node.kind == "group" and not read_image_metadata(node.attributes):
        return Inside(path, "zarr group", None, "")
    if node is None:
        location = _foreign(path, None)
        if location is None:
            return None
        several = _several(path, location)
        if several:
            return Inside(path, f"{location.format.name}, {len(several)} datasets", None, "")
    one = _glanced(replace(question, path=path, dataset=None))
    single = one.shape is not None and max(one.shape[:-2], default=1) == 1
    return None if single else one


def _check_there(path: Path) -> None:
    if not os.path.lexists(path):
        unfinished = partial_folder(path)
        if unfinished.exists():
            raise InputError(
                f"{path}: does not exist; an unfinished import of it does ({unfinished}): the same "
                "import command goes on"
            )
        raise InputError(f"{path}: does not exist")
    if not path.exists():
        raise InputError(f"{path}: is a link to nothing")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read (no permission)")


def _zarr_node(place: Place) -> Node | None:
    if isinstance(place, Path) and not place.is_dir():
        return None
    try:
        return read_node(place)
    except ValueError as error:
        raise InputError(str(error)) from error


def _of_zarr(question: Question, place: Place) -> Content:
    """An output, an array or image, or a group of several."""
    if isinstance(place, Path) and is_output(place):
        return Content(output=place)
    node = _zarr_node(place)
    if node is None or node.kind == "array" or read_image_metadata(node.attributes) is not None:
        return Content(zarr=place)
    inside = tuple(
        _glanced(replace(question, path=str(one), dataset=None))
        for one in usable_below(place, LISTED)
    )
    return Content(inside=inside) if inside else Content(zarr=place)


def _foreign(path: str, dataset: str | None) -> Location | None:
    """Where another format recognises a path."""
    for one in FORMATS:
        if one.recognises(path):
            return Location(path, dataset, one)
    return None


def _several(path: str, location: Location) -> tuple[Dataset, ...]:
    """Datasets of a file of which none is clearly meant; none if one is, or it is damaged."""
    try:
        found = datasets_in(path, location.format)
    except InputError:
        return ()
    return () if sum(one.is_volume for one in found) == 1 else found


def _inside(path: str, dataset: Dataset, location: Location) -> Inside:
    problem = "" if dataset.is_volume else "is no volume of numbers"
    form = location.format.name
    return Inside(f"{path}:{dataset.name}", form, dataset.shape, dataset.dtype, problem)


def _glanced(question: Question) -> Inside:
    try:
        form, shape, dtype = _glance(question, _foreign(question.path, None))
    except StoreError:
        raise
    except InputError as error:
        return Inside(question.path, "", None, "", without_path(str(error), question.path))
    return Inside(question.path, form, shape, dtype)


def _glance(question: Question, location: Location | None) -> tuple[str, tuple[int, ...], str]:
    """Format, shape of all axes and dtype of a volume; no chunk file is counted."""
    if location is not None:
        with opened(location, 0) as foreign:
            return foreign.format, foreign.shape, foreign.dtype.name
    place = as_place(question.path, question.options)
    source, _ = open_source(question, place)
    return zarr_format_of(place, source), source.array.shape, source.array.dtype.name


def _unknown(found: str) -> str:
    known = ", ".join(["zarr", "OME-Zarr", *(one.name for one in FORMATS)])
    return f"is nothing known: {found}; known are {known}"


def _found(path: Path) -> str:
    """What lies there, for people."""
    if path.is_dir():
        names = sorted(os.listdir(path))
        if not names:
            return "an empty folder"
        endings = Counter(os.path.splitext(name)[1] or "no ending" for name in names)
        shown = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(4))
        return f"a folder of {len(names)} files and folders ({shown})"
    if not path.is_file():
        return "neither a file nor a folder"
    with path.open("rb") as file:
        first = file.read(FIRST_BYTES)
    size = path.stat().st_size
    return f"a file of {size} bytes that begins with {first!r}" if size else "an empty file"

"""A zarr array, or an OME-Zarr image with its pyramid, as something to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pipeline.errors import InputError
from pipeline.store.array_facts import ArrayFacts, array_facts
from pipeline.store.axes import names_of_bare_array
from pipeline.store.ngff import read_image_metadata
from pipeline.store.nodes import MARK
from pipeline.store.place import Place
from pipeline.store.source import Source, existing_node, find_source
from workflows.subject import LevelFacts, Question, Subject, chosen_voxel_size, first_of_several


def zarr_subject(question: Question, place: Place) -> Subject:
    """A zarr array, or a level of an OME-Zarr image.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    source, choice = open_source(question, place)
    levels = tuple(_levels(question, place))
    own = array_facts(source)
    known = [one.array.disk_bytes for one in levels if one.array] or [own.disk_bytes]
    size, origin = chosen_voxel_size(question, source.place.voxel_size_nm)
    z, y, x = (own.chunks[axis] for axis in source.axes.zyx)
    return Subject(
        path=question.path,
        is_zarr=True,
        format=zarr_format_of(place, source),
        axes=_axes(place, source),
        stored_shape=own.shape,
        shape=source.shape,
        dtype=source.array.dtype.newbyteorder("="),
        byte_order=own.byte_order,
        voxel_size_nm=size,
        voxel_size_from=origin,
        translation_nm=source.place.translation_nm,
        chunk=(z, y, x),
        read=source.read,
        level=source.level,
        levels=levels,
        codecs=own.codecs,
        disk_bytes=None if None in known else sum(one for one in known if one is not None),
        facts=_facts(place, own),
        warnings=tuple(_missing_files(own, levels)),
        choice=choice,
    )


def open_source(question: Question, place: Place) -> tuple[Source, str]:
    """A zarr array, and which choice is still open."""

    def source_of(channel: int | None, time: int | None) -> Source:
        return find_source(place, question.level, channel=channel, time=time)

    return first_of_several(question, source_of)


def _levels(question: Question, place: Place) -> Iterator[LevelFacts]:
    """All levels of an image, also those that cannot be opened."""
    image = read_image_metadata(existing_node(place).attributes)
    for number, level in enumerate(image.levels if image else ()):
        try:
            source = open_source(replace(question, level=number), place)[0]
        except InputError as error:
            yield LevelFacts(level.path, None, level.voxel_size_nm, None, str(error))
            continue
        yield LevelFacts(level.path, source.shape, level.voxel_size_nm, array_facts(source))


def zarr_format_of(place: Place, source: Source) -> str:
    """``OME-Zarr 0.5 image``, ``zarr 2 array``."""
    attributes = existing_node(place).attributes
    if read_image_metadata(attributes) is None:
        return f"zarr {source.node.zarr_format} array"
    ome: Any = attributes.get("ome")
    found: Any = attributes.get("multiscales", [{}])
    version = ome.get("version") if isinstance(ome, dict) else found[0].get("version")
    kind = "label image" if "image-label" in (ome if isinstance(ome, dict) else attributes) else ""
    return f"OME-Zarr {version or '(no version)'} {kind or 'image'}"


def _axes(place: Place, source: Source) -> str:
    """``czyx``; of axes that are not named a question mark."""
    image = read_image_metadata(existing_node(place).attributes)
    names = image.axes if image else names_of_bare_array(source.array)
    if len(names) == len(source.axes.fixed):
        return "".join(name[:1].lower() for name in names)
    letters = dict(zip(source.axes.zyx, "zyx", strict=True))
    return "".join(letters.get(axis, "?") for axis in range(len(source.axes.fixed)))


def _facts(place: Place, own: ArrayFacts) -> dict[str, str]:
    facts = {"zarr format": str(own.zarr_format)}
    ours = existing_node(place).attributes.get(MARK)
    if isinstance(ours, dict) and "imported_from" in ours:
        facts["imported from"] = str(ours["imported_from"])
    if own.shards:
        facts["files"] = f"shards of {' x '.join(map(str, own.shards))} voxels"
    return facts


def _missing_files(own: ArrayFacts, levels: tuple[LevelFacts, ...]) -> Iterator[str]:
    """What a copy that was cut off, or empty chunks that were left out, look like."""
    arrays = {one.name: one.array for one in levels if one.array} or {"": own}
    for name, one in arrays.items():
        if one.files_present is not None and one.files_present < one.files:
            where = f"level {name}: " if name else ""
            missing = one.files - one.files_present
            yield (
                f"{where}{missing} of {one.files} chunk files are not there and read as the fill "
                "value: left out because they are empty, or lost"
            )
    for level in levels:
        if level.problem:
            yield f"level {level.name}: {level.problem}"

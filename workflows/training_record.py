"""What a network or forest learned from, by content, in the header of its file.

Names prove nothing: files are renamed, cut and converted. So a model file keeps marks of the
grey values (``pipeline.marks``) beside the names and sections of its volumes; those of
the model that a training started from, and of the networks that made a forest's maps, too.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import ModelError
from pipeline.marks import (
    DENSEST,
    SPARSEST,
    MarkedVolume,
    Marks,
    gathered,
    section_marks,
    together,
)
from pipeline.model_header import read_header
from workflows.annotated_volume import AnnotatedVolume
from workflows.opened_volume import OpenedVolume, open_annotated

HEADER = "learned_from"
"""Key in the header of a model file."""
VERSION = 1
"""Of the record and of how marks are made."""
Range = tuple[int, int]
"""First section and one past the last."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A volume that a model learned from.

    Parameters
    ----------
    name
        As in the configuration of the training.
    sections
        Those with an annotated voxel that was learned from.
    content
        Their marks.
    through
        Files of the models through which it was learned from: that which the training started
        from, or the networks of a forest's maps; empty: by the training itself.
    """

    name: str
    sections: tuple[Range, ...]
    content: MarkedVolume
    through: str = ""

    @property
    def title(self) -> str:
        """Name and sections, for people."""
        return f"{self.name} {as_text(self.sections)}"


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """All that a model learned from.

    Parameters
    ----------
    learned
        The volumes.
    unknown
        Of which models among those that it is built on nothing is recorded, a phrase each.
    """

    learned: tuple[Learned, ...] = ()
    unknown: tuple[str, ...] = ()

    def as_text(self) -> str:
        """For the header of a file."""
        return json.dumps(
            {
                "version": VERSION,
                "learned": [
                    {
                        "name": one.name,
                        "sections": one.sections,
                        "through": one.through,
                        "one_in": one.content.one_in,
                        "marks": base64.b64encode(
                            one.content.marks.astype("<u4").tobytes()
                        ).decode(),
                    }
                    for one in self.learned
                ],
                "unknown": self.unknown,
            },
            separators=(",", ":"),
        )

    @classmethod
    def of_text(cls, text: str) -> TrainingRecord:
        """From ``as_text``.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        found = _Record.model_validate(json.loads(text))
        return cls(tuple(one.opened() for one in found.learned), found.unknown)

    @property
    def header(self) -> dict[str, str]:
        """For the writer of a model file."""
        return {HEADER: self.as_text()}


class _Learned(BaseModel):
    """``Learned`` in a file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    sections: tuple[tuple[Annotated[int, Field(ge=0)], int], ...]
    through: str
    one_in: int = Field(ge=DENSEST, le=SPARSEST)
    marks: str

    def opened(self) -> Learned:
        """With its marks as an array."""
        try:
            marks = np.frombuffer(base64.b64decode(self.marks, validate=True), "<u4")
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"marks of {self.name}: {error}") from error
        if self.one_in & (self.one_in - 1) or (np.diff(marks.astype(np.int64)) <= 0).any():
            raise ValueError(f"marks of {self.name} are out of order")
        return Learned(
            self.name,
            self.sections,
            MarkedVolume(marks.astype(np.uint32), self.one_in),
            self.through,
        )


class _Record(BaseModel):
    """``TrainingRecord`` in a file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    learned: tuple[_Learned, ...]
    unknown: tuple[str, ...]


def record_of(
    volumes: Sequence[AnnotatedVolume],
    data: Path,
    *,
    base: Path | None = None,
    networks: Sequence[Path] = (),
) -> TrainingRecord:
    """The record of a training, from the files that it reads.

    Parameters
    ----------
    volumes
        Described; of each what is annotated and not held back.
    data
        Folder that their paths are relative to.
    base
        File of the model that the training starts from.
    networks
        Files of the networks that make the maps of a forest.

    Raises
    ------
    InputError
        If a volume cannot be read.
    ModelError
        If a model file cannot be.
    """
    own = TrainingRecord(tuple(learned_of(volume, data) for volume in volumes))
    return inheriting(own, networks if base is None else [base])


def inheriting(own: TrainingRecord, models: Sequence[Path]) -> TrainingRecord:
    """A record with all that other models learned from, on which a model is built.

    Parameters
    ----------
    own
        Of its own training.
    models
        Files of the others.

    Raises
    ------
    ModelError
        If one of them is damaged.
    """
    others = [read_record(path) for path in models]
    through = ", ".join(path.name for path in models)
    learned = _by_name(one for record in others for one in record.learned)
    inherited = (replace(one, through=through) for one in learned)
    unknown = (phrase for record in (own, *others) for phrase in record.unknown)
    return TrainingRecord(
        (*own.learned, *(one for one in inherited if not _covered(one, own.learned))),
        tuple(dict.fromkeys(unknown)),
    )


def learned_of(volume: AnnotatedVolume, data: Path) -> Learned:
    """What a training learns from one described volume.

    Parameters
    ----------
    volume
        Described; only what is annotated and not held back counts, context does not.
    data
        Folder that its paths are relative to.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    opened = open_annotated(volume, data)
    chosen: list[int] = []

    def of_each() -> Iterator[Marks]:
        for z, section, known in _taught(opened):
            chosen.append(z)
            yield section_marks(section, None if known.all() else known)

    content = gathered(of_each())
    return Learned(volume.name, as_ranges(chosen), content)


def read_record(path: Path) -> TrainingRecord:
    """The record in a model file; of an older file without one, only that nothing is known.

    Raises
    ------
    ModelError
        If the file or its record is damaged.
    """
    return record_in(read_header(path), path)


def record_in(header: Mapping[str, str], path: Path) -> TrainingRecord:
    """The record in the header of a model file; ``path`` is for messages."""
    if HEADER not in header:
        names = ", ".join(_named(header))
        by_name = f" (it names {names})" if names else ""
        return TrainingRecord(unknown=(f"{path.name} does not record it{by_name}",))
    try:
        if json.loads(header[HEADER]).get("version") != VERSION:
            later = f"the record of {path.name} is of another version of this program"
            return TrainingRecord(unknown=(later,))
        return TrainingRecord.of_text(header[HEADER])
    except (ValueError, AttributeError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: damaged record of what it learned from ({why})") from error


def as_ranges(sections: Iterable[int]) -> tuple[Range, ...]:
    """Runs of ascending section numbers.

    >>> as_ranges([0, 1, 2, 7])
    ((0, 3), (7, 8))
    """
    found: list[Range] = []
    for z in sections:
        if found and found[-1][1] == z:
            found[-1] = (found[-1][0], z + 1)
        else:
            found.append((z, z + 1))
    return tuple(found)


def as_text(ranges: Iterable[Range]) -> str:
    """Sections for people, as ``--sections`` takes them.

    >>> as_text([(0, 3), (7, 8)])
    '0:3 7:8'
    """
    return " ".join(f"{begin}:{end}" for begin, end in ranges)


def _taught(opened: OpenedVolume) -> Iterator[tuple[int, NDArray[Any], NDArray[np.bool_]]]:
    """Sections with something to learn from: number, grey values, what of them."""
    for begin, end in opened.runs(opened.box.begin[0], opened.box.end[0]):
        known = _not_held_back(opened.annotation(begin, end)[1], opened, begin)
        taught = np.flatnonzero(known.any(axis=(1, 2)))
        if len(taught):
            raw = opened.read_sections(begin, taught)
            for section, z in zip(raw, taught, strict=True):
                yield begin + int(z), section, known[z]


def _not_held_back(known: NDArray[np.bool_], opened: OpenedVolume, first: int) -> NDArray[np.bool_]:
    """What is annotated of sections from ``first`` on, without the part that is held back."""
    if opened.volume.held_back is None:
        return known
    z, z_end, y, y_end, x, x_end = opened.volume.held_back
    _, top, left = opened.box.begin
    taught = known.copy()
    taught[
        max(z - first, 0) : max(z_end - first, 0), y - top : y_end - top, x - left : x_end - left
    ] = False
    return taught


def _by_name(learned: Iterable[Learned]) -> list[Learned]:
    """Entries of the same name as one: halves of a volume, or what several networks share."""
    grouped: dict[str, list[Learned]] = {}
    for one in learned:
        grouped.setdefault(one.name, []).append(one)
    return [
        same[0]
        if len(same) == 1
        else Learned(
            name,
            as_ranges(sorted({z for one in same for r in one.sections for z in range(*r)})),
            together(one.content for one in same),
        )
        for name, same in grouped.items()
    ]


def _covered(inherited: Learned, own: Sequence[Learned]) -> bool:
    """Whether nothing would be recognised by an inherited entry alone."""
    for one in own:
        possible, found = one.content.found(inherited.content.marks)
        if one.content.one_in <= inherited.content.one_in and possible == found:
            return True
    return False


def _named(header: Mapping[str, str]) -> list[str]:
    """Volumes that the card of a model names."""
    try:
        card = json.loads(header.get("card", "{}")) or json.loads(header["forest"])["metadata"]
        return [
            one["name"] + (f" {as_text([one['sections']])}" if one.get("sections") else "")
            for one in card["data"]
        ]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []

"""Annotated volumes as given on the command line: repeated options, brought together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import ConfigError
from workflows.training_data import AnnotatedVolume, described


@dataclass(frozen=True)
class Annotation:
    """One annotated volume, as given on the command line.

    Parameters
    ----------
    raw, truth
        Paths.
    truth_kind
        ``labels``, ``membranes`` or ``cells``.
    sections
        ``z0:z1``, or a list such as ``3,7,12``; ``None``: all that are annotated.
    known
        Path of a mask whose 0 means: not annotated.
    """

    raw: Path
    truth: Path
    truth_kind: str
    sections: str | None = None
    known: Path | None = None


def paired(
    raw: Sequence[Path],
    truth: Sequence[Path],
    truth_kind: Sequence[str],
    sections: Sequence[str],
    known: Sequence[Path],
) -> list[Annotation]:
    """Repeated options brought together, volume by volume.

    Parameters
    ----------
    raw, truth
        As many of each.
    truth_kind, sections, known
        As many, or one for all (``known``: or none).

    Raises
    ------
    ConfigError
        If their numbers do not fit.
    """
    count = len(raw)
    if count == 0 or len(truth) != count:
        raise ConfigError(
            f"give as many --truth as --raw, one of each a volume; there are {count} --raw and "
            f"{len(truth)} --truth"
        )
    if not truth_kind:
        raise ConfigError(
            "give --truth-kind: labels (of neurites), membranes (not 0 = membrane) or cells "
            "(0 = membrane)"
        )
    kinds = _for_each("--truth-kind", truth_kind, count)
    ranges = _for_each("--sections", sections, count)
    masks = _for_each("--known", known, count)
    columns = zip(raw, truth, kinds, ranges, masks, strict=True)
    return [Annotation(*row) for row in columns]


def _for_each(option: str, given: Sequence[Any], count: int) -> list[Any]:
    if len(given) not in (0, 1, count):
        raise ConfigError(f"{option}: give it once, or once for each of the {count} volumes")
    return list(given) if len(given) == count else [given[0] if given else None] * count


def parse_sections(text: str | None) -> dict[str, Any]:
    """Keys of ``AnnotatedVolume`` for ``0:3`` or ``3,7,12``.

    >>> parse_sections("0:3"), parse_sections("12,3")
    ({'sections': (0, 3)}, {'sections': (3, 13), 'annotated_sections': (3, 12)})

    Raises
    ------
    ConfigError
        If the text is neither.
    """
    if text is None:
        return {}
    if re.fullmatch(r"\d+:\d+", text):
        begin, end = (int(n) for n in text.split(":"))
        return {"sections": (begin, end)}
    if re.fullmatch(r"\d+(,\d+)*", text):
        listed = tuple(sorted({int(n) for n in text.split(",")}))
        return {"sections": (listed[0], listed[-1] + 1), "annotated_sections": listed}
    raise ConfigError(f"--sections {text!r}: give a range, 0:3, or a list, 3,7,12")


def volumes_of(
    given: Sequence[Annotation],
    *,
    unlabelled: int | None = None,
    voxel_size_nm: tuple[float, float, float] | None = None,
) -> tuple[AnnotatedVolume, ...]:
    """The volumes of a configuration, with absolute paths and what their files tell.

    Raises
    ------
    ConfigError
        If ``truth_kind`` is unknown.
    InputError
        If a volume cannot be used.
    """
    found = []
    for number, one in enumerate(given):
        values = {
            "name": one.raw.name.split(".")[0] + (f"-{number}" if len(given) > 1 else ""),
            "raw": str(one.raw.absolute()),
            "truth": str(one.truth.absolute()),
            "truth_kind": one.truth_kind,
            "known": None if one.known is None else str(one.known.absolute()),
            "unlabelled": unlabelled,
            "voxel_size_nm": voxel_size_nm,
            **parse_sections(one.sections),
        }
        try:
            volume = AnnotatedVolume.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"{first['loc'][0]} = {first['input']!r}: {first['msg']}") from error
        found.append(described(volume, Path()))
    return tuple(found)

"""Scores slab by slab: what a slab of sections adds, how slabs merge, and nothing twice.

1. Every section of a slab is scored in 2D, and gives a row; its pairs of ids are counted.
2. Rows, tables and spans of slabs merge, in any order, to those of the volume, bit for bit.
3. ``scores`` and ``families`` make means of the rows and 3D scores of the table.

Memory is that of one slab and of the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Contingency, contingency, require_labels
from pipeline.evaluation.foreground import SectionScore
from pipeline.evaluation.isbi import (
    CHALLENGE_THRESHOLDS,
    TruthKind,
    score_labels_section,
    score_map_section,
    truth_section,
)
from pipeline.evaluation.merging import Part, merge_all
from pipeline.evaluation.objects import ObjectScores, score_objects
from pipeline.evaluation.pixels import PixelErrors, pixel_errors_of_labels, pixel_errors_of_map
from pipeline.evaluation.slabs import SectionArrays, Sections, Slab
from pipeline.evaluation.spans import ObjectSpans, Spans

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function with every item, like ``map``."""


@dataclass(frozen=True)
class Measures:
    """What is measured.

    Parameters
    ----------
    truth_kind
        Of the ground truth.
    boundaries
        V_rand and V_info of every section; of labels with truth of kind ``labels`` also the
        scores of ids of every section.
    tables
        Pairs of ids of the volume.
    pixels
        Pixel error and warping error of every section.
    spans
        In which sections ids occur.
    thresholds
        Of a boundary map.
    """

    truth_kind: TruthKind
    boundaries: bool = False
    tables: bool = False
    pixels: bool = False
    spans: bool = False
    thresholds: tuple[float, ...] = CHALLENGE_THRESHOLDS


@dataclass(frozen=True)
class LabelRow:
    """Scores of a section of labels; ``None``: not measured, or nothing to score.

    ``scored`` is the number of voxels that the options left to score.
    """

    section: int
    scored: int | None
    boundary: SectionScore | None
    objects: ObjectScores | None
    pixels: PixelErrors | None


@dataclass(frozen=True)
class LabelPart:
    """What some sections of labels add to the scores of the volume.

    Parameters
    ----------
    rows
        One a section, ascending.
    table
        Pairs of ids, those of true id 0 too; ``None``: not measured.
    spans
        Of the ids of voxels whose true id is not 0; ``None``: not measured.
    """

    rows: tuple[LabelRow, ...]
    table: Contingency | None
    spans: ObjectSpans | None

    def merge(self, other: LabelPart) -> LabelPart:
        """What the sections of both add; associative and commutative."""
        return LabelPart(
            tuple(sorted((*self.rows, *other.rows), key=lambda row: row.section)),
            _merged(self.table, other.table),
            _merged(self.spans, other.spans),
        )


@dataclass(frozen=True)
class MapRow:
    """Scores of a section of a boundary map, one a threshold; none where nothing is to score."""

    section: int
    scored: int | None
    boundary: tuple[SectionScore, ...]
    pixels: tuple[PixelErrors, ...]


@dataclass(frozen=True)
class MapPart:
    """What some sections of a boundary map add; ``rows`` one a section, ascending."""

    rows: tuple[MapRow, ...]

    def merge(self, other: MapPart) -> MapPart:
        """What the sections of both add; associative and commutative."""
        return MapPart(tuple(sorted((*self.rows, *other.rows), key=lambda row: row.section)))


def measure_labels(sections: Sections, measures: Measures) -> LabelPart:
    """The part of a whole volume of labels, slab by slab."""
    return merge_all(label_part(sections.read(*slab), measures) for slab in sections.slabs())


def measure_map(sections: Sections, measures: Measures) -> MapPart:
    """The part of a whole boundary map, slab by slab."""
    return merge_all(map_part(sections.read(*slab), measures) for slab in sections.slabs())


def label_part(slab: Slab, measures: Measures, each: Each = map) -> LabelPart:
    """What a slab of labels adds.

    Parameters
    ----------
    slab, measures
        What is scored.
    each
        ``map``, or one that scores several sections at a time, which changes nothing.

    Raises
    ------
    InputError
        If an array does not hold ids.
    """
    part: LabelPart = merge_all(each(partial(_label_section, measures), slab.sections()))
    return part


def map_part(slab: Slab, measures: Measures, each: Each = map) -> MapPart:
    """What a slab of a boundary map adds; parameters as those of ``label_part``.

    Raises
    ------
    InputError
        If truth does not hold ids, or the map no probabilities.
    """
    return MapPart(tuple(each(partial(_map_section, measures), slab.sections())))


def scored_number(rows: Sequence[LabelRow | MapRow]) -> int | None:
    """Voxels that the options left to score; ``None``: there were none."""
    numbers = [row.scored for row in rows if row.scored is not None]
    return sum(numbers) if numbers else None


def _label_section(measures: Measures, section: tuple[int, SectionArrays]) -> LabelPart:
    number, (prediction, truth, scored) = section
    require_labels(prediction, "prediction")
    boundary = objects = pixels = table = spans = None
    if measures.boundaries or measures.pixels:
        true = truth_section(truth, measures.truth_kind)
        if measures.boundaries:
            boundary = score_labels_section(prediction, _left(true, scored))
        if measures.pixels:
            pixels = pixel_errors_of_labels(prediction, true > 0, scored)
    if measures.tables:
        table = _table(truth, prediction, scored)
        inside = table.without_truth((0,))
        if boundary and measures.truth_kind == "labels":
            objects = score_objects(inside)
        if measures.spans:
            spans = ObjectSpans(
                Spans.of_section(inside.truth, number), Spans.of_section(inside.prediction, number)
            )
    row = LabelRow(number, _number(scored), boundary, objects, pixels)
    return LabelPart((row,), table, spans)


def _map_section(measures: Measures, section: tuple[int, SectionArrays]) -> MapRow:
    number, (probability, truth, scored) = section
    true = truth_section(truth, measures.truth_kind)
    boundary: tuple[SectionScore, ...] = ()
    pixels: tuple[PixelErrors, ...] = ()
    if measures.boundaries:
        boundary = score_map_section(probability, _left(true, scored), measures.thresholds)
    if measures.pixels:
        pixels = pixel_errors_of_map(probability, true > 0, scored, measures.thresholds)
    return MapRow(number, _number(scored), boundary, pixels)


def _table(
    truth: NDArray[Any], prediction: NDArray[Any], scored: NDArray[np.bool_] | None
) -> Contingency:
    if scored is not None:
        truth, prediction = truth[scored], prediction[scored]
    return contingency(truth, prediction, ignore_truth=())


def _merged(first: Part | None, second: Part | None) -> Part | None:
    return None if first is None or second is None else first.merge(second)


def _left(true: NDArray[np.int32], scored: NDArray[np.bool_] | None) -> NDArray[np.int32]:
    """Segments of truth with 0 where nothing is scored."""
    return true if scored is None else true * scored


def _number(scored: NDArray[np.bool_] | None) -> int | None:
    return None if scored is None else int(np.count_nonzero(scored))

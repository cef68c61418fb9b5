"""All scores of a segmentation or a boundary map at once, as values that go to JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.contract import Triple
from pipeline.errors import InputError
from pipeline.evaluation.blockwise import (
    LabelPart,
    MapPart,
    Measures,
    measure_labels,
    measure_map,
)
from pipeline.evaluation.contingency import require_same_shape
from pipeline.evaluation.foreground import SectionScore, mean_score, require_foreground
from pipeline.evaluation.isbi import (
    CHALLENGE_THRESHOLDS,
    ThresholdScore,
    TruthKind,
    best,
    mean_rows,
    require_thresholds,
    require_volume,
)
from pipeline.evaluation.objects import ObjectScores, mean_objects, score_objects
from pipeline.evaluation.slabs import ArraySections

VoxelSize = tuple[float, float, float]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SectionRow(_Frozen):
    """Scores of one section; ``objects`` where truth is labels."""

    section: int
    boundary: SectionScore
    objects: ObjectScores | None


class Scores(_Frozen):
    """Scores of labels.

    Parameters
    ----------
    shape
        zyx, voxels.
    voxel_size_nm
        zyx, nanometres; ``None`` = unknown.
    truth_kind
        ``labels``: ids in 3D; ``mask``: cell or membrane, which has no ids to score in 3D.
    volume
        In 3D, where truth is labels.
    section_objects
        Mean over sections of the scores of ids in 2D, where truth is labels.
    section_boundary
        Mean over sections of V_rand and V_info.
    sections
        One a section that has foreground in truth.
    """

    shape: tuple[int, int, int]
    voxel_size_nm: VoxelSize | None
    truth_kind: TruthKind
    volume: ObjectScores | None
    section_objects: ObjectScores | None
    section_boundary: SectionScore
    sections: tuple[SectionRow, ...]


class MapScores(_Frozen):
    """Scores of a boundary map: a row a threshold, and the best rows, as the challenge ranks."""

    shape: tuple[int, int, int]
    voxel_size_nm: VoxelSize | None
    truth_kind: TruthKind
    rows: tuple[ThresholdScore, ...]
    best_v_rand: ThresholdScore
    best_v_info: ThresholdScore


def label_scores(
    part: LabelPart, shape: Triple, truth_kind: TruthKind, voxel_size_nm: VoxelSize | None = None
) -> Scores:
    """The scores of labels, finished.

    Parameters
    ----------
    part
        Of all sections, with ``boundaries`` and, where truth is labels, ``tables``.
    shape, truth_kind, voxel_size_nm
        As of ``Scores``.

    Raises
    ------
    InputError
        If truth has no foreground.
    """
    rows = tuple(
        SectionRow(section=row.section, boundary=row.boundary, objects=row.objects)
        for row in part.rows
        if row.boundary is not None
    )
    require_foreground(np.array(len(rows)))
    table = part.table if truth_kind == "labels" else None
    return Scores(
        shape=shape,
        voxel_size_nm=voxel_size_nm,
        truth_kind=truth_kind,
        volume=score_objects(table.without_truth((0,))) if table else None,
        section_objects=mean_objects([row.objects for row in rows if row.objects]),
        section_boundary=mean_score(row.boundary for row in rows),
        sections=rows,
    )


def map_scores(
    part: MapPart,
    shape: Triple,
    truth_kind: TruthKind,
    thresholds: Sequence[float] = CHALLENGE_THRESHOLDS,
    voxel_size_nm: VoxelSize | None = None,
) -> MapScores:
    """The scores of a boundary map, finished; ``part`` of all sections, with ``boundaries``.

    Raises
    ------
    InputError
        If truth has no foreground.
    """
    sections = [row.boundary for row in part.rows if row.boundary]
    require_foreground(np.array(len(sections)))
    rows = mean_rows(sections, thresholds)
    return MapScores(
        shape=shape,
        voxel_size_nm=voxel_size_nm,
        truth_kind=truth_kind,
        rows=tuple(rows),
        best_v_rand=best(rows, "v_rand"),
        best_v_info=best(rows, "v_info"),
    )


def evaluate_labels(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    *,
    truth_kind: TruthKind = "labels",
    voxel_size_nm: VoxelSize | None = None,
    scored: NDArray[np.bool_] | None = None,
) -> Scores:
    """Score a segmentation in 3D and section by section.

    Parameters
    ----------
    prediction
        (Z, Y, X) integer ids, 0 = background.
    truth
        (Z, Y, X) integer: ids, 0 = not scored, or a mask, 0 = membrane.
    truth_kind
        What ``truth`` holds.
    voxel_size_nm
        zyx, nanometres, > 0; only recorded.
    scored
        (Z, Y, X) bool, False = left out of every score; all by default
        (``regions.scored_voxels``).

    Returns
    -------
    scores
        Adapted Rand, variation of information and CREMI score in 3D and in 2D (truth of kind
        ``labels``), V_rand and V_info per section.

    Raises
    ------
    InputError
        If shapes differ, an array is not 3D or not of integers >= 0, a voxel size is not
        positive, or truth has no foreground.
    """
    sections = _sections(prediction, truth, scored, "prediction", voxel_size_nm)
    measures = Measures(truth_kind, boundaries=True, tables=truth_kind == "labels")
    part = measure_labels(sections, measures)
    return label_scores(part, sections.shape, truth_kind, voxel_size_nm)


def evaluate_map(
    boundary_probability: NDArray[Any],
    truth: NDArray[Any],
    *,
    truth_kind: TruthKind,
    thresholds: Sequence[float] = CHALLENGE_THRESHOLDS,
    voxel_size_nm: VoxelSize | None = None,
    scored: NDArray[np.bool_] | None = None,
) -> MapScores:
    """Score a boundary map by V_rand and V_info over thresholds.

    Parameters
    ----------
    boundary_probability
        (Z, Y, X) P(boundary): float 0..1, or uint8 0..255 that stands for 0..1.
    truth
        (Z, Y, X) integer: ids or a mask, 0 = boundary.
    truth_kind
        What ``truth`` holds.
    thresholds
        On the probability of cell, 1 - P(boundary), 0..1.
    voxel_size_nm
        zyx, nanometres, > 0; only recorded.
    scored
        (Z, Y, X) bool, False = left out of every score; all by default
        (``regions.scored_voxels``).

    Raises
    ------
    InputError
        If shapes differ, an array is not 3D, dtypes or values do not fit, a voxel size is not
        positive, or truth has no foreground.
    """
    sections = _sections(boundary_probability, truth, scored, "boundary map", voxel_size_nm)
    require_thresholds(thresholds)
    measures = Measures(truth_kind, boundaries=True, thresholds=tuple(thresholds))
    part = measure_map(sections, measures)
    return map_scores(part, sections.shape, truth_kind, thresholds, voxel_size_nm)


def as_json(scores: Scores | MapScores) -> str:
    """Indented JSON; ``type(scores).model_validate_json`` reads it back."""
    return scores.model_dump_json(indent=2)


def _sections(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    scored: NDArray[np.bool_] | None,
    what: str,
    voxel_size_nm: VoxelSize | None,
) -> ArraySections:
    """Arrays that fit together, as sections."""
    require_volume(prediction, what)
    require_volume(truth, "ground truth")
    require_same_shape(truth, prediction)
    if scored is not None:
        require_same_shape(truth, scored)
    if voxel_size_nm is not None and not all(np.isfinite(s) and s > 0 for s in voxel_size_nm):
        raise InputError(f"the voxel size {voxel_size_nm} nm must be positive along z, y, x")
    return ArraySections(prediction, truth, scored)

"""All scores of a segmentation or a boundary map at once, as values that go to JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.errors import InputError
from pipeline.evaluation.contingency import (
    Contingency,
    merge_all,
    require_labels,
    require_same_shape,
    section_tables,
)
from pipeline.evaluation.foreground import SectionScore, mean_score, require_foreground
from pipeline.evaluation.information import cremi_score, variation_of_information
from pipeline.evaluation.isbi import (
    CHALLENGE_THRESHOLDS,
    ThresholdScore,
    TruthKind,
    best,
    require_volume,
    score_labels,
    score_map,
    truth_sections,
)
from pipeline.evaluation.rand import adapted_rand, rand_index

VoxelSize = tuple[float, float, float]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObjectScores(_Frozen):
    """Scores of ids against true ids; voxels whose true id is 0 are left out.

    ``arand_*`` and ``rand_index`` 0..1, ``voi_*`` in bits, ``cremi`` = sqrt(VOI * ARAND error);
    ``objects_truth`` and ``objects_prediction`` count ids other than 0 (the latter among the
    voxels that are scored, or their mean over sections).
    """

    arand_error: float
    arand_precision: float
    arand_recall: float
    rand_index: float
    voi_split: float
    voi_merge: float
    cremi: float
    objects_truth: float
    objects_prediction: float


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


def score_objects(table: Contingency) -> ObjectScores:
    """Every score of ids, from a table without the true ids that are not scored.

    Raises
    ------
    InputError
        If the table is empty: truth has no foreground.
    """
    require_foreground(table.counts)
    rand, voi = adapted_rand(table), variation_of_information(table)
    return ObjectScores(
        arand_error=rand.error,
        arand_precision=rand.precision,
        arand_recall=rand.recall,
        rand_index=rand_index(table),
        voi_split=voi.split,
        voi_merge=voi.merge,
        cremi=cremi_score(table),
        objects_truth=table.without_truth((0,)).truth_sizes.size,
        objects_prediction=table.without_prediction((0,)).prediction_sizes.size,
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
    _require_pair(prediction, truth, "prediction", voxel_size_nm)
    require_labels(prediction, "prediction")
    boundary = score_labels(prediction, _scored_sections(truth, truth_kind, scored))
    tables = section_tables(truth, prediction, scored) if truth_kind == "labels" else None
    rows = tuple(
        SectionRow(
            section=section,
            boundary=score,
            objects=score_objects(tables[section]) if tables else None,
        )
        for section, score in enumerate(boundary)
        if score is not None
    )
    return Scores(
        shape=_shape(truth),
        voxel_size_nm=voxel_size_nm,
        truth_kind=truth_kind,
        volume=score_objects(merge_all(tables)) if tables else None,
        section_objects=_mean_objects([row.objects for row in rows if row.objects]),
        section_boundary=mean_score(boundary),
        sections=rows,
    )


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
    _require_pair(boundary_probability, truth, "boundary map", voxel_size_nm)
    rows = score_map(boundary_probability, _scored_sections(truth, truth_kind, scored), thresholds)
    return MapScores(
        shape=_shape(truth),
        voxel_size_nm=voxel_size_nm,
        truth_kind=truth_kind,
        rows=tuple(rows),
        best_v_rand=best(rows, "v_rand"),
        best_v_info=best(rows, "v_info"),
    )


def as_json(scores: Scores | MapScores) -> str:
    """Indented JSON; ``type(scores).model_validate_json`` reads it back."""
    return scores.model_dump_json(indent=2)


def _scored_sections(
    truth: NDArray[Any], kind: TruthKind, scored: NDArray[np.bool_] | None
) -> NDArray[np.int32]:
    """``truth_sections`` with 0 where nothing is scored."""
    sections = truth_sections(truth, kind=kind)
    if scored is not None:
        require_same_shape(truth, scored)
        sections *= scored
    return sections


def _mean_objects(scores: Sequence[ObjectScores]) -> ObjectScores | None:
    if not scores:
        return None
    rows = [score.model_dump() for score in scores]
    return ObjectScores(
        **{name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}
    )


def _require_pair(
    scored: NDArray[Any], truth: NDArray[Any], what: str, voxel_size_nm: VoxelSize | None
) -> None:
    require_volume(scored, what)
    require_volume(truth, "ground truth")
    require_same_shape(truth, scored)
    if voxel_size_nm is not None and not all(np.isfinite(s) and s > 0 for s in voxel_size_nm):
        raise InputError(f"the voxel size {voxel_size_nm} nm must be positive along z, y, x")


def _shape(array: NDArray[Any]) -> tuple[int, int, int]:
    z, y, x = array.shape
    return z, y, x

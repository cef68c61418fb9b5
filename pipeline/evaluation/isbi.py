"""Maps and labels scored as the ISBI 2012 challenge does: section by section, thinned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.evaluation.contingency import require_labels, require_same_shape
from pipeline.evaluation.foreground import (
    SectionScore,
    mean_score,
    require_foreground,
    score_section,
)
from pipeline.evaluation.thinning import cell_components, cell_mask, thin

TruthKind = Literal["mask", "labels"]

CHALLENGE_THRESHOLDS = tuple(step / 10 for step in range(11))
"""Thresholds on the probability of cell over which the challenge takes the maximum."""


class ThresholdScore(SectionScore):
    """Means over sections of a map cut at a threshold of the probability of cell, 0..1."""

    threshold: float


def truth_sections(array: NDArray[Any], *, kind: TruthKind) -> NDArray[np.int32]:
    """Ground truth as segments of every section, the form that is scored against.

    Parameters
    ----------
    array
        (Z, Y, X). ``kind="mask"``: 0 = membrane, anything else = cell.
        ``kind="labels"``: neurite ids, 0 = boundary, turned into a boundary image by
        ``thinning.cell_mask``.
    kind
        What ``array`` holds; never guessed.

    Returns
    -------
    sections
        (Z, Y, X) int32, the 4-connected components of the cell pixels of each section,
        numbered from 1 in each; 0 = boundary. Truth is not thinned.

    Raises
    ------
    InputError
        If the array is not 3D or integer, has no cell pixel, or ``kind`` is unknown.
    """
    require_volume(array, "ground truth")
    sections = np.zeros(array.shape, np.int32)
    for segments, section in zip(sections, array, strict=True):
        segments[...] = truth_section(section, kind)
    require_foreground(sections)
    return sections


def truth_section(section: NDArray[Any], kind: TruthKind) -> NDArray[np.int32]:
    """``truth_sections`` of one (Y, X) section, which may have no cell pixel."""
    require_labels(section, "ground truth")
    if kind not in get_args(TruthKind):
        raise InputError(f"ground truth of kind {kind!r} is unknown; it is 'mask' or 'labels'")
    return cell_components(section != 0 if kind == "mask" else cell_mask(section))


def score_labels(labels: NDArray[Any], truth: NDArray[Any]) -> list[SectionScore | None]:
    """Score 3D ids section by section, each as a boundary image.

    One neuron has several profiles in a section, which the challenge counts apart. So ids are
    first turned into a boundary image (``thinning.cell_mask``), which is thinned and split
    into components like a map.

    Parameters
    ----------
    labels
        (Z, Y, X) ids, 0 = boundary or unlabelled.
    truth
        (Z, Y, X) as ``truth_sections`` gives it.

    Returns
    -------
    scores
        One a section; ``None`` where truth has no cell pixel.

    Raises
    ------
    InputError
        If shapes differ, a dtype is not integer, or truth has no cell pixel at all.
    """
    require_labels(labels, "prediction")
    require_volume(labels, "prediction")
    require_same_shape(truth, labels)
    require_foreground(truth)
    return [
        score_labels_section(section, true) for section, true in zip(labels, truth, strict=True)
    ]


def score_labels_section(labels: NDArray[Any], truth: NDArray[Any]) -> SectionScore | None:
    """``score_labels`` of one (Y, X) section."""
    return score_section(thin(cell_mask(labels)), truth) if truth.any() else None


def score_map(
    boundary_probability: NDArray[Any],
    truth: NDArray[Any],
    thresholds: Sequence[float] = CHALLENGE_THRESHOLDS,
) -> list[ThresholdScore]:
    """Score a boundary map, cut at thresholds, as the challenge does.

    A pixel is cell where its probability of cell, 1 - P(boundary), is above the threshold.
    The image is thinned (``thinning.thin``), split into 4-connected components and scored
    against truth section by section.

    Parameters
    ----------
    boundary_probability
        (Z, Y, X) P(boundary): float 0..1, or uint8 0..255 that stands for 0..1.
    truth
        (Z, Y, X) as ``truth_sections`` gives it.
    thresholds
        On the probability of cell, 0..1.

    Returns
    -------
    rows
        One a threshold, in their order: means over the sections that have a cell pixel in
        truth. The challenge ranks by the best ``v_rand`` and the best ``v_info`` (``best``).

    Raises
    ------
    InputError
        If shapes differ, the map is neither float 0..1 nor uint8, there is no threshold, or
        truth has no cell pixel.
    """
    require_volume(boundary_probability, "boundary map")
    require_same_shape(truth, boundary_probability)
    require_foreground(truth)
    require_thresholds(thresholds)
    sections = [
        score_map_section(section, true, thresholds)
        for section, true in zip(boundary_probability, truth, strict=True)
    ]
    return mean_rows([scores for scores in sections if scores], thresholds)


def score_map_section(
    boundary_probability: NDArray[Any], truth: NDArray[Any], thresholds: Sequence[float]
) -> tuple[SectionScore, ...]:
    """Scores of one (Y, X) section, one a threshold; none where truth has no cell pixel."""
    if not truth.any():
        return ()
    cell = cell_probability(boundary_probability)
    return tuple(score_section(thin(cell > threshold), truth) for threshold in thresholds)


def mean_rows(
    sections: Sequence[Sequence[SectionScore]], thresholds: Sequence[float]
) -> list[ThresholdScore]:
    """Means over sections, at least one, a row a threshold."""
    return [
        ThresholdScore(threshold=float(threshold), **mean_score(scores).model_dump())
        for threshold, scores in zip(thresholds, zip(*sections, strict=True), strict=True)
    ]


def best(rows: Sequence[ThresholdScore], score: Literal["v_rand", "v_info"]) -> ThresholdScore:
    """The row with the highest score; the first of equals."""
    return max(rows, key=lambda row: row.v_rand if score == "v_rand" else row.v_info)


def require_volume(array: NDArray[Any], what: str) -> None:
    """Raise ``InputError`` unless the array is 3D."""
    if array.ndim != 3:
        raise InputError(
            f"the {what} has shape {array.shape}, but z, y, x are needed; "
            "give a single section a first axis of length 1"
        )


def require_thresholds(thresholds: Sequence[float]) -> None:
    """Raise ``InputError`` if there is none."""
    if not thresholds:
        raise InputError("no threshold is given; for example 0, 0.1 .. 1")


def cell_probability(boundary: NDArray[Any]) -> NDArray[np.float64]:
    """1 - P(boundary) of a section, float64."""
    if boundary.dtype == np.uint8:
        return (255 - boundary.astype(np.float64)) / 255
    if boundary.dtype.kind != "f":
        raise InputError(
            f"the boundary map has dtype {boundary.dtype}, but must be float (0..1) or uint8 "
            "(0..255 for 0..1); labels are scored with evaluate_labels"
        )
    low, high = float(boundary.min()), float(boundary.max())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"the boundary map holds values from {low:g} to {high:g}, but probabilities lie "
            "in 0..1; rescale it first"
        )
    return 1 - boundary.astype(np.float64)

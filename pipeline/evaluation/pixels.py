"""Pixel error and warping error of boundary images, as the ISBI 2012 challenge first scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.isbi import CHALLENGE_THRESHOLDS, cell_probability
from pipeline.evaluation.thinning import cell_mask
from pipeline.evaluation.warping import warping_error


@dataclass(frozen=True)
class PixelScores:
    """Errors of a boundary image, means over its sections; 0 is perfect.

    Parameters
    ----------
    pixel_error
        Share of the scored pixels that truth and proposal do not both call cell or both
        boundary, 0..1.
    pixel_f_error
        1 - F-score of the cell pixels, 0..1.
    warping_error
        Share of the scored pixels that differ after warping, 0..1.
    warping_pixels
        Their number, mean over sections.
    """

    pixel_error: float
    pixel_f_error: float
    warping_error: float
    warping_pixels: float


@dataclass(frozen=True)
class PixelRow(PixelScores):
    """Errors of a map cut at a threshold of the probability of cell, 0..1."""

    threshold: float


@dataclass(frozen=True)
class PixelMapScores:
    """Errors of a map: a row a threshold, and the least of each error over them."""

    rows: tuple[PixelRow, ...]
    pixel_error: float
    pixel_f_error: float
    warping_error: float


def score_pixels(
    cell: NDArray[np.bool_], true: NDArray[np.bool_], scored: NDArray[np.bool_] | None = None
) -> PixelScores:
    """Errors of boundary images; sections without a true cell pixel are left out.

    Parameters
    ----------
    cell, true
        (Z, Y, X) bool, True = cell, False = boundary; not thinned.
    scored
        (Z, Y, X) bool; all by default. Pixels that are not scored are taken as right, so they
        bend nothing.
    """
    rows = [
        _score_section(cell[z], true[z], np.ones_like(true[z]) if scored is None else scored[z])
        for z in range(len(true))
        if (true[z] if scored is None else true[z] & scored[z]).any()
    ]
    return PixelScores(*(math.fsum(column) / len(rows) for column in zip(*rows, strict=True)))


def score_pixels_of_labels(
    labels: NDArray[Any], true: NDArray[np.bool_], scored: NDArray[np.bool_] | None = None
) -> PixelScores:
    """``score_pixels`` of (Z, Y, X) ids, turned into boundary images (``thinning.cell_mask``)."""
    return score_pixels(np.stack([cell_mask(section) for section in labels]), true, scored)


def score_pixels_of_map(
    boundary_probability: NDArray[Any],
    true: NDArray[np.bool_],
    scored: NDArray[np.bool_] | None = None,
    thresholds: Sequence[float] = CHALLENGE_THRESHOLDS,
) -> PixelMapScores:
    """``score_pixels`` of a (Z, Y, X) boundary map cut at thresholds.

    Parameters
    ----------
    boundary_probability
        P(boundary): float 0..1, or uint8 0..255 that stands for 0..1.
    true, scored
        As for ``score_pixels``.
    thresholds
        A pixel is cell where 1 - P(boundary) is above it.
    """
    probability = cell_probability(boundary_probability)
    rows = tuple(
        PixelRow(**vars(score_pixels(probability > threshold, true, scored)), threshold=threshold)
        for threshold in thresholds
    )
    return PixelMapScores(
        rows,
        pixel_error=min(row.pixel_error for row in rows),
        pixel_f_error=min(row.pixel_f_error for row in rows),
        warping_error=min(row.warping_error for row in rows),
    )


def _score_section(
    cell: NDArray[np.bool_], true: NDArray[np.bool_], scored: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    cell = np.where(scored, cell, true)
    pixels = np.count_nonzero(scored)
    wrong = np.count_nonzero(cell != true)
    both = np.count_nonzero(cell & true & scored)
    left = warping_error(true, cell)
    return wrong / pixels, wrong / (2 * both + wrong), left / pixels, float(left)

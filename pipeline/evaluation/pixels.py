"""Pixel error and warping error of boundary images, as the ISBI 2012 challenge first scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class PixelErrors(NamedTuple):
    """Errors of one section; fields as those of ``PixelScores``."""

    pixel_error: float
    pixel_f_error: float
    warping_error: float
    warping_pixels: float


def pixel_errors(
    cell: NDArray[np.bool_], true: NDArray[np.bool_], scored: NDArray[np.bool_] | None = None
) -> PixelErrors | None:
    """Errors of the boundary image of a section; ``None`` without a true cell pixel to score.

    Parameters
    ----------
    cell, true
        (Y, X) bool, True = cell, False = boundary; not thinned.
    scored
        (Y, X) bool; all by default. Pixels that are not scored are taken as right, so they
        bend nothing.
    """
    if scored is None:
        scored = np.ones_like(true)
    if not (true & scored).any():
        return None
    cell = np.where(scored, cell, true)
    pixels = np.count_nonzero(scored)
    wrong = np.count_nonzero(cell != true)
    both = np.count_nonzero(cell & true & scored)
    left = warping_error(true, cell)
    return PixelErrors(wrong / pixels, wrong / (2 * both + wrong), left / pixels, float(left))


def pixel_errors_of_labels(
    labels: NDArray[Any], true: NDArray[np.bool_], scored: NDArray[np.bool_] | None = None
) -> PixelErrors | None:
    """``pixel_errors`` of (Y, X) ids as a boundary image (``thinning.cell_mask``)."""
    return pixel_errors(cell_mask(labels), true, scored)


def pixel_errors_of_map(
    boundary_probability: NDArray[Any],
    true: NDArray[np.bool_],
    scored: NDArray[np.bool_] | None = None,
    thresholds: Sequence[float] = CHALLENGE_THRESHOLDS,
) -> tuple[PixelErrors, ...]:
    """``pixel_errors`` of a (Y, X) boundary map, one a threshold; none if there is none.

    Parameters
    ----------
    boundary_probability
        P(boundary): float 0..1, or uint8 0..255 that stands for 0..1.
    true, scored
        As for ``pixel_errors``.
    thresholds
        A pixel is cell where 1 - P(boundary) is above it.
    """
    probability = cell_probability(boundary_probability)
    rows = [pixel_errors(probability > threshold, true, scored) for threshold in thresholds]
    return tuple(row for row in rows if row is not None)


def mean_pixels(sections: Sequence[PixelErrors]) -> PixelScores:
    """Means over sections, at least one."""
    columns = zip(*sections, strict=True)
    return PixelScores(*(math.fsum(column) / len(sections) for column in columns))


def mean_map_pixels(
    sections: Sequence[Sequence[PixelErrors]],
    thresholds: Sequence[float] = CHALLENGE_THRESHOLDS,
) -> PixelMapScores:
    """Means over sections, at least one, a row a threshold, and the least of them."""
    rows = tuple(
        PixelRow(**vars(mean_pixels(errors)), threshold=threshold)
        for threshold, errors in zip(thresholds, zip(*sections, strict=True), strict=True)
    )
    return PixelMapScores(
        rows,
        pixel_error=min(row.pixel_error for row in rows),
        pixel_f_error=min(row.pixel_f_error for row in rows),
        warping_error=min(row.warping_error for row in rows),
    )

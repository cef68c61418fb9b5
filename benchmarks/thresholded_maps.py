"""Boundary maps cut at thresholds: the rows of maps that no graph has touched.

Thresholds are shown as chosen on training parts (``parameters.json``, made by
``choose_parameters.py``) and as the best one for the very data that is scored (oracle), which
nobody has in practice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from benchmarks.quality_rows import Row, label_row, map_row, object_scores
from pipeline.contract import UINT8_MAX
from pipeline.evaluation.isbi import ThresholdScore, TruthKind, score_map, truth_sections

THRESHOLDS = (0.01, 0.02, 0.03, *(round(0.05 * i, 2) for i in range(1, 20)))
"""On P(boundary)."""


def thresholded(boundaries: NDArray[np.uint8], threshold: float, flat: bool) -> NDArray[np.int64]:
    """Components of P(boundary) < threshold, grown over the boundaries.

    Parameters
    ----------
    boundaries
        (Z, Y, X) uint8 0..255 = 0..1.
    threshold
        0..1.
    flat
        Grow within sections only; components are 3D all the same.
    """
    inside = boundaries < threshold * UINT8_MAX
    components, _ = ndimage.label(inside)
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, 1)
    if not flat:
        structure = ndimage.generate_binary_structure(3, 1)
    grown: NDArray[np.int64] = watershed(boundaries, components, connectivity=structure)
    return grown.astype(np.int64)


def section_scores(
    boundaries: NDArray[np.uint8], membranes: NDArray[Any], kind: TruthKind = "mask"
) -> dict[float, ThresholdScore]:
    """V_rand and V_info of a map, by section: threshold on P(boundary) -> scores."""
    cells = [round(1 - threshold, 2) for threshold in THRESHOLDS]
    scores = score_map(boundaries, truth_sections(membranes, kind=kind), cells)
    return dict(zip(THRESHOLDS, scores, strict=True))


def map_row_2d(
    name: str,
    boundaries: NDArray[np.uint8],
    membranes: NDArray[Any],
    chosen: float | None,
    *,
    kind: TruthKind = "mask",
) -> list[Row]:
    """V_rand and V_info of a map at the chosen threshold and at the oracle's."""
    return section_rows(name, section_scores(boundaries, membranes, kind), chosen)


def section_rows(
    name: str, scores: Mapping[float, ThresholdScore], chosen: float | None
) -> list[Row]:
    """Rows of ``section_scores``: at the chosen threshold, if any, and at the best one."""
    best = max(scores, key=lambda t: scores[t].v_rand)
    rows = [map_row(name, f"{best:.2f} oracle", scores[best].v_rand, scores[best].v_info)]
    if chosen is not None:
        near = min(scores, key=lambda t: abs(t - chosen))
        given = scores[near]
        rows.insert(0, map_row(name, f"{chosen:.2f} train", given.v_rand, given.v_info))
    return rows


def map_row_3d(
    name: str, boundaries: NDArray[np.uint8], truth: NDArray[Any], chosen: float | None, flat: bool
) -> list[Row]:
    """3D scores of the components of a map at the chosen threshold and at the oracle's."""
    errors = component_errors([boundaries], [truth])
    return volume_rows(name, boundaries, truth, errors, chosen, flat=flat)


def volume_rows(
    name: str,
    boundaries: NDArray[np.uint8],
    truth: NDArray[Any],
    errors: Mapping[float, float],
    chosen: float | None,
    *,
    flat: bool,
) -> list[Row]:
    """The same from ``component_errors`` that are known."""
    best = min(errors, key=lambda t: errors[t])
    cuts = {"train": chosen, "oracle": best}
    rows = {
        cut: label_row(name, thresholded(boundaries, cut, flat), truth, None)
        for cut in set(cuts.values())
        if cut is not None
    }
    return [
        replace(rows[cut], threshold=f"{cut:.2f} {source}")
        for source, cut in cuts.items()
        if cut is not None
    ]


def best_threshold(maps: Sequence[NDArray[np.uint8]], truths: Sequence[NDArray[Any]]) -> float:
    """Threshold whose components, before they are grown, have the least mean Rand error."""
    errors = component_errors(maps, truths)
    return min(errors, key=lambda t: errors[t])


def component_errors(
    maps: Sequence[NDArray[np.uint8]], truths: Sequence[NDArray[Any]]
) -> dict[float, float]:
    """Mean adapted Rand error of components before they are grown, inside them, by threshold."""
    errors: dict[float, float] = {}
    for t in THRESHOLDS:
        total = 0.0
        for boundaries, truth in zip(maps, truths, strict=True):
            components, _ = ndimage.label(boundaries < t * UINT8_MAX)
            inside = np.where(components > 0, truth, 0)
            total += object_scores(components, inside).arand_error if inside.any() else 1.0
        errors[t] = total / len(maps)
    return errors

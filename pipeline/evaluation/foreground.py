"""V_rand and V_info, the foreground-restricted scores of the ISBI 2012 challenge."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.errors import InputError
from pipeline.evaluation.contingency import Contingency, contingency
from pipeline.evaluation.information import entropy
from pipeline.evaluation.rand import ratio, sum_of_squares


@dataclass(frozen=True)
class FScore:
    """A score and its two sides, all 0..1, 1 = perfect.

    Parameters
    ----------
    score
        Weighted harmonic mean of ``split`` and ``merge``.
    split
        False splits lower it.
    merge
        False merges lower it.
    """

    score: float
    split: float
    merge: float


class SectionScore(BaseModel):
    """V_rand and V_info of one section, or their means over sections; 0..1, 1 = perfect."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v_rand: float
    v_rand_split: float
    v_rand_merge: float
    v_info: float
    v_info_split: float
    v_info_merge: float


def v_rand(segments: NDArray[Any], truth: NDArray[Any], *, alpha: float = 0.5) -> FScore:
    """Foreground-restricted Rand score.

    V = sum p_ij^2 / (alpha sum s_i^2 + (1 - alpha) sum t_j^2), where p_ij is the share of
    pixels in proposed segment i and true segment j, s and t its marginals; split divides by
    sum t_j^2, merge by sum s_i^2. Only pixels with a true id other than 0 count, and each of
    them that the proposal calls boundary is a segment of its own.

    Parameters
    ----------
    segments
        (Y, X) ids of the proposal, 0 = boundary.
    truth
        (Y, X) true ids, 0 = boundary.
    alpha
        Weight of the proposal's marginal, 0..1; the challenge uses 0.5.

    Raises
    ------
    InputError
        If shapes differ, dtypes are not integer, or no true id differs from 0.

    References
    ----------
    Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142.
    """
    return _v_rand(_foreground(segments, truth), alpha)


def v_info(segments: NDArray[Any], truth: NDArray[Any], *, alpha: float = 0.5) -> FScore:
    """Foreground-restricted information score.

    V = I(S; T) / ((1 - alpha) H(S) + alpha H(T)) over the same pixels and segments as
    ``v_rand``; split divides the mutual information by H(S), merge by H(T). No information
    out of no entropy is 1: one true segment, found as one.

    Parameters
    ----------
    segments
        (Y, X) ids of the proposal, 0 = boundary.
    truth
        (Y, X) true ids, 0 = boundary.
    alpha
        Weight of the entropy of truth, 0..1; the challenge uses 0.5.

    Raises
    ------
    InputError
        If shapes differ, dtypes are not integer, or no true id differs from 0.

    References
    ----------
    Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142.
    """
    return _v_info(_foreground(segments, truth), alpha)


def snemi3d_error(table: Contingency) -> float:
    """SNEMI3D's error: 1 - F-score of pairs of voxels, 0..1; 0 is perfect.

    It differs from ``rand.adapted_rand`` in two ways: every voxel that the prediction leaves
    at 0 is an object of its own, and a voxel makes a pair with itself. So it is 1 - V_rand
    over the whole volume.

    Parameters
    ----------
    table
        Counts of pairs of ids, without the true ids that are not scored; not empty.

    References
    ----------
    The challenge's program SNEMI3D_metrics; Arganda-Carreras et al. 2015, Frontiers in
    Neuroanatomy 9:142.
    """
    return 1 - _v_rand(table, 0.5).score


def score_section(segments: NDArray[Any], truth: NDArray[Any]) -> SectionScore:
    """Both scores of one section; parameters and errors as for ``v_rand``."""
    table = _foreground(segments, truth)
    rand, info = _v_rand(table, 0.5), _v_info(table, 0.5)
    return SectionScore(
        v_rand=rand.score,
        v_rand_split=rand.split,
        v_rand_merge=rand.merge,
        v_info=info.score,
        v_info_split=info.split,
        v_info_merge=info.merge,
    )


def mean_score(scores: Iterable[SectionScore | None]) -> SectionScore:
    """Mean of every field over the sections that have a score; at least one must."""
    rows = [score.model_dump() for score in scores if score is not None]
    return SectionScore(
        **{name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}
    )


def require_foreground(truth: NDArray[Any]) -> None:
    """Raise ``InputError`` where no true id differs from 0."""
    if not truth.any():
        raise InputError(
            "the ground truth has no foreground: every voxel is 0, so there is nothing to score"
        )


def _foreground(segments: NDArray[Any], truth: NDArray[Any]) -> Contingency:
    """Pairs of ids over the pixels with a true id."""
    table = contingency(truth, segments)
    require_foreground(table.counts)
    return table


def _v_rand(table: Contingency, alpha: float) -> FScore:
    inside = table.without_prediction((0,))
    boundary = table.total - inside.total
    both = sum_of_squares(inside.counts) + boundary
    proposed = sum_of_squares(inside.prediction_sizes) + boundary
    true = sum_of_squares(table.truth_sizes)
    return FScore(
        score=both / (alpha * proposed + (1 - alpha) * true),
        split=both / true,
        merge=both / proposed,
    )


def _v_info(table: Contingency, alpha: float) -> FScore:
    inside = table.without_prediction((0,))
    total = table.total
    # Each boundary pixel is a segment of one pixel.
    boundary = (total - inside.total) * math.log2(total) / total
    joint = entropy(inside.counts, total) + boundary
    proposed = entropy(inside.prediction_sizes, total) + boundary
    true = entropy(table.truth_sizes, total)
    shared = max(proposed + true - joint, 0.0)
    return FScore(
        score=ratio(shared, (1 - alpha) * proposed + alpha * true),
        split=ratio(shared, proposed),
        merge=ratio(shared, true),
    )

"""Scores of ids against true ids, from one table; of a volume, a section, or mean of sections."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from pipeline.evaluation.contingency import Contingency
from pipeline.evaluation.foreground import require_foreground
from pipeline.evaluation.information import cremi_score, variation_of_information
from pipeline.evaluation.rand import adapted_rand, rand_index


class ObjectScores(BaseModel):
    """Scores of ids against true ids; voxels whose true id is 0 are left out.

    ``arand_*`` and ``rand_index`` 0..1, ``voi_*`` in bits, ``cremi`` = sqrt(VOI * ARAND error);
    ``objects_truth`` and ``objects_prediction`` count ids other than 0 (the latter among the
    voxels that are scored, or their mean over sections).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arand_error: float
    arand_precision: float
    arand_recall: float
    rand_index: float
    voi_split: float
    voi_merge: float
    cremi: float
    objects_truth: float
    objects_prediction: float


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


def mean_objects(scores: Sequence[ObjectScores]) -> ObjectScores | None:
    """Mean of every field; ``None`` of none."""
    if not scores:
        return None
    rows = [score.model_dump() for score in scores]
    return ObjectScores(
        **{name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}
    )

"""Further families of scores, by name, and the table of the worst objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple
from pipeline.errors import InputError
from pipeline.evaluation.contingency import Contingency, merge_all, section_tables
from pipeline.evaluation.foreground import require_foreground, snemi3d_error
from pipeline.evaluation.instance import InstanceScores, instance_scores
from pipeline.evaluation.isbi import TruthKind, truth_sections
from pipeline.evaluation.pixels import (
    PixelMapScores,
    PixelScores,
    score_pixels_of_labels,
    score_pixels_of_map,
)
from pipeline.evaluation.semantic import SemanticScores, semantic_scores
from pipeline.evaluation.skeletons import RunLength
from pipeline.evaluation.worst import WorstObject, worst_objects

Family = Literal["instance", "semantic", "classes", "challenges"]

OF_ALL: tuple[Family, ...] = ("instance", "semantic", "challenges")
"""What ``all`` means: the values of a volume of objects are no classes."""


@dataclass(frozen=True)
class ChallengeScores:
    """Errors of earlier challenges.

    Parameters
    ----------
    snemi3d_error
        Of labels in 3D, 0..1; ``None`` where truth is a mask, or a map is scored.
    isbi
        Pixel error and warping error, section by section.
    """

    snemi3d_error: float | None
    isbi: PixelScores | PixelMapScores


@dataclass(frozen=True)
class FamilyScores:
    """Scores that were asked for; ``None`` for the others.

    Parameters
    ----------
    scored_voxels
        Voxels that the options left to score, those of true id 0 among them.
    instance
        Objects one by one; true 0 is background.
    semantic
        Two classes: 0, and everything else.
    classes
        Values as classes.
    challenges
        Errors of SNEMI3D and of ISBI 2012 as they first stood.
    run_length
        Expected run length on skeletons.
    worst
        The objects that carry most of the variation of information.
    """

    scored_voxels: int | None = None
    instance: InstanceScores | None = None
    semantic: SemanticScores | None = None
    classes: SemanticScores | None = None
    challenges: ChallengeScores | None = None
    run_length: RunLength | None = None
    worst: tuple[WorstObject, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """What was asked for, as plain values for JSON."""
        chosen = {name: part for name, part in vars(self).items() if part is not None}
        return {name: _plain(part) for name, part in chosen.items()}


def require_families(names: Sequence[str]) -> tuple[Family, ...]:
    """The names themselves, or ``InputError`` if one is no family."""
    unknown = [name for name in names if name not in get_args(Family)]
    if unknown:
        raise InputError(
            f"the family {unknown[0]!r} is unknown; there are {', '.join(get_args(Family))}"
        )
    return cast(tuple[Family, ...], tuple(names))


def evaluate_families(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    families: Sequence[Family],
    *,
    truth_kind: TruthKind = "labels",
    scored: NDArray[np.bool_] | None = None,
    worst: int = 0,
    origin: Triple = (0, 0, 0),
) -> FamilyScores:
    """Scores of labels beyond those of ``evaluate_labels``.

    Parameters
    ----------
    prediction, truth
        (Z, Y, X) ids; for ``classes`` classes.
    families
        Which.
    truth_kind
        Of a mask only ``semantic`` and ``challenges`` can be scored.
    scored
        (Z, Y, X) bool, False = left out; all by default.
    worst
        Rows of the table of worst objects, 0 = no table.
    origin
        Added to its coordinates.

    Raises
    ------
    InputError
        If shapes or dtypes do not fit, a family is unknown or cannot be scored on a mask, or
        nothing is left to score.
    """
    require_families(families)
    chosen = [name for name in families if name in ("instance", "classes")]
    if truth_kind == "mask" and (chosen or worst):
        raise InputError(
            "the ground truth is a mask, which has no ids: only the families semantic and "
            "challenges can be scored on it"
        )
    if not families and not worst:
        return FamilyScores(scored_voxels=_number(scored))
    table = merge_all(section_tables(truth, prediction, scored, ignore_truth=()))
    inside = table.without_truth((0,))
    return FamilyScores(
        scored_voxels=_number(scored),
        instance=instance_scores(table) if "instance" in families else None,
        semantic=semantic_scores(table.foreground()) if "semantic" in families else None,
        classes=semantic_scores(table) if "classes" in families else None,
        challenges=_challenges(prediction, truth, inside, truth_kind, scored)
        if "challenges" in families
        else None,
        worst=tuple(
            worst_objects(inside, prediction, truth, count=worst, scored=scored, origin=origin)
        )
        if worst
        else None,
    )


def evaluate_families_of_map(
    boundary_probability: NDArray[Any],
    truth: NDArray[Any],
    families: Sequence[Family],
    *,
    truth_kind: TruthKind,
    scored: NDArray[np.bool_] | None = None,
) -> FamilyScores:
    """Scores of a boundary map beyond those of ``evaluate_map``: only ``challenges``.

    Raises
    ------
    InputError
        As ``evaluate_families``, and for any other family.
    """
    require_families(families)
    if set(families) - {"challenges"}:
        raise InputError("a boundary map has no objects: only the family challenges scores it")
    if not families:
        return FamilyScores(scored_voxels=_number(scored))
    true = truth_sections(truth, kind=truth_kind) > 0
    return FamilyScores(
        scored_voxels=_number(scored),
        challenges=ChallengeScores(None, score_pixels_of_map(boundary_probability, true, scored)),
    )


def _challenges(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    inside: Contingency,
    kind: TruthKind,
    scored: NDArray[np.bool_] | None,
) -> ChallengeScores:
    require_foreground(inside.counts)
    true = truth_sections(truth, kind=kind) > 0
    return ChallengeScores(
        snemi3d_error(inside) if kind == "labels" else None,
        score_pixels_of_labels(prediction, true, scored),
    )


def _number(scored: NDArray[np.bool_] | None) -> int | None:
    return None if scored is None else int(np.count_nonzero(scored))


def _plain(part: Any) -> Any:
    if isinstance(part, tuple):
        return [_plain(item) for item in part]
    return dataclasses.asdict(part) if dataclasses.is_dataclass(part) else part  # type: ignore[arg-type]

"""Further families of scores, by name, and the table of the worst objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple
from pipeline.errors import InputError
from pipeline.evaluation.blockwise import (
    LabelPart,
    MapPart,
    Measures,
    measure_labels,
    measure_map,
    scored_number,
)
from pipeline.evaluation.contingency import Contingency, require_same_shape
from pipeline.evaluation.foreground import require_foreground, snemi3d_error
from pipeline.evaluation.instance import InstanceScores, instance_scores
from pipeline.evaluation.isbi import TruthKind
from pipeline.evaluation.pixels import PixelMapScores, PixelScores, mean_map_pixels, mean_pixels
from pipeline.evaluation.places import Progress
from pipeline.evaluation.semantic import SemanticScores, semantic_scores
from pipeline.evaluation.skeletons import RunLength
from pipeline.evaluation.slabs import ArraySections, Sections
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
    require_fitting(families, truth_kind, worst)
    require_same_shape(truth, prediction)
    sections = ArraySections(prediction, truth, scored)
    measures = with_families(Measures(truth_kind), families, worst)
    part = measure_labels(sections, measures)
    found = family_scores(part, families, truth_kind)
    if not worst:
        return found
    return replace(found, worst=worst_of(part, sections, worst, origin))


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
    require_fitting_map(families)
    require_same_shape(truth, boundary_probability)
    measures = with_families(Measures(truth_kind), families)
    part = measure_map(ArraySections(boundary_probability, truth, scored), measures)
    return map_family_scores(part, families)


def require_fitting(families: Sequence[Family], kind: TruthKind, worst: int = 0) -> None:
    """Raise ``InputError`` if a family is unknown, or cannot be scored on a mask."""
    require_families(families)
    chosen = [name for name in families if name in ("instance", "classes")]
    if kind == "mask" and (chosen or worst):
        raise InputError(
            "the ground truth is a mask, which has no ids: only the families semantic and "
            "challenges can be scored on it"
        )


def require_fitting_map(families: Sequence[Family]) -> None:
    """Raise ``InputError`` if a family is unknown, or does not score boundary maps."""
    require_families(families)
    if set(families) - {"challenges"}:
        raise InputError("a boundary map has no objects: only the family challenges scores it")


def with_families(measures: Measures, families: Sequence[Family], worst: int = 0) -> Measures:
    """``measures`` with those that families and the table of worst objects need."""
    return replace(
        measures,
        tables=measures.tables or bool(families) or worst > 0,
        pixels="challenges" in families,
        spans=worst > 0,
    )


def family_scores(part: LabelPart, families: Sequence[Family], kind: TruthKind) -> FamilyScores:
    """The families of labels, finished; all but the table of worst objects.

    Parameters
    ----------
    part
        Of all sections, measured ``with_families``.
    families, kind
        That were measured.

    Raises
    ------
    InputError
        If nothing is left to score, or there are too many values for classes.
    """
    number, table = scored_number(part.rows), part.table
    if table is None:
        return FamilyScores(scored_voxels=number)
    return FamilyScores(
        scored_voxels=number,
        instance=instance_scores(table) if "instance" in families else None,
        semantic=semantic_scores(table.foreground()) if "semantic" in families else None,
        classes=semantic_scores(table) if "classes" in families else None,
        challenges=_challenges(part, table, kind) if "challenges" in families else None,
    )


def map_family_scores(part: MapPart, families: Sequence[Family]) -> FamilyScores:
    """The families of a boundary map, finished; parameters as those of ``family_scores``."""
    challenges = None
    if "challenges" in families:
        pixels = [row.pixels for row in part.rows if row.pixels]
        require_foreground(np.array(len(pixels)))
        challenges = ChallengeScores(None, mean_map_pixels(pixels))
    return FamilyScores(scored_voxels=scored_number(part.rows), challenges=challenges)


def worst_of(
    part: LabelPart,
    sections: Sections,
    count: int,
    origin: Triple = (0, 0, 0),
    progress: Progress | None = None,
) -> tuple[WorstObject, ...]:
    """The table of worst objects; reads the sections that hold them once more.

    Parameters
    ----------
    part
        Of all ``sections``, measured ``with_families`` and worst objects.
    sections, count, origin, progress
        As of ``worst.worst_objects``.
    """
    assert part.table is not None, "tables were measured"
    inside = part.table.without_truth((0,))
    return tuple(
        worst_objects(
            inside, sections, count=count, spans=part.spans, origin=origin, progress=progress
        )
    )


def _challenges(part: LabelPart, table: Contingency, kind: TruthKind) -> ChallengeScores:
    inside = table.without_truth((0,))
    pixels = [row.pixels for row in part.rows if row.pixels]
    require_foreground(np.array(len(pixels)))
    return ChallengeScores(snemi3d_error(inside) if kind == "labels" else None, mean_pixels(pixels))


def _plain(part: Any) -> Any:
    if isinstance(part, tuple):
        return [_plain(item) for item in part]
    return dataclasses.asdict(part) if dataclasses.is_dataclass(part) else part  # type: ignore[arg-type]

"""Tables of the cross-validation over ISBI 2012."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.isbi2012_cross_validation import ORACLE, OTHER_FOLDS, FoldScores, Scored
from benchmarks.published import SEEN, Cell, Table

SCORES = {
    "v_rand": "V_rand",
    "v_info": "V_info",
    "arand": "adapted Rand error",
    "voi_split": "VOI split",
    "voi_merge": "VOI merge",
}


def mean_table(folds: Sequence[FoldScores]) -> Table:
    """A row a method: mean over the folds, and their standard deviation where there are several."""
    rows = []
    for number, first in enumerate(folds[0].rows):
        ours = [fold.rows[number] for fold in folds]
        cells: list[Cell] = [mean_and_spread(ours, score) for score in SCORES]
        rows.append((marked(first.method, folds), first.chosen, *cells))
    return Table(
        title=f"Cross-validation, sections {', '.join(named(fold.sections) for fold in folds)}",
        columns=("method", "threshold", *SCORES.values()),
        rows=tuple(rows),
        note=(
            "Mean over the folds ± their standard deviation; all folds have the same number of "
            "sections. V_rand and V_info by section, after thinning; the others in 3D, within "
            f"the fold. Thresholds on P(boundary): `{OTHER_FOLDS}`, chosen on maps of the other "
            f"folds, one for V_rand and V_info and one for 3D; `{ORACLE}`, the best for the scored "
            "fold itself, for each of V_rand, V_info and 3D, which nobody has in practice. A fold "
            "is predicted by a network tuned without it. Thresholds, forests and the prior of the "
            "multicut on mean boundaries come from the other folds, each predicted by a network "
            "tuned without both folds. The remaining parameters of the multicut and of the tuning "
            "are the shipped defaults, which were chosen on sections 0-13."
        ),
    )


def fold_table(folds: Sequence[FoldScores]) -> Table:
    """Every score of every method by fold."""
    rows = [
        (
            marked(row.method, folds),
            row.chosen,
            named(fold.sections),
            *(None if t is None else f"{t:.2f}" for t in (row.threshold_2d, row.threshold_3d)),
            *(getattr(row, score) for score in SCORES),
        )
        for number in range(len(folds[0].rows))
        for fold in folds
        for row in [fold.rows[number]]
    ]
    columns = ("method", "threshold", "sections", "for V_rand", "for 3D", *SCORES.values())
    return Table("Cross-validation, by fold", columns, tuple(rows))


def named(sections: tuple[int, int]) -> str:
    """First and last section.

    >>> named((5, 10))
    '5-9'
    """
    return f"{sections[0]}-{sections[1] - 1}"


def mean_and_spread(rows: Sequence[Scored], score: str) -> Cell:
    """Mean of a score and, of two rows or more, the sample standard deviation.

    >>> from types import SimpleNamespace as S
    >>> mean_and_spread([S(v_rand=0.9), S(v_rand=0.7)], "v_rand")
    '0.8000 ± 0.1414'
    """
    values = [getattr(row, score) for row in rows]
    if len(values) == 1:
        return float(values[0])
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"


def marked(method: str, folds: Sequence[FoldScores]) -> str:
    """A method, with a mark where a model had seen what is scored."""
    return f"{method} ({SEEN})" if any(fold.seen for fold in folds) else method


def mean_curves(folds: Sequence[FoldScores]) -> dict[str, list[tuple[float, float, float]]]:
    """Augmentation -> (threshold on P(boundary), V_rand, V_info), means over the folds."""
    return {
        name: [
            (points[0][0], *(statistics.fmean(p[n] for p in points) for n in (1, 2)))
            for points in zip(*(fold.curves[name] for fold in folds), strict=True)
        ]
        for name in folds[0].curves
    }


def mean_partitions(folds: Sequence[FoldScores]) -> dict[str, tuple[float, float]]:
    """Method without a threshold -> V_rand, V_info, means over the folds."""
    return {
        first.method: (
            statistics.fmean(fold.rows[number].v_rand for fold in folds),
            statistics.fmean(fold.rows[number].v_info for fold in folds),
        )
        for number, first in enumerate(folds[0].rows)
        if first.chosen is None
    }

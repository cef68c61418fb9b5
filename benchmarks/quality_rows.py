"""One line of a quality table: what is scored, how, and the table that lines make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from numpy.typing import NDArray

from benchmarks.published import SEEN, Cell, Table, table_markdown
from pipeline.contract import Triple
from pipeline.evaluation.contingency import contingency
from pipeline.evaluation.foreground import mean_score, snemi3d_error
from pipeline.evaluation.isbi import TruthKind, score_labels, truth_sections
from pipeline.evaluation.scores import ObjectScores, score_objects
from pipeline.evaluation.slabs import ArraySections
from pipeline.evaluation.worst import WorstObject, worst_objects


@dataclass(frozen=True)
class Row:
    """One line of a table; ``None`` where a score does not apply."""

    method: str
    threshold: str
    v_rand: float | None
    v_info: float | None
    arand: float | None
    voi_split: float | None
    voi_merge: float | None
    cremi: float | None = None
    snemi3d: float | None = None


SCORES = {
    "v_rand": "V_rand",
    "v_info": "V_info",
    "arand": "adapted Rand error",
    "voi_split": "VOI split",
    "voi_merge": "VOI merge",
    "cremi": "CREMI score",
    "snemi3d": "SNEMI3D error",
}
"""Field of ``Row`` -> heading of its column."""


def map_row(name: str, threshold: str, v_rand: float, v_info: float) -> Row:
    """Scores of a map section by section."""
    return Row(name, threshold, v_rand, v_info, None, None, None)


def label_row(
    name: str,
    labels: NDArray[Any],
    truth: NDArray[Any],
    membranes: NDArray[Any] | None,
    *,
    kind: TruthKind = "mask",
) -> Row:
    """2D (where there are membranes) and 3D scores of labels.

    Parameters
    ----------
    name
        Of the method.
    labels
        (Z, Y, X) ids.
    truth
        (Z, Y, X) ids; voxels of id 0 are left out of the 3D scores.
    membranes
        (Z, Y, X) truth of V_rand and V_info; ``None``: they are not scored.
    kind
        What ``membranes`` holds.
    """
    v_rand = v_info = None
    if membranes is not None:
        sections = mean_score(score_labels(labels, truth_sections(membranes, kind=kind)))
        v_rand, v_info = sections.v_rand, sections.v_info
    table = contingency(truth, labels)
    objects = score_objects(table)
    return Row(
        name,
        "",
        v_rand,
        v_info,
        objects.arand_error,
        objects.voi_split,
        objects.voi_merge,
        objects.cremi,
        snemi3d_error(table),
    )


def object_scores(labels: NDArray[Any], truth: NDArray[Any]) -> ObjectScores:
    """3D scores; voxels whose truth is 0 are left out."""
    return score_objects(contingency(truth, labels))


def marked(rows: Sequence[Row], seen: Sequence[object]) -> list[Row]:
    """The same rows, or, where a model learned from what is scored, rows that say so."""
    if not seen:
        return list(rows)
    return [replace(row, method=f"{row.method} ({SEEN})") for row in rows]


def score_table(title: str, rows: Sequence[Row], note: str = "") -> Table:
    """The rows as a table; scores that apply to none of them have no column."""
    values = [asdict(row) for row in rows]
    scores = [name for name in SCORES if any(row[name] is not None for row in values)]
    cells: list[tuple[Cell, ...]] = [
        (row["method"], row["threshold"] or None, *(row[name] for name in scores)) for row in values
    ]
    heads = ("method", "threshold", *(SCORES[name] for name in scores))
    return Table(title, heads, tuple(cells), note)


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    return table_markdown(score_table("", rows))


def worst_table(
    labels: NDArray[Any], truth: NDArray[Any], origin: Triple = (0, 0, 0), count: int = 10
) -> Table:
    """The objects that carry most of the variation of information.

    Parameters
    ----------
    labels, truth
        (Z, Y, X) ids, as for ``label_row``.
    origin
        zyx of their first voxel in the data set.
    count
        Rows at most.
    """
    found = worst_objects(
        contingency(truth, labels),
        ArraySections(labels, truth),
        count=count,
        origin=origin,
        most_pieces=3,
    )
    return Table(
        f"The {count} worst errors",
        ("error", "id", "voxels", "bits of VOI", "share", "largest pieces: voxels at z, y, x"),
        tuple(_worst_row(one) for one in found),
        "Of the lifted multicut. A split is a true object in several predicted ones, a merge a "
        "predicted object that holds several true ones; the share is that of all splits (merges).",
    )


def _worst_row(one: WorstObject) -> tuple[Cell, ...]:
    pieces = [f"{piece.voxels} at {', '.join(map(str, piece.at))}" for piece in one.pieces]
    if one.more_pieces:
        pieces.append(f"{one.more_pieces} more")
    return one.kind, one.id, one.voxels, one.bits, f"{one.share:.1%}", "; ".join(pieces)

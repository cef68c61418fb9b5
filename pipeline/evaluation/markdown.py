"""Scores as Markdown tables, for people."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.evaluation.isbi import ThresholdScore
from pipeline.evaluation.scores import MapScores, Scores

_OBJECT_TITLES = {
    "arand_error": "adapted Rand error",
    "arand_precision": "adapted Rand precision",
    "arand_recall": "adapted Rand recall",
    "rand_index": "Rand index",
    "voi_split": "VOI split (bits)",
    "voi_merge": "VOI merge (bits)",
    "cremi": "CREMI score",
    "objects_truth": "objects in truth",
    "objects_prediction": "objects in prediction",
}
_BOUNDARY_TITLES = {
    "v_rand": "V_rand",
    "v_rand_split": "V_rand split",
    "v_rand_merge": "V_rand merge",
    "v_info": "V_info",
    "v_info_split": "V_info split",
    "v_info_merge": "V_info merge",
}


def as_markdown(scores: Scores | MapScores) -> str:
    """The main numbers as a Markdown table, for people."""
    if isinstance(scores, MapScores):
        return _table(
            ("threshold", "V_rand", "split", "merge", "V_info", "split", "merge"),
            [_map_cells(row) for row in scores.rows],
        )
    columns = (scores.volume, scores.section_objects)
    lines = [
        (title, *("–" if part is None else f"{getattr(part, name):.4g}" for part in columns))
        for name, title in _OBJECT_TITLES.items()
    ]
    means = scores.section_boundary.model_dump()
    lines += [(title, "–", f"{means[name]:.4f}") for name, title in _BOUNDARY_TITLES.items()]
    return _table(("score", "3D", "mean of sections"), lines)


def _map_cells(row: ThresholdScore) -> tuple[str, ...]:
    values = row.model_dump()
    return (f"{row.threshold:g}", *(f"{values[name]:.4f}" for name in _BOUNDARY_TITLES))


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines)) + "\n"

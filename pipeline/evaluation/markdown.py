"""Scores as Markdown tables, for people."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.evaluation.families import ChallengeScores, FamilyScores
from pipeline.evaluation.instance import InstanceScores
from pipeline.evaluation.isbi import ThresholdScore
from pipeline.evaluation.pixels import PixelMapScores
from pipeline.evaluation.scores import MapScores, Scores
from pipeline.evaluation.semantic import ClassScore, SemanticScores
from pipeline.evaluation.skeletons import RunLength
from pipeline.evaluation.worst import WorstObject

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
_INSTANCE_TITLES = {
    "ap_50": "AP-50",
    "ap_75": "AP-75",
    "mean_ap": "mAP",
    "ranked_ap_50": "AP-50 by size",
    "ranked_ap_75": "AP-75 by size",
    "ranked_mean_ap": "mAP by size",
    "aji": "AJI",
    "pq": "PQ",
    "sq": "segmentation quality",
    "rq": "recognition quality",
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


def families_as_markdown(scores: FamilyScores) -> str:
    """A Markdown table for every family that was asked for, an empty line before each."""
    tables = []
    if scores.instance:
        tables.append(_instances(scores.instance))
    for title, classes in (("semantic", scores.semantic), ("classes", scores.classes)):
        if classes:
            tables.append(_classes(title, classes))
    if scores.challenges:
        tables.append(_challenges(scores.challenges))
    if scores.run_length:
        tables.append(_run_length(scores.run_length))
    if scores.worst is not None:
        tables.append(_worst(scores.worst))
    return "".join("\n" + table for table in tables)


def _instances(scores: InstanceScores) -> str:
    values = vars(scores)
    lines = [(title, f"{values[name]:.4f}") for name, title in _INSTANCE_TITLES.items()]
    return _table(("instance", "3D"), lines)


def _classes(title: str, scores: SemanticScores) -> str:
    rows: list[tuple[str, ClassScore]] = [(f"class {n}", row) for n, row in scores.classes.items()]
    return _table(
        (title, "accuracy", "precision", "recall", "F1 = Dice", "Jaccard", "conformity"),
        [
            (name, *("–" if value is None else f"{value:.4f}" for value in vars(row).values()))
            for name, row in [*rows, ("mean of classes", scores.macro)]
        ]
        + [("all voxels", f"{scores.accuracy:.4f}", *["–"] * 5)],
    )


def _challenges(scores: ChallengeScores) -> str:
    isbi, error = scores.isbi, scores.snemi3d_error
    best = " (best threshold)" if isinstance(isbi, PixelMapScores) else ""
    lines = [] if error is None else [("SNEMI3D's error", f"{error:.4f}")]
    lines += [
        (f"pixel error{best}", f"{isbi.pixel_error:.5f}"),
        (f"1 - F-score of pixels{best}", f"{isbi.pixel_f_error:.5f}"),
        (f"warping error{best}", f"{isbi.warping_error:.3g}"),
    ]
    return _table(("challenges", "value"), lines)


def _run_length(scores: RunLength) -> str:
    shares = ("correct", "split", "merged", "omitted")
    values = vars(scores)
    lines = [
        ("expected run length (µm)", f"{scores.expected_nm / 1000:.3f}"),
        ("of a perfect segmentation (µm)", f"{scores.perfect_nm / 1000:.3f}"),
        ("all skeletons (µm)", f"{scores.length_nm / 1000:.3f}"),
        *((f"length {name} (share)", f"{values[name]:.4f}") for name in shares),
        ("segments that merge skeletons", f"{scores.mergers}"),
    ]
    return _table(("skeletons", "value"), lines)


def _worst(rows: Sequence[WorstObject]) -> str:
    return _table(
        ("worst", "object", "voxels", "VOI (bits)", "share", "pieces: id (voxels, bits) at z,y,x"),
        [
            (
                row.kind,
                f"{row.id}",
                f"{row.voxels}",
                f"{row.bits:.4g}",
                f"{row.share:.1%}",
                "; ".join(
                    f"{piece.id} ({piece.voxels}, {piece.bits:.3g}) at "
                    + ",".join(map(str, piece.at))
                    for piece in row.pieces
                )
                + (f"; {row.more_pieces} more" if row.more_pieces else ""),
            )
            for row in rows
        ],
    )


def _map_cells(row: ThresholdScore) -> tuple[str, ...]:
    values = row.model_dump()
    return (f"{row.threshold:g}", *(f"{values[name]:.4f}" for name in _BOUNDARY_TITLES))


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines)) + "\n"

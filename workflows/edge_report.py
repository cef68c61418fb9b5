"""What is reported of fitted forests: numbers, a page, a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from pipeline.forests.calibration import Reliability, reliability
from pipeline.views.files import save_figure
from pipeline.views.forest_figure import ForestPanel, forest_figure
from workflows.column_families import family_of, log_loss
from workflows.edge_forests import Forests
from workflows.forest_fitting import Evidence, Fitted

SHOWN_COLUMNS = 20
Report = dict[str, Any]


def forests_report(forests: Forests) -> dict[str, Report]:
    """Numbers of each forest, by the name of its kind: edges, edges_across, lifted."""
    return {kind: fitted_report(one) for kind, one in fitted_by_kind(forests).items()}


def fitted_by_kind(forests: Forests) -> dict[str, Fitted]:
    """Each forest that was fitted."""
    across = {} if forests.across is None else {"edges_across": forests.across}
    return {"edges": forests.edges, **across, "lifted": forests.lifted}


def fitted_report(fitted: Fitted) -> Report:
    """Numbers of one forest, on places that it did not learn from.

    Parameters
    ----------
    fitted
        With its evidence.

    Returns
    -------
    report
        JSON: ``rows``, ``clear``, ``learned_from``; the scores of ``scores`` for all rows and
        for those ``within_sections`` and ``across_sections``; ``before_calibration``;
        ``out_of_bag``;
        ``reliability`` before and after; importance of columns and families.
    """
    one = fitted.evidence
    return {
        "rows": fitted.rows,
        "clear": fitted.clear,
        "learned_from": len(one.label),
        "trees": fitted.forest.trees,
        "nodes": len(fitted.forest.feature),
        "columns": len(one.names),
        **scores(one.p_cut, one.label),
        "before_calibration": scores(one.votes, one.label),
        "out_of_bag": scores(one.out_of_bag, one.label),
        "within_sections": scores(one.p_cut[~one.across], one.label[~one.across]),
        "across_sections": scores(one.p_cut[one.across], one.label[one.across]),
        "reliability": {
            "votes": reliability_rows(reliability(one.votes, one.label)),
            "p_cut": reliability_rows(reliability(one.p_cut, one.label)),
        },
        "calibration": {
            "x": [float(x) for x in fitted.forest.calibration_x],
            "y": [float(y) for y in fitted.forest.calibration_y],
        },
        "importance": top_columns(one),
        "importance_by_family": importance_by_family(one),
        "shuffled_family_log_loss": one.family_loss,
    }


def scores(p_cut: NDArray[Any], label: NDArray[Any]) -> Report:
    """How good probabilities are.

    Parameters
    ----------
    p_cut
        (n,) 0..1.
    label
        (n,) 1 = cut.

    Returns
    -------
    scores
        ``edges``, ``cut_share``, ``auc`` (None with one class only), ``accuracy`` at 0.5,
        ``log_loss`` in nats, ``brier`` (mean squared error), ``calibration_error`` (expected,
        20 bins of equal width); without rows only ``edges``.
    """
    cut = np.asarray(label, bool)
    if not len(cut):
        return {"edges": 0}
    return {
        "edges": len(cut),
        "cut_share": float(cut.mean()),
        "auc": float(roc_auc_score(cut, p_cut)) if 0 < cut.mean() < 1 else None,
        "accuracy": float(((p_cut > 0.5) == cut).mean()),
        "log_loss": log_loss(p_cut, cut),
        "brier": float(np.mean((np.asarray(p_cut, np.float64) - cut) ** 2)),
        "calibration_error": reliability(p_cut, cut).error,
    }


def reliability_rows(table: Reliability) -> list[dict[str, float]]:
    """Bins that hold rows: mean predicted P(cut), observed share of cuts, number of rows."""
    return [
        {"predicted": float(p), "observed": float(o), "count": int(n)}
        for p, o, n in zip(table.predicted, table.observed, table.count, strict=True)
        if n
    ]


def top_columns(evidence: Evidence) -> dict[str, float]:
    """The most important columns, the first first."""
    order = np.argsort(-evidence.importance, kind="stable")[:SHOWN_COLUMNS]
    return {evidence.names[n]: float(evidence.importance[n]) for n in order}


def importance_by_family(evidence: Evidence) -> dict[str, float]:
    """Sum over the columns of each family, in the order of the columns."""
    total: dict[str, float] = {}
    for name, value in zip(evidence.names, evidence.importance, strict=True):
        total[family_of(name)] = total.get(family_of(name), 0.0) + float(value)
    return total


def write_report(
    folder: Path, name: str, forests: Forests, shipped: Mapping[str, Report] | None = None
) -> dict[str, Report]:
    """Write ``<name>.json``, ``<name>.md`` and ``<name>.png``.

    Parameters
    ----------
    folder
        Where to.
    name
        Of the training.
    forests
        With their evidence.
    shipped
        Scores of the shipped forests on the same edges, by kind.

    Returns
    -------
    report
        What the JSON file holds, by kind.
    """
    report = forests_report(forests)
    for kind, one in (shipped or {}).items():
        report[kind]["shipped"] = one
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / f"{name}.md").write_text(page(name, report))
    panels = {kind: _panel(one) for kind, one in fitted_by_kind(forests).items()}
    save_figure(folder / f"{name}.png", forest_figure(panels))
    return report


def _panel(fitted: Fitted) -> ForestPanel:
    one = fitted.evidence
    false_positive, true_positive, _ = roc_curve(one.label, one.p_cut)
    return ForestPanel(
        votes=reliability(one.votes, one.label),
        p_cut=reliability(one.p_cut, one.label),
        false_positive=false_positive,
        true_positive=true_positive,
        columns=top_columns(one),
        families=importance_by_family(one),
    )


TITLES = {
    "edges": "Regular edges",
    "edges_across": "Edges across sections",
    "lifted": "Lifted edges",
}
SCORES = {
    "edges": "edges",
    "cut_share": "cut",
    "auc": "AUC",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}


def page(name: str, report: Mapping[str, Report]) -> str:
    """The report as Markdown."""
    lines = [
        f"# Forests of the training {name}",
        "",
        "Scores are of forests that learned from other places of the same volumes (five places a "
        "part), calibrated there; only the line `out of bag` is of trees of the kept forest that "
        "did not learn from the edge itself. Log loss in nats; calibration error = mean difference "
        "between predicted and observed share of cuts in 20 bins.",
    ]
    for kind, one in report.items():
        lines += ["", f"## {TITLES[kind]}", "", *_section(one)]
    return "\n".join([*lines, "", f"![Reliability, ROC and importance]({name}.png)", ""])


def _section(one: Report) -> list[str]:
    rows = {
        "calibrated": one,
        "not calibrated": one["before_calibration"],
        "out of bag": one["out_of_bag"],
        "within sections": one["within_sections"],
        "across sections": one["across_sections"],
    }
    if "shipped" in one:
        rows["shipped forest, same edges"] = one["shipped"]
    return [
        f"{one['learned_from']:,} of {one['clear']:,} clear edges of {one['rows']:,} taught "
        f"{one['trees']} trees ({one['nodes']:,} nodes) on {one['columns']} columns.",
        "",
        f"| | {' | '.join(SCORES.values())} |",
        f"|---|{'---:|' * len(SCORES)}",
        *(
            f"| {title} | {' | '.join(_number(values.get(key)) for key in SCORES)} |"
            for title, values in rows.items()
        ),
        "",
        "| family | impurity taken away | log loss added by shuffling |",
        "|---|---:|---:|",
        *(
            f"| {family} | {share:.3f} | {one['shuffled_family_log_loss'][family]:.4f} |"
            for family, share in one["importance_by_family"].items()
        ),
        "",
        "Most important columns: "
        + ", ".join(f"`{column}` {share:.3f}" for column, share in one["importance"].items())
        + ".",
    ]


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"

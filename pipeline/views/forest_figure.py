"""A page about forests: reliability, ROC curve, importance of columns and of families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.forests.calibration import Reliability

INK, MUTED, ACCENT = "#1c1c1c", "#9a9a9a", "#1f6fb4"
PANEL_INCHES = (4.2, 4.0)


@dataclass(frozen=True, eq=False)
class ForestPanel:
    """What is drawn of one forest, one row of the page.

    Parameters
    ----------
    votes, p_cut
        Predicted against observed, before and after calibration.
    false_positive, true_positive
        (k,) rates 0..1 along the ROC curve.
    columns
        Most important columns, the first first.
    families
        Importance of all columns of a family.
    """

    votes: Reliability
    p_cut: Reliability
    false_positive: NDArray[np.float64]
    true_positive: NDArray[np.float64]
    columns: Mapping[str, float]
    families: Mapping[str, float]


def forest_figure(panels: Mapping[str, ForestPanel]) -> Figure:
    """One row a forest, under its name.

    Parameters
    ----------
    panels
        Name -> what is drawn.

    Returns
    -------
    figure
        To be saved by ``save_figure``.
    """
    width, height = PANEL_INCHES
    figure = Figure(figsize=(4 * width, height * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 4, squeeze=False)
    for row, (name, panel) in zip(axes, panels.items(), strict=True):
        _reliability(row[0], name, panel)
        _roc(row[1], panel)
        _bars(row[2], "Importance of families", panel.families)
        _bars(row[3], f"The {len(panel.columns)} most important columns", panel.columns)
    return figure


def _reliability(axes: Any, name: str, panel: ForestPanel) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
    for title, table, colour in (("votes", panel.votes, MUTED), ("P(cut)", panel.p_cut, ACCENT)):
        filled = table.count > 0
        label = f"{title}, error {table.error:.3f}"
        axes.plot(
            table.predicted[filled],
            table.observed[filled],
            marker="o",
            markersize=4,
            color=colour,
            label=label,
        )
    axes.set(
        title=f"{name}: reliability", xlabel="predicted P(cut)", ylabel="observed share of cuts"
    )
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    axes.set_aspect("equal")


def _roc(axes: Any, panel: ForestPanel) -> None:
    area = float(np.trapezoid(panel.true_positive, panel.false_positive))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
    axes.plot(panel.false_positive, panel.true_positive, color=ACCENT)
    axes.set(title=f"ROC, area {area:.4f}", xlabel="joins called cut", ylabel="cuts called cut")
    axes.set_aspect("equal")


def _bars(axes: Any, title: str, values: Mapping[str, float]) -> None:
    places = np.arange(len(values))
    axes.barh(places, list(values.values()), color=ACCENT)
    axes.set_yticks(places, list(values), fontsize=7, color=INK)
    axes.invert_yaxis()
    axes.set(title=title, xlabel="share of the impurity taken away")

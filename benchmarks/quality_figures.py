"""Pictures of a quality benchmark: scores over the threshold, and one section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.published import SEEN
from benchmarks.quality import LIFTED, MULTICUT, Row
from benchmarks.quality_rows import SCORES
from pipeline.views.montage import montage
from pipeline.views.pictures import plane_panels

PARTS = {
    "v_rand": "mean over sections, after thinning",
    "arand": "components of the map inside themselves, before they are grown",
}
"""What the curves of a score are measured on."""
IN_TABLE = "rows of the table (3D: grown)"
DASHES = ("--", ":", "-.")
COLOURS = tuple(mpl.color_sequences["tab10"])


def quality_figures(
    rows: list[Row], result: Mapping[str, Any], *, further: tuple[str, ...] = ()
) -> dict[str, Figure]:
    """Curves of every score, and the middle section.

    Parameters
    ----------
    rows, result
        Of ``quality.run``.
    further
        Methods, beside the multicuts, that are drawn as lines.
    """
    part = result["part"]
    middle = len(result["raw"]) // 2
    drawn = {
        f"thresholds-{score}": threshold_figure(
            score,
            curves,
            levels(rows, score, (MULTICUT, LIFTED, *further)),
            points(rows, score),
        )
        for score, curves in result["curves"].items()
    }
    heading = f"{part.name}, z = {part.validate[0] + middle}"
    drawn["section"] = section_figure(result, middle, part.voxel_size_nm, heading)
    return drawn


def levels(rows: list[Row], score: str, methods: tuple[str, ...]) -> dict[str, float]:
    """Scores of methods that have no threshold; those they do not apply to are left out."""
    found = {row.method: getattr(row, score) for row in rows if not row.threshold}
    return {
        name: value
        for name, value in found.items()
        if value is not None and name.removesuffix(f" ({SEEN})") in methods
    }


def points(rows: list[Row], score: str) -> dict[str, list[tuple[float, float]]]:
    """Map -> threshold and score of its rows."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        value = getattr(row, score)
        if row.threshold and value is not None:
            name = row.method.removesuffix(f" ({SEEN})")
            found.setdefault(name, []).append((float(row.threshold.split()[0]), value))
    return found


def threshold_figure(
    score: str,
    curves: Mapping[str, Mapping[float, float]],
    lines: Mapping[str, float],
    marks: Mapping[str, Sequence[tuple[float, float]]] = {},
) -> Figure:
    """A score of maps over the threshold.

    Parameters
    ----------
    score
        Field of ``Row``.
    curves
        Map -> threshold on P(boundary), 0..1 -> score.
    lines
        Method without threshold -> score of its labels.
    marks
        Map -> threshold and score of its rows in the table, whose components are grown.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(list(curve), list(curve.values()), marker="o", ms=3, color=colour, label=name)
        for threshold, value in marks.get(name, ()):
            axes.plot(threshold, value, marker="X", ms=9, color=colour, markeredgecolor="black")
    if marks:
        axes.plot([], [], "X", ms=9, color="white", markeredgecolor="black", label=IN_TABLE)
    for index, (name, value) in enumerate(lines.items()):
        colour = COLOURS[(len(curves) + index) % len(COLOURS)]
        axes.axhline(
            value, color=colour, linestyle=DASHES[index % len(DASHES)], label=f"{name} (labels)"
        )
    axes.set_xlabel("threshold on P(boundary)")
    axes.set_ylabel(SCORES[score])
    axes.set_title(f"{SCORES[score]}: {PARTS[score]}", fontsize=10, loc="left")
    axes.set_xlim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def section_figure(
    result: Mapping[str, NDArray[Any]], z: int, voxel_size_nm: tuple[float, ...], heading: str
) -> Figure:
    """Raw, boundary map, neurons and truth of one section.

    Parameters
    ----------
    result
        ``raw``, ``boundaries``, ``neurons`` and ``truth``, (Z, Y, X).
    z
        Section.
    voxel_size_nm
        z, y, x.
    heading
        Above the pictures.
    """
    plane = {name: result[name][z] for name in ("raw", "boundaries", "neurons", "truth")}
    height, width = plane["raw"].shape
    extent = (height * voxel_size_nm[1], width * voxel_size_nm[2])
    return montage(list(plane_panels(plane).values()), extent, heading)

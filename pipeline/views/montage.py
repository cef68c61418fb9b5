"""Panels of one plane side by side at its physical aspect, each with a title and a scale bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

INK, PAPER = "#1c1c1c", "#ffffff"
MARGIN, GAP, TITLE, HEADING = 0.25, 0.22, 0.34, 0.5
"""Inches round the page, between panels, above a panel, and above the page."""
PANEL_WIDTH, WIDE_PANEL_WIDTH, PANEL_HEIGHTS = 4.2, 9.5, (0.7, 6.5)


@dataclass(frozen=True)
class Panel:
    """One picture and what it shows.

    Parameters
    ----------
    title
        A few words.
    picture
        (rows, columns, 3) uint8.
    """

    title: str
    picture: NDArray[np.uint8]


def bar_length_nm(width_nm: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that takes up to 30 % of a width.

    >>> bar_length_nm(2048.0)
    500.0
    """
    longest = 0.3 * width_nm
    power: float = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def length_text(length_nm: float) -> str:
    """A length in nanometres, or in micrometres from 1,000 nm up.

    >>> length_text(500.0), length_text(2000.0)
    ('500 nm', '2 µm')
    """
    return f"{length_nm:g} nm" if length_nm < 1000 else f"{length_nm / 1000:g} µm"


def montage(panels: Sequence[Panel], extent_nm: tuple[float, float], heading: str) -> Figure:
    """All panels on one page.

    Parameters
    ----------
    panels
        At least one; all show the same plane.
    extent_nm
        Physical height and width of the plane.
    heading
        Written above the panels.

    Returns
    -------
    figure
        Not bound to a window.
    """
    height_nm, width_nm = extent_nm
    wide = height_nm < 0.55 * width_nm
    columns = 1 if wide else min(len(panels), 3 if len(panels) != 4 else 2)
    rows = -(-len(panels) // columns)
    width = WIDE_PANEL_WIDTH if wide else PANEL_WIDTH
    # A plane of one thin section stays visible: its height is stretched, never below a limit.
    height = float(np.clip(width * height_nm / width_nm, *PANEL_HEIGHTS))
    page_width = 2 * MARGIN + columns * width + (columns - 1) * GAP
    page_height = MARGIN + HEADING + rows * (height + TITLE) + (rows - 1) * GAP + MARGIN / 2
    figure = Figure(figsize=(page_width, page_height), facecolor=PAPER)
    figure.text(
        MARGIN / page_width,
        1 - MARGIN / page_height,
        heading,
        va="top",
        fontsize=14,
        fontweight="bold",
        color=INK,
    )
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        left = MARGIN + column * (width + GAP)
        top = MARGIN / 2 + HEADING + row * (height + TITLE + GAP) + TITLE
        axes = figure.add_axes(
            (
                left / page_width,
                1 - (top + height) / page_height,
                width / page_width,
                height / page_height,
            )
        )
        _show(axes, panel, extent_nm, width, height)
    return figure


def _show(
    axes: Any, panel: Panel, extent_nm: tuple[float, float], width: float, height: float
) -> None:
    """Fill the axes with the panel; coordinates are nanometres."""
    height_nm, width_nm = extent_nm
    # Few pixels are shown as pixels, many are averaged on the way to the page.
    axes.imshow(
        panel.picture,
        extent=(0, width_nm, height_nm, 0),
        aspect="auto",
        interpolation="nearest" if panel.picture.shape[1] < 150 * width else "antialiased",
    )
    axes.set_title(panel.title, loc="left", fontsize=11, color=INK, pad=5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(linewidth=0.8, edgecolor=INK)
    axes.set_xlim(0, width_nm)
    axes.set_ylim(height_nm, 0)
    draw_scale_bar(axes, extent_nm, (height, width))


def draw_scale_bar(
    axes: Any,
    extent_nm: tuple[float, float],
    size_inches: tuple[float, float],
    *,
    boxed: bool = True,
) -> None:
    """A labelled bar at the lower left of axes whose x runs from 0 to the width in nanometres.

    Parameters
    ----------
    axes
        Its y runs from 0 at the top to the height in nanometres.
    extent_nm
        Height and width of what the axes show.
    size_inches
        Height and width of the axes on the page.
    boxed
        White on a dark box, for pictures; otherwise dark on the page.
    """
    height_nm, width_nm = extent_nm
    down, right = height_nm / size_inches[0], width_nm / size_inches[1]
    bar, ink = bar_length_nm(width_nm), "white" if boxed else INK
    box = Rectangle(
        (0.1 * right, height_nm - 0.46 * down),
        bar + 0.24 * right,
        0.36 * down,
        facecolor="black",
        alpha=0.6,
        linewidth=0,
    )
    line = Rectangle(
        (0.22 * right, height_nm - 0.19 * down), bar, 0.05 * down, facecolor=ink, linewidth=0
    )
    if boxed:
        axes.add_patch(box)
    axes.add_patch(line)
    axes.text(
        0.22 * right + bar / 2,
        height_nm - 0.225 * down,
        length_text(bar),
        ha="center",
        va="bottom",
        fontsize=8,
        color=ink,
    )

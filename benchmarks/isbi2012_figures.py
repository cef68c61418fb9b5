"""Figures of the ISBI 2012 benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

Curve = Sequence[tuple[float, float, float]]
"""(threshold on P(boundary), V_rand, V_info), rising thresholds."""
LOWEST = 0.85
"""Of the scores that are shown; at extreme thresholds they fall to 0."""
COLOURS = 20
MASKED = 0.15
"""Grey of what is not a segment."""


def over_thresholds(
    curves: Mapping[str, Curve], partitions: Mapping[str, tuple[float, float]], title: str
) -> Figure:
    """V_rand and V_info of maps over the threshold; partitions, which have none, as lines.

    Parameters
    ----------
    curves
        Name of a map -> its scores.
    partitions
        Name -> V_rand, V_info.
    title
        Of the figure.
    """
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(1, 2, sharex=True)
    for column, (axis, score) in enumerate(zip(axes, ("V_rand", "V_info"), strict=True)):
        for number, (name, points) in enumerate(curves.items()):
            x, y = [p[0] for p in points], [p[1 + column] for p in points]
            axis.plot(x, y, ".-", color=f"C{number}", label=name)
        for number, (name, scores) in enumerate(partitions.items(), len(curves)):
            axis.axhline(scores[column], color=f"C{number}", linestyle="--", label=name)
        lowest = min(scores[column] for scores in partitions.values()) if partitions else 1
        axis.set(xlabel="threshold on P(boundary)", ylabel=score, ylim=(min(LOWEST, lowest), 1))
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def side_by_side(
    raw: NDArray[Any], truth: NDArray[Any], segmentations: Mapping[str, NDArray[Any]], title: str
) -> Figure:
    """A section, its truth, and segmentations in the colours of the true objects.

    A segment has the colour of the object that covers most of it: a false split is a line inside
    one colour, a false merge one colour over several objects.

    Parameters
    ----------
    raw
        (Y, X) grey values.
    truth
        (Y, X) ids, 0 = none.
    segmentations
        Name -> (Y, X) ids, 0 = none.
    title
        Of the figure.
    """
    shown = {"truth": truth, **{n: covering(ids, truth) for n, ids in segmentations.items()}}
    figure = Figure(figsize=(4 * (1 + len(shown)), 4.4), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(1, 1 + len(shown))
    axes[0].imshow(raw, cmap="gray")
    axes[0].set_title("raw")
    for axis, (name, ids) in zip(axes[1:], shown.items(), strict=True):
        axis.imshow(coloured(ids), interpolation="nearest")
        axis.set_title(name)
    for axis in axes:
        axis.axis("off")
    return figure


def covering(ids: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.int64]:
    """For every pixel of a segment the true id, not 0, that covers most of the segment.

    >>> covering(np.array([[1, 1, 1, 0, 2]]), np.array([[7, 7, 5, 5, 0]])).tolist()
    [[7, 7, 7, 0, 0]]
    """
    _, where = np.unique(ids, return_inverse=True)
    segments = where.reshape(ids.shape)
    shared = np.zeros((int(segments.max()) + 1, int(truth.max()) + 1), np.int64)
    np.add.at(shared, (segments, truth), 1)
    shared[:, 0] = 0
    most: NDArray[np.int64] = np.where(ids == 0, 0, shared.argmax(axis=1)[segments])
    return most


def coloured(ids: NDArray[Any]) -> NDArray[np.float64]:
    """(Y, X, 3) colours 0..1 of (Y, X) ids: the same id has the same colour; 0 is dark."""
    names, where = np.unique(ids, return_inverse=True)
    shuffled = np.random.default_rng(0).permutation(int(names.max()) + 1)[names]
    colours = colormaps["tab20"](shuffled % COLOURS)[:, :3]
    colours[names == 0] = MASKED
    painted: NDArray[np.float64] = colours[where.reshape(ids.shape)]
    return painted

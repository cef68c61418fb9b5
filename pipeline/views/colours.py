"""Colours of label ids that stay the same in every picture, and overlays over grey values."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray
from scipy import ndimage

OPACITY = 0.45
DISPLAY_PERCENTILES = (0.5, 99.5)
PIXELS_PER_LINE = 800


def colours_of(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour of every label; it depends on the id alone.

    Parameters
    ----------
    labels
        Integers of any shape; 0 is background.

    Returns
    -------
    colours
        ``labels.shape + (3,)`` uint8 red, green, blue; 0 is black, all else is vivid.
    """
    ids, index = np.unique(labels, return_inverse=True)
    mixed = _mix(ids.astype(np.uint64))
    hue, saturation, value = (
        (mixed >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32)
    )
    hsv = np.stack(
        [hue / 65536, 0.5 + 0.45 * saturation / 65535, 0.75 + 0.25 * value / 65535], axis=-1
    )
    colours = np.rint(255 * hsv_to_rgb(hsv)).astype(np.uint8)
    colours[ids == 0] = 0
    coloured: NDArray[np.uint8] = colours[index.reshape(labels.shape)]
    return coloured


def _mix(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter ids over 64 bits, so that consecutive ids differ (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        mixed = ids + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values stretched between their percentiles for display.

    Parameters
    ----------
    image
        (Y, X) numbers; a constant image becomes black, NaN becomes black.

    Returns
    -------
    picture
        (Y, X, 3) uint8.
    """
    values = np.nan_to_num(image.astype(np.float32))
    low, high = np.percentile(values, DISPLAY_PERCENTILES)
    scaled = np.clip((values - low) / max(float(high - low), 1e-12), 0, 1)
    return np.repeat(np.rint(255 * scaled).astype(np.uint8)[..., None], 3, axis=-1)


def outlines(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Borders between labels, as wide as it takes to be seen on a page.

    Parameters
    ----------
    labels
        (Y, X) integers.

    Returns
    -------
    edge
        (Y, X) bool: pixels whose right or lower neighbour has another id; in pictures of more
        than ``PIXELS_PER_LINE`` pixels the lines are wider in proportion.
    """
    edge = np.zeros(labels.shape, bool)
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    width = -(-max(labels.shape) // PIXELS_PER_LINE)
    return np.asarray(ndimage.maximum_filter(edge, width), bool) if width > 1 else edge


def outlined(
    picture: NDArray[np.uint8], labels: NDArray[Any], colour: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The picture (Y, X, 3) with the borders of the labels (Y, X) drawn in one colour."""
    drawn = picture.copy()
    drawn[outlines(labels)] = colour
    return drawn


def painted(picture: NDArray[np.uint8], labels: NDArray[Any]) -> NDArray[np.uint8]:
    """The picture with labels over it: translucent in their colour, outlined in full colour.

    Parameters
    ----------
    picture
        (Y, X, 3) uint8.
    labels
        (Y, X) integers; where they are 0 the picture stays as it is.

    Returns
    -------
    painted
        (Y, X, 3) uint8, a new array.
    """
    colours = colours_of(labels)
    blend = (1 - OPACITY) * picture + OPACITY * colours
    opacity = (labels != 0)[..., None]
    drawn = np.where(opacity, np.rint(blend).astype(np.uint8), picture)
    edge = outlines(labels) & (labels != 0)
    drawn[edge] = colours[edge]
    return drawn

"""Elastic distortion: smooth random displacements, in pixels of the crop.

Either splines through control points, or the field of Simard et al., "Best practices for
convolutional neural networks applied to visual document analysis", ICDAR 2003: every pixel is
displaced by a uniform number in -1..1, the field is smoothed by a Gaussian of standard deviation
sigma, and multiplied by alpha.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TRUNCATED = 3.0
"""Standard deviations at which the Gaussian ends."""
POINTS_PER_SIGMA = 4
"""The smoothed field is computed on so fine a lattice, and splines lie between."""


def gaussian(sigma: float) -> Tensor:
    """Weights of a Gaussian at whole numbers, (2 r + 1,) float32, whose sum is 1."""
    radius = max(1, round(TRUNCATED * sigma))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (axis / sigma) ** 2)
    return kernel / kernel.sum()


def control_point_field(
    side: int, finer: int, deviation: float, spacing: int, generator: torch.Generator
) -> Tensor:
    """Displacements by a spline through random control points.

    Parameters
    ----------
    side
        Of the crop, in pixels.
    finer
        Samples along a pixel's edge.
    deviation
        Standard deviation of a control point, in pixels.
    spacing
        Of the control points, in pixels.
    generator
        Of all that is random.

    Returns
    -------
    field
        (2, side * finer, side * finer) float32 x, y in pixels.
    """
    points = side // spacing + 3
    coarse = torch.randn(1, 2, points, points, generator=generator) * deviation
    size = (side * finer, side * finer)
    return F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)[0]


def simard_deviation(alpha: float, sigma: float) -> float:
    """Standard deviation of Simard's displacements, in pixels.

    A uniform number in -1..1 has the variance 1/3, and a Gaussian leaves 1 / (4 pi sigma²) of it.

    >>> round(simard_deviation(2500, 50), 2)
    8.14
    """
    return alpha / (2 * sigma * math.sqrt(3 * math.pi))


def simard_field(
    side: int, finer: int, alpha: float, sigma: float, generator: torch.Generator
) -> Tensor:
    """Displacements by Simard's field.

    A sum of so many uniform numbers is normally distributed, so the noise is drawn normal, and on
    a lattice as fine as the Gaussian needs; deviation and correlation are those of the original.

    Parameters
    ----------
    side, finer, generator
        See ``control_point_field``.
    alpha
        Factor of the smoothed field, in pixels.
    sigma
        Standard deviation of the Gaussian, in pixels.

    Returns
    -------
    field
        (2, side * finer, side * finer) float32 x, y in pixels.
    """
    spacing = max(1, int(sigma / POINTS_PER_SIGMA))
    kernel = gaussian(sigma / spacing)
    points = math.ceil((side - 1) / spacing) + 1
    noise = torch.randn(2, 1, *(points + len(kernel) - 1,) * 2, generator=generator)
    smooth = F.conv2d(F.conv2d(noise, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    smooth *= simard_deviation(alpha, sigma) / float((kernel**2).sum())
    covered = ((points - 1) * spacing + 1) * finer
    fine = F.interpolate(smooth, size=(covered, covered), mode="bicubic", align_corners=True)
    return fine[:, 0, : side * finer, : side * finer]

"""Channels that features are measured on: the inputs and their filter responses, as uint8.

Every response is quantised over a fixed range, so that statistics of it are integers and
merge exactly, and does not depend on where a block begins (see ``filters``). Grey values are
in levels, 0..255. With sigma s in in-plane voxels:

============= ==================== =============================================================
channel       levels 0..255        why
============= ==================== =============================================================
gaussian      0..255               range of the input
gradient      0..255/(s sqrt 2 pi) that of a smoothed step from black to white
laplacian     +-123/s^2            that of a smoothed sheet of the width that it answers most
hessian0, ... +-123/s^2            likewise; largest eigenvalue first
structure0,.. 0..167/(s sqrt 2 pi) root of the mean squared gradient around a straight step from
                                   black to white; largest eigenvalue first
============= ==================== =============================================================

Rounded, 128 is 0 of a channel with a sign. A value beyond the range is clipped to it: a blob's
Laplacian, or a texture of many steps in the structure tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import UINT8_MAX, Triple, VolumeInfo
from pipeline.features.config import FeaturesConfig
from pipeline.features.filters import Factors, Windows, responses

INPUTS = ("raw", "boundary")
TRUNCATE = 3.0
"""Radius of the inner window, in standard deviations."""
OUTER = 1.5
"""Standard deviation of the structure tensor's window, in those of the inner one: wide enough
to take in both sides of a membrane whose width fits the scale."""
OUTER_TRUNCATE = 2.0
"""Radius of that window, in its standard deviations: a mean needs no smooth end."""


@dataclass(frozen=True)
class Scale:
    """One scale of the filters.

    Parameters
    ----------
    sigma
        Of the inner Gaussian, in in-plane voxels.
    axes
        Along z, y, x: in-plane voxels in one voxel, inverted: 1 in plane, less along a
        coarser z, 0 along z where sections are filtered one by one.
    """

    sigma: float
    axes: tuple[float, float, float]

    @property
    def radius(self) -> Triple:
        """Voxels on either side of one that its responses depend on."""
        # 1 more for the finite difference
        z, y, x = (
            len(inner) + len(outer) - 1 if axis else 0
            for inner, outer, axis in zip(self.inner, self.outer, self.axes, strict=True)
        )
        return z, y, x

    @property
    def inner(self) -> Windows:
        """Weights of the smoothing before differences are taken."""
        return self._windows(self.sigma, TRUNCATE)

    @property
    def outer(self) -> Windows:
        """Weights of the structure tensor's window."""
        return self._windows(OUTER * self.sigma, OUTER_TRUNCATE)

    @property
    def gains(self) -> tuple[float, float, float]:
        """Levels per unit of the gradient, second derivatives, root of the structure tensor."""
        steepest = 1 / (self.sigma * math.sqrt(2 * math.pi))
        curved = 2 * math.exp(-0.5) / (self.sigma**2 * math.sqrt(2 * math.pi))
        # a step's squared slope is a Gaussian of variance 1/2, which the window widens
        mean = (0.5 / (0.5 + OUTER**2)) ** 0.25 * steepest
        return 1 / steepest, 1 / (2 * curved), 1 / mean

    def _windows(self, sigma: float, truncate: float) -> Windows:
        z, y, x = (_window(sigma * axis, truncate) for axis in self.axes)
        return z, y, x


def scales(config: FeaturesConfig, volume: VolumeInfo) -> list[Scale]:
    """The scales of a configuration in a volume's voxels."""
    flat = config.resolved(volume).mode == "2d"
    finest = min(volume.voxel_size_nm[1:])
    z, y, x = (finest / n for n in volume.voxel_size_nm)
    return [Scale(sigma, (0.0 if flat else z, y, x)) for sigma in config.sigmas_voxels]


def sources(config: FeaturesConfig) -> tuple[str, ...]:
    """The inputs whose appearance along edges is asked for."""
    return tuple(source for source in INPUTS if source in config.families)


def response_names(config: FeaturesConfig) -> list[str]:
    """Names of the filter responses at one scale; ``config`` is resolved."""
    directions = range(2 if config.flat else 3)
    eigenvalues = [f"{name}{k}" for name in ("hessian", "structure") for k in directions]
    return ["gaussian", "gradient", "laplacian", *eigenvalues]


def channel_names(config: FeaturesConfig) -> list[str]:
    """Names of the channels of edges, by source, then scale; ``config`` is resolved.

    >>> channel_names(FeaturesConfig(families=("raw",), mode="2d", sigmas_voxels=(2.5,)))[:3]
    ['raw', 'raw_gaussian_2.5', 'raw_gradient_2.5']
    """
    return [
        name
        for source in sources(config)
        for name in (
            source,
            *(
                f"{source}_{response}_{sigma:g}"
                for sigma in config.sigmas_voxels
                for response in response_names(config)
            ),
        )
    ]


def filtered(
    source: str,
    image: NDArray[np.uint8],
    scale: Scale,
    inner: tuple[slice, slice, slice],
) -> NDArray[np.uint8]:
    """Responses of an input at one scale.

    The filters see the boundary map inverted: so boundaries are dark in both inputs, and the
    same response means the same.

    Parameters
    ----------
    source
        ``raw`` or ``boundary``.
    image
        (Z, Y, X) uint8, 0..255 = 0..1; right as far from the array's border (where the
        volume goes on) as ``scale.radius``.
    scale
        Scale of the filters.
    inner
        Voxels of which the responses are wanted.

    Returns
    -------
    channels
        (z, y, x, n) uint8, in the order of ``response_names``.
    """
    if source == "boundary":
        image = np.uint8(UINT8_MAX) - image
    begin = tuple(part.start for part in inner)
    directions = 3 if scale.axes[0] else 2
    shape = tuple(part.stop - part.start for part in inner)
    out = np.empty((*shape, 3 + 2 * directions), np.uint8)
    responses(
        np.ascontiguousarray(image),
        scale.inner,
        scale.outer,
        _singles(scale.axes),
        _singles(scale.gains),
        begin,
        out,
    )
    return out


def _singles(values: tuple[float, float, float]) -> Factors:
    a, b, c = (np.float32(value) for value in values)
    return a, b, c


def _window(sigma: float, truncate: float) -> NDArray[np.float32]:
    """One half of a Gaussian window of sum 1, from its centre outwards."""
    if not sigma:
        return np.ones(1, np.float32)
    reach = int(truncate * sigma + 0.5)
    # one by one: numpy's exponential may depend on a value's place in the array
    half = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(reach + 1)]
    total = half[0] + 2 * sum(half[1:])
    return np.array([weight / total for weight in half], np.float32)

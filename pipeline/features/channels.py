"""Channels that features are measured on: the inputs and their filter responses, as uint8.

Every response is quantised over a fixed range, so that statistics of it are integers and
merge exactly, and does not depend on where a block begins: kernels are finite, and all that
follows them is +, -, *, /, and square roots of single voxels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.contract import UINT8_MAX, Triple, VolumeInfo
from pipeline.features.config import FeaturesConfig
from pipeline.features.curvature import largest_eigenvalue, second_derivatives

TRUNCATE = 3.0
"""Radius of a smoothing kernel, in standard deviations."""
INPUTS = ("raw", "boundary")


@dataclass(frozen=True)
class Scale:
    """One scale of the filters, along z, y, x.

    Parameters
    ----------
    sigma
        Of the Gaussian, in in-plane voxels.
    axes
        In-plane voxels in one voxel, inverted: 1 in plane, less along a coarser z, 0 along z
        where sections are filtered one by one.
    """

    sigma: float
    axes: tuple[float, float, float]

    @property
    def sigmas(self) -> tuple[float, float, float]:
        """Of the Gaussian along z, y, x, in voxels."""
        z, y, x = (self.sigma * axis for axis in self.axes)
        return z, y, x

    @property
    def radius(self) -> Triple:
        """Voxels on either side of one that its responses depend on."""
        # 1 more for the finite difference
        z, y, x = (int(TRUNCATE * s + 0.5) + 1 if s else 0 for s in self.sigmas)
        return z, y, x


def scales(config: FeaturesConfig, volume: VolumeInfo) -> list[Scale]:
    """The scales of a configuration in a volume's voxels."""
    flat = config.resolved(volume).mode == "2d"
    finest = min(volume.voxel_size_nm[1:])
    z, y, x = (finest / n for n in volume.voxel_size_nm)
    return [Scale(sigma, (0.0 if flat else z, y, x)) for sigma in config.sigmas_voxels]


def channel_names(config: FeaturesConfig) -> list[str]:
    """Names of the channels, in the order of ``channels``."""
    return [
        name
        for source in INPUTS
        for name in (
            source,
            *(f"{source}_{f}_{sigma:g}" for sigma in config.sigmas_voxels for f in RESPONSES),
        )
    ]


def channels(
    inputs: Mapping[str, NDArray[np.uint8]], config: FeaturesConfig, volume: VolumeInfo
) -> Iterator[NDArray[np.uint8]]:
    """All channels, one after the other.

    The filters see the boundary map inverted: so boundaries are dark in both inputs, and the
    same response means the same.

    Parameters
    ----------
    inputs
        ``raw`` (normalised) and ``boundary``: (Z, Y, X) uint8, 0..255 = 0..1.
    config, volume
        Choose filters and scales.

    Yields
    ------
    channel
        (Z, Y, X) uint8; right at voxels as far from the array's border (where the volume
        goes on) as the largest ``Scale.radius``.
    """
    for source in INPUTS:
        yield inputs[source]
        image = inputs[source].astype(np.float32) / np.float32(UINT8_MAX)
        if source == "boundary":
            image = np.float32(1) - image
        for scale in scales(config, volume):
            smooth = ndimage.gaussian_filter(image, scale.sigmas, mode="nearest", truncate=TRUNCATE)
            for response in RESPONSES.values():
                yield response(smooth, scale)


def _gaussian(smooth: NDArray[np.float32], scale: Scale) -> NDArray[np.uint8]:
    """Smoothed input, 0..1."""
    return _quantised(smooth)


def _gradient(smooth: NDArray[np.float32], scale: Scale) -> NDArray[np.uint8]:
    """Gradient magnitude, from 0 to that of a smoothed step from 0 to 1."""
    squared = np.zeros_like(smooth)
    for axis, factor in enumerate(scale.axes):
        if factor:
            slope = ndimage.correlate1d(smooth, [-0.5, 0.0, 0.5], axis, mode="nearest")
            slope *= np.float32(factor)
            squared += slope * slope
    steepest = np.float32(1 / (scale.sigma * math.sqrt(2 * math.pi)))
    magnitude: NDArray[np.float32] = np.sqrt(squared)
    return _quantised(magnitude / steepest)


def _valley(smooth: NDArray[np.float32], scale: Scale) -> NDArray[np.uint8]:
    """Largest eigenvalue of the Hessian: high on dark lines and sheets; 127.5 = none.

    Its range is that of the second derivative of anything between 0 and 1, smoothed.
    """
    eigenvalue = largest_eigenvalue(second_derivatives(smooth, scale.axes))
    largest = 2 * math.exp(-0.5) / (scale.sigma**2 * math.sqrt(2 * math.pi))
    return _quantised(eigenvalue / np.float32(2 * largest) + np.float32(0.5))


def _quantised(unit: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0..1 as 0..255, clipped."""
    clipped = np.clip(unit, np.float32(0), np.float32(1)) * np.float32(UINT8_MAX)
    quantised: NDArray[np.uint8] = np.rint(clipped).astype(np.uint8)
    return quantised


RESPONSES: Mapping[str, Callable[[NDArray[np.float32], Scale], NDArray[np.uint8]]] = {
    "gaussian": _gaussian,
    "gradient": _gradient,
    "valley": _valley,
}
"""Filter responses by name; a new one is one function and one line."""

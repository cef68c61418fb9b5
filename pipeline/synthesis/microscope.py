"""From ideal grey values to the noisy sections a microscope delivers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from pipeline.contract import UINT8_MAX, StageConfig


class MicroscopeConfig(StageConfig):
    """Imperfections of imaging."""

    blur_nm: float = Field(
        default=2.0, ge=0, description="Standard deviation of the optical blur, in nanometres."
    )
    electrons: float = Field(
        default=32.0,
        gt=0,
        description="Electrons counted in a voxel of middle grey; fewer are noisier.",
    )
    readout_noise: float = Field(
        default=6.0,
        ge=0,
        description="Standard deviation of the detector's Gaussian noise, in grey values.",
    )
    detector_blur_voxels: float = Field(
        default=0.7, ge=0, description="Standard deviation of the blur after the noise, in voxels."
    )
    brightness_jitter: float = Field(
        default=9.0,
        ge=0,
        description="Standard deviation of brightness over sections, in grey values.",
    )
    contrast_jitter: float = Field(
        default=0.06,
        ge=0,
        le=0.3,
        description="Standard deviation of contrast over sections, relative.",
    )
    shading: float = Field(
        default=7.0,
        ge=0,
        description="Standard deviation of slow shading in a section, in grey values.",
    )


def photograph(
    ideal: NDArray[np.float32],
    shade: NDArray[np.float32],
    voxel_size_nm: tuple[float, float, float],
    rng: np.random.Generator,
    config: MicroscopeConfig,
) -> NDArray[np.uint8]:
    """One section as the microscope delivers it.

    Parameters
    ----------
    ideal
        (Y, X) float32 grey values.
    shade
        (Y, X) float32 slow field of unit variance.
    voxel_size_nm
        zyx.
    rng
        Source of the noise.
    config
        Strength of every imperfection.

    Returns
    -------
    section
        (Y, X) uint8.
    """
    blur = [config.blur_nm / size for size in voxel_size_nm[1:]]
    image = ndimage.gaussian_filter(ideal, blur) + config.shading * shade
    contrast = 1 + config.contrast_jitter * float(rng.standard_normal())
    offset = config.brightness_jitter * float(rng.standard_normal())
    middle = UINT8_MAX / 2
    image = np.clip((image - middle) * contrast + middle + offset, 1, None)
    per_grey = config.electrons / middle
    noisy = rng.poisson(image * per_grey) / per_grey
    noisy += config.readout_noise * rng.standard_normal(image.shape)
    seen: NDArray[np.float64] = ndimage.gaussian_filter(noisy, config.detector_blur_voxels)
    return np.clip(np.rint(seen), 0, UINT8_MAX).astype(np.uint8)

"""Augmentation of crops, all on tensors: one warp a sample, then grey values, then defects.

Rotation, flip, rescaling and elastic distortion are one displacement field, so every crop
is interpolated once.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Magnification = Annotated[float, Field(gt=0, le=100)]


class AugmentationConfig(BaseModel):
    """How far crops are changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: tuple[Magnification, Magnification] = Field(
        (0.75, 1.35), description="Range of the magnification of the source pixels."
    )
    rotation_degrees: float = Field(
        180.0, ge=0, le=180, description="Largest rotation, beside the 8 orientations."
    )
    elastic_pixels: float = Field(
        4.0, ge=0, description="Standard deviation of the elastic displacement, in pixels."
    )
    elastic_spacing: int = Field(
        64, ge=8, description="Distance of the elastic field's control points, in pixels."
    )
    contrast: float = Field(0.35, ge=0, lt=1, description="Largest relative change of contrast.")
    brightness: float = Field(0.15, ge=0, lt=1, description="Largest shift of grey values.")
    gamma: float = Field(0.4, ge=0, lt=2, description="Largest |log2| of the gamma exponent.")
    noise: float = Field(0.06, ge=0, lt=1, description="Largest standard deviation of the noise.")
    blur_sigma: float = Field(1.2, ge=0, le=10, description="Largest Gaussian blur, in pixels.")
    defect_probability: float = Field(
        0.1, ge=0, le=1, description="Chance of a fold or stain: a dark or bright smooth stripe."
    )


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def sampling_grid(
    crop: int,
    height: int,
    width: int,
    config: AugmentationConfig,
    generator: torch.Generator,
    near: tuple[int, int] | None = None,
) -> Tensor:
    """Where in a section of height × width the pixels of a warped crop are read.

    Parameters
    ----------
    crop
        Side of the crop, in pixels.
    height, width
        Of the section.
    config
        How far it is changed.
    generator
        Of all that is random.
    near
        y, x of a pixel that the crop shall hold, not always in its middle; ``None``: its place
        is uniform.

    Returns
    -------
    grid
        (1, crop, crop, 2) x, y in -1..1 (``align_corners=False``); reads outside are to be
        reflected.
    """
    scale = math.exp(_uniform(math.log(config.scale[0]), math.log(config.scale[1]), generator))
    angle = math.radians(_uniform(-config.rotation_degrees, config.rotation_degrees, generator))
    flip = -1.0 if _uniform(0, 1, generator) < 0.5 else 1.0
    axis = torch.arange(crop, dtype=torch.float32) - (crop - 1) / 2
    y, x = torch.meshgrid(axis / scale, axis / scale, indexing="ij")
    cosine, sine = math.cos(angle), math.sin(angle)
    field_x, field_y = flip * (cosine * x - sine * y), sine * x + cosine * y
    if config.elastic_pixels:
        points = crop // config.elastic_spacing + 3
        coarse = torch.randn(1, 2, points, points, generator=generator) * config.elastic_pixels
        fine = F.interpolate(coarse, size=(crop, crop), mode="bicubic", align_corners=True)[0]
        field_x, field_y = field_x + fine[0], field_y + fine[1]
    if near is None:
        centre_x = _uniform(0, width - 1, generator)
        centre_y = _uniform(0, height - 1, generator)
    else:
        aside = (crop / scale) / 4  # a crop that is turned still holds what lies so far aside
        centre_x = near[1] + _uniform(-aside, aside, generator)
        centre_y = near[0] + _uniform(-aside, aside, generator)
    reach = (crop / scale) / 2.5
    centre_x = _inside(centre_x, reach, width)
    centre_y = _inside(centre_y, reach, height)
    grid_x = (2 * (field_x + centre_x) + 1) / width - 1
    grid_y = (2 * (field_y + centre_y) + 1) / height - 1
    return torch.stack((grid_x, grid_y), dim=-1)[None]


def _inside(centre: float, reach: float, length: int) -> float:
    if 2 * reach >= length - 1:
        return (length - 1) / 2
    return min(max(centre, reach), length - 1 - reach)


def warp(raw: Tensor, target: Tensor, known: Tensor, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Raw, target (soft now) and known of one crop, bilinear.

    A pixel stays known only where nothing unknown took part in it.

    Parameters
    ----------
    raw, target, known
        (H, W) float32; ``known`` is 1 where the target teaches.
    grid
        From ``sampling_grid``.

    Returns
    -------
    raw, target, known
        (crop, crop) float32.
    """
    both = torch.stack((raw, target, known))[None]
    warped = F.grid_sample(both, grid, "bilinear", "reflection", align_corners=False)[0]
    warped = warped.clamp(0, 1)  # sums of weights may round to more than 1
    return warped[0], warped[1], (warped[2] > 0.99).float()


def grey_values(raw: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """A crop (H, W), 0..1, as another microscope might have taken it; 0..1 again."""
    if _uniform(0, 1, generator) < config.defect_probability:
        raw = _stripe(raw, generator)
    sigma = _uniform(0, config.blur_sigma, generator)
    if sigma > 0.35 and _uniform(0, 1, generator) < 0.5:
        raw = _blur(raw, sigma)
    raw = raw.clamp(0, 1) ** (2 ** _uniform(-config.gamma, config.gamma, generator))
    contrast = 1 + _uniform(-config.contrast, config.contrast, generator)
    shift = _uniform(-config.brightness, config.brightness, generator)
    raw = (raw - 0.5) * contrast + 0.5 + shift
    noise = _uniform(0, config.noise, generator)
    raw = raw + noise * torch.randn(raw.shape, generator=generator)
    return raw.clamp(0, 1)


def _blur(raw: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (axis / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(raw[None, None], (radius,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1))[0, 0]


def _stripe(raw: Tensor, generator: torch.Generator) -> Tensor:
    height, width = raw.shape
    angle = _uniform(0, math.pi, generator)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    across = (x - width * _uniform(0, 1, generator)) * math.cos(angle) + (
        y - height * _uniform(0, 1, generator)
    ) * math.sin(angle)
    weight = 0.6 * torch.exp(-0.5 * (across / _uniform(3, 15, generator)) ** 2)
    shade = 0.1 if _uniform(0, 1, generator) < 0.7 else 0.95
    return raw * (1 - weight) + shade * weight

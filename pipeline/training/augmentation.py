"""Augmentation of crops, all on tensors: one warp a sample, then grey values, then defects.

Orientation, rotation, rescaling, elastic distortion and the size of a pixel are one
displacement field, so every crop is interpolated once.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.training.elastic import control_point_field, gaussian, simard_field
from pipeline.training.section_defects import SectionDefects, with_missing_section

Magnification = Annotated[float, Field(gt=0, le=100)]


class AugmentationConfig(SectionDefects):
    """How far crops are changed."""

    scale: tuple[Magnification, Magnification] = Field(
        (0.75, 1.35), description="Range of the magnification of the source pixels."
    )
    quarter_turns: bool = Field(
        False,
        description="Draw one of 4 quarter turns; with the flip, which is always drawn, these are "
        "the 8 orientations.",
    )
    rotation_degrees: float = Field(
        180.0, ge=0, le=180, description="Largest rotation beside flip and quarter turns."
    )
    overhang: float = Field(
        0.1,
        ge=0,
        le=0.4,
        description="Largest part of a crop's side beyond the section's border, where it is "
        "reflected; 0: crops as large as the section are the section.",
    )
    elastic_pixels: float = Field(
        4.0, ge=0, description="Standard deviation of the elastic displacement, in pixels."
    )
    elastic_spacing: int = Field(
        64, ge=8, description="Distance of the elastic field's control points, in pixels."
    )
    elastic_alpha: float = Field(
        0.0,
        ge=0,
        description="Simard's factor alpha, in pixels, of an elastic field that takes the place of "
        "the control points; 0 = none.",
    )
    elastic_sigma: float = Field(
        50.0, ge=1, description="Standard deviation of the Gaussian of Simard's field, in pixels."
    )
    contrast: float = Field(0.35, ge=0, lt=1, description="Largest relative change of contrast.")
    brightness: float = Field(0.15, ge=0, lt=1, description="Largest shift of grey values.")
    gamma: float = Field(
        0.4, ge=0, lt=2, description="Largest absolute log2 of the gamma exponent."
    )
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
    covered: tuple[float, float] = (1.0, 1.0),
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
        y, x of a pixel of the section that the crop shall hold, not always in its middle;
        ``None``: its place is uniform.
    covered
        Pixels of the section along y and x that a pixel of the crop covers, before it is
        magnified.

    Returns
    -------
    grid
        (1, n, n, 2) x, y in -1..1 (``align_corners=False``) of ``finer(covered)``² points in
        every pixel of the crop; reads outside are to be reflected.
    """
    scale = math.exp(_uniform(math.log(config.scale[0]), math.log(config.scale[1]), generator))
    angle = math.radians(_uniform(-config.rotation_degrees, config.rotation_degrees, generator))
    flip = -1.0 if _uniform(0, 1, generator) < 0.5 else 1.0
    points = finer(covered)
    axis = (torch.arange(crop * points, dtype=torch.float32) - (crop * points - 1) / 2) / points
    y, x = torch.meshgrid(axis / scale, axis / scale, indexing="ij")
    cosine, sine = math.cos(angle), math.sin(angle)
    field_x, field_y = flip * (cosine * x - sine * y), sine * x + cosine * y
    if config.quarter_turns:
        for _ in range(int(torch.randint(4, (), generator=generator))):
            field_x, field_y = field_y, -field_x
    elastic = _elastic_field(crop, points, config, generator)
    if elastic is not None:
        field_x, field_y = field_x + elastic[0], field_y + elastic[1]
    side_y, side_x = (crop / scale * step for step in covered)
    if near is None:
        centre_x = _uniform(0, width - 1, generator)
        centre_y = _uniform(0, height - 1, generator)
    else:  # a crop that is turned still holds what lies a quarter of its side from its middle
        centre_x = near[1] + _uniform(-side_x / 4, side_x / 4, generator)
        centre_y = near[0] + _uniform(-side_y / 4, side_y / 4, generator)
    shares = 1 / (0.5 - config.overhang)
    centre_x = _inside(centre_x, side_x / shares, width)
    centre_y = _inside(centre_y, side_y / shares, height)
    grid_x = (2 * (field_x * covered[1] + centre_x) + 1) / width - 1
    grid_y = (2 * (field_y * covered[0] + centre_y) + 1) / height - 1
    return torch.stack((grid_x, grid_y), dim=-1)[None]


def finer(covered: tuple[float, float]) -> int:
    """Points along the edge of a crop's pixel, so that none of the section's is passed over.

    >>> [finer((step, step)) for step in (0.5, 1.0, 1.2, 2.0)]
    [1, 1, 2, 2]
    """
    return max(1, math.ceil(max(covered)))


def _elastic_field(
    crop: int, points: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor | None:
    if config.elastic_alpha:
        return simard_field(crop, points, config.elastic_alpha, config.elastic_sigma, generator)
    if config.elastic_pixels:
        return control_point_field(
            crop, points, config.elastic_pixels, config.elastic_spacing, generator
        )
    return None


def _inside(centre: float, reach: float, length: int) -> float:
    if 2 * reach >= length - 1:
        return (length - 1) / 2
    return min(max(centre, reach), length - 1 - reach)


def warp(
    raw: Tensor,
    target: Tensor,
    known: Tensor,
    grid: Tensor,
    shifts: Tensor | None = None,
    points: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Raw, target (soft now) and known of one crop, bilinear.

    A pixel stays known only where nothing unknown took part in it.

    Parameters
    ----------
    raw
        (C, H, W) float32, the section and its neighbours, or (H, W).
    target, known
        (H, W) float32 of the middle section; ``known`` is 1 where the target teaches.
    grid
        From ``sampling_grid``.
    shifts
        (C, 2) x, y that sections are displaced, in pixels of the section; ``None``: by nothing.
    points
        Of the grid along a pixel's edge; a pixel is their mean.

    Returns
    -------
    raw
        (C, crop, crop) float32, or (crop, crop).
    target, known
        (crop, crop) float32.
    """
    stack = raw.reshape(-1, *target.shape)
    both = torch.cat((stack, target[None], known[None]))[None]
    warped = F.grid_sample(both, grid, "bilinear", "reflection", align_corners=False)[0]
    if shifts is not None:
        size = torch.tensor(target.shape[::-1])
        for place in shifts.any(1).nonzero().flatten().tolist():
            moved, section = grid + 2 * shifts[place] / size, stack[place][None, None]
            read = F.grid_sample(section, moved, "bilinear", "reflection", align_corners=False)
            warped[place] = read[0, 0]
    if points > 1:
        warped = F.avg_pool2d(warped[None], points)[0]
    warped = warped.clamp(0, 1)  # sums of weights may round to more than 1
    side = warped.shape[-2:]
    return warped[:-2].reshape(*raw.shape[:-2], *side), warped[-2], (warped[-1] > 0.99).float()


def grey_values(raw: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """A crop as another microscope might have taken it.

    Parameters
    ----------
    raw
        (H, W) or (C, H, W) float32, 0..1. All sections change alike, but for noise and defects.
    config
        How far it is changed.
    generator
        Of all that is random.

    Returns
    -------
    raw
        Of the same shape, 0..1.
    """
    shape, raw = raw.shape, raw.reshape(-1, *raw.shape[-2:])
    if _uniform(0, 1, generator) < config.defect_probability:
        place = int(torch.randint(len(raw), (), generator=generator)) if len(raw) > 1 else 0
        raw = raw.clone()
        raw[place] = _stripe(raw[place], generator)
    raw = with_missing_section(raw, config, generator)
    sigma = _uniform(0, config.blur_sigma, generator)
    if sigma > 0.35 and _uniform(0, 1, generator) < 0.5:
        raw = _blur(raw, sigma)
    raw = raw.clamp(0, 1) ** (2 ** _uniform(-config.gamma, config.gamma, generator))
    contrast = 1 + _uniform(-config.contrast, config.contrast, generator)
    shift = _uniform(-config.brightness, config.brightness, generator)
    raw = (raw - 0.5) * contrast + 0.5 + shift
    noise = _uniform(0, config.noise, generator)
    raw = raw + noise * torch.randn(raw.shape, generator=generator)
    return raw.clamp(0, 1).reshape(shape)


def _blur(raw: Tensor, sigma: float) -> Tensor:
    kernel = gaussian(sigma)
    padded = F.pad(raw[:, None], (len(kernel) // 2,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1))[:, 0]


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

"""Crops of annotated volumes: drawn where something is annotated, seeded by step.

Every voxel with a target is as likely to be near the middle of a crop as any other. Where a
volume is annotated throughout, places are drawn uniformly, which comes to the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.training.augmentation import finer, grey_values, sampling_grid, warp
from pipeline.training.config import TrainingConfig
from pipeline.training.section_defects import displaced_sections
from pipeline.training.volumes import TrainingVolume


def generator_of(seed: int, step: int) -> torch.Generator:
    """The generator of one step."""
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))


def draw(
    volumes: Sequence[TrainingVolume], config: TrainingConfig, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The batch of a step.

    Parameters
    ----------
    volumes
        What to draw from.
    config
        Number, size and changes of the crops.
    step
        Decides, with the seed, all that is random.

    Returns
    -------
    raw
        (N, 2 c + 1, H, W) float32 0..1, where the network sees c neighbours on each side.
    target, known
        (N, H, W) float32 of the middle sections.
    """
    generator = generator_of(config.seed, step)
    weights = torch.tensor([v.weight for v in volumes], dtype=torch.float32)
    chosen = torch.multinomial(weights, config.batch, replacement=True, generator=generator)
    crops = [_crop(volumes[int(i)], config, generator) for i in chosen]
    raw, target, known = (torch.stack(parts) for parts in zip(*crops, strict=True))
    return raw, target, known


def _crop(
    volume: TrainingVolume, config: TrainingConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    axes = volume.axes(config.crop)
    axis = axes[_below(len(axes), generator)] if volume.isotropic else 0
    if volume.is_complete:
        place = _below(volume.raw.shape[axis], generator)
    else:
        place = _weighted(volume.known_voxels[axis], generator)
    section = volume.section(axis, place, config.context_sections)
    near = None if bool(section.known.all()) else _known_pixel(section.known, generator)
    height, width = section.target.shape
    covered = volume.covered(axis, config.pixel_nm)
    grid = sampling_grid(config.crop, height, width, config.augmentation, generator, near, covered)
    shifts = displaced_sections(len(section.raw), config.augmentation, generator)
    raw, target, known = warp(
        section.raw, section.target, section.known, grid, shifts, finer(covered)
    )
    if len(raw) > 1 and _below(2, generator):
        raw = raw.flip(0)  # the stack from below
    return grey_values(raw, config.augmentation, generator), target, known


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _weighted(counts: NDArray[np.int64], generator: torch.Generator) -> int:
    """An index, as likely as its count; any if all are 0."""
    total = np.cumsum(counts)
    if total[-1] == 0:
        return _below(len(counts), generator)
    drawn = int(torch.randint(int(total[-1]), (), generator=generator))
    return int(np.searchsorted(total, drawn, side="right"))


def _known_pixel(known: Tensor, generator: torch.Generator) -> tuple[int, int] | None:
    """y, x of a pixel with a target; ``None`` if there is none."""
    places = known.flatten().nonzero()
    if not len(places):
        return None
    y, x = divmod(int(places[_below(len(places), generator)]), known.shape[1])
    return y, x

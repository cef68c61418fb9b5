"""Crops of annotated volumes: drawn where something is annotated, seeded by step.

Every voxel with a target is as likely to be near the middle of a crop as any other. Where a
volume is annotated throughout, places are drawn uniformly, which comes to the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.training.augmentation import grey_values, sampling_grid, warp
from pipeline.training.config import TrainingConfig
from pipeline.training.targets import IGNORE

THICK_SHARE = 8
"""Planes along z are drawn if at least 1/8 of a crop's side is annotated without a gap."""


@dataclass(frozen=True, eq=False)
class TrainingVolume:
    """Sections to learn from.

    Parameters
    ----------
    name
        For messages.
    raw
        (Z, Y, X) float32, 0..1 (see ``pipeline.normalisation``).
    target
        (Z, Y, X) uint8: 0, 1 = boundary, 255 = ignore.
    weight
        Relative number of crops drawn from this volume.
    isotropic
        Crops are drawn from the three planes, not from xy alone.
    """

    name: str
    raw: NDArray[np.float32]
    target: NDArray[np.uint8]
    weight: float = 1.0
    isotropic: bool = False

    @cached_property
    def known_voxels(self) -> tuple[NDArray[np.int64], ...]:
        """Number of voxels with a target in every section along z, y and x."""
        known = self.target != IGNORE
        others = ((1, 2), (0, 2), (0, 1))
        return tuple(np.count_nonzero(known, axis=axes).astype(np.int64) for axes in others)

    @cached_property
    def is_complete(self) -> bool:
        """Whether every voxel has a target."""
        return int(self.known_voxels[0].sum()) == self.target.size

    def axes(self, crop: int) -> tuple[int, ...]:
        """Axes across which crops are taken.

        A few annotated sections are but lines in the planes along z, which teach little for the
        time that they take.

        Parameters
        ----------
        crop
            Side of a crop, in pixels.
        """
        if not self.isotropic:
            return (0,)
        thick = [
            longest_run(counts > 0) >= min(crop // THICK_SHARE, len(counts))
            for counts in self.known_voxels
        ]
        found = tuple(axis for axis in range(3) if all(thick[:axis] + thick[axis + 1 :]))
        return found or (0,)


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Most neighbours that are all true.

    >>> longest_run(np.array([True, False, True, True, False]))
    2
    """
    ends = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((ends[1::2] - ends[::2]).max(initial=0))


def generator_of(seed: int, step: int) -> torch.Generator:
    """The generator of one step."""
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))


def draw(
    volumes: Sequence[TrainingVolume], config: TrainingConfig, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The batch of a step: raw (N, 1, H, W), target and known (N, H, W), float32."""
    generator = generator_of(config.seed, step)
    weights = torch.tensor([v.weight for v in volumes], dtype=torch.float32)
    chosen = torch.multinomial(weights, config.batch, replacement=True, generator=generator)
    crops = [_crop(volumes[int(i)], config, generator) for i in chosen]
    raw, target, known = (torch.stack(parts) for parts in zip(*crops, strict=True))
    return raw[:, None], target, known


def _crop(
    volume: TrainingVolume, config: TrainingConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    axes = volume.axes(config.crop)
    axis = axes[_below(len(axes), generator)] if volume.isotropic else 0
    if volume.is_complete:
        z = _below(volume.raw.shape[axis], generator)
    else:
        z = _weighted(volume.known_voxels[axis], generator)
    raw = torch.from_numpy(np.ascontiguousarray(volume.raw.take(z, axis)))
    section = np.ascontiguousarray(volume.target.take(z, axis))
    known = torch.from_numpy((section != IGNORE).astype(np.float32))
    target = torch.from_numpy((section == 1).astype(np.float32))
    near = None if bool(known.all()) else _known_pixel(section, generator)
    height, width = section.shape
    grid = sampling_grid(config.crop, height, width, config.augmentation, generator, near)
    raw, target, known = warp(raw, target, known, grid)
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


def _known_pixel(section: NDArray[np.uint8], generator: torch.Generator) -> tuple[int, int] | None:
    """y, x of a pixel with a target; ``None`` if there is none."""
    known = np.flatnonzero(section != IGNORE)
    if not len(known):
        return None
    y, x = divmod(int(known[_below(len(known), generator)]), int(section.shape[1]))
    return y, x

"""Sections that are held out of a training: split off, prepared, and scored.

1. ``split``: the sections at one end of a volume are not learned from.
2. ``whole_sections``: some of them as the network sees them, in pixels of the training's size.
3. ``validated``: the training's own loss there, and V_rand of the map at the best threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.evaluation.isbi import best, score_map, truth_sections
from pipeline.training.augmentation import finer, warp
from pipeline.training.config import TrainingConfig
from pipeline.training.losses import LOSSES
from pipeline.training.precision import arithmetic
from pipeline.training.targets import IGNORE
from pipeline.training.volumes import TrainingVolume

THRESHOLDS = tuple(round(0.1 * i, 1) for i in range(1, 10))
"""On P(cell), as ``score_map`` takes them."""
LARGEST_SIDE = 1024
"""Pixels of a section that are seen at once, along each axis."""
WINDOW_STEPS = 16
"""Windows of a larger section, from which one is chosen, lie a 16th of their side apart."""


@dataclass(frozen=True)
class Validation:
    """What one validation found.

    Parameters
    ----------
    loss
        Mean over sections of the training's loss; NaN or infinite as soon as one's is.
    v_rand
        At the threshold that is best for a volume, mean over volumes, from one pass without
        test-time augmentation; ``None``: no cell is there.
    """

    loss: float
    v_rand: float | None


@dataclass(frozen=True, eq=False)
class WholeSection:
    """A section of a volume that is validated on.

    Parameters
    ----------
    raw
        (2 c + 1, H, W) float32 0..1; sides are multiples of the network's stride.
    target, known
        (H, W) float32, as of crops.
    size
        Rows and columns that are of the volume; what follows is reflected.
    """

    raw: Tensor
    target: Tensor
    known: Tensor
    size: tuple[int, int]


def split(
    volume: TrainingVolume, share: float, sections: tuple[int, int] | None = None
) -> tuple[TrainingVolume, TrainingVolume | None]:
    """What is learned from, and what is validated on; they share no section.

    Parameters
    ----------
    volume
        All that is annotated.
    share
        Of its annotated sections, the last ones, rounded, but at least one unless it is 0.
    sections
        First and one past the last z of the volume, instead of a share; they must lie at one
        end of what is annotated.

    Returns
    -------
    learned, validated
        ``None``: nothing is held out. In an isotropic volume the section beside those held out
        is only context: its borders along z tell of them.

    Raises
    ------
    ConfigError
        If nothing is left to learn from or to validate on.
    """
    annotated = np.flatnonzero(volume.known_voxels[0])
    if sections is not None:
        return _split_at(volume, _range(volume, annotated, sections))
    if share == 0:
        return volume, None
    count = max(1, round(share * len(annotated)))
    if count == len(annotated):
        raise ConfigError(
            f"{volume.name}: {len(annotated)} annotated section{'s are' if count > 1 else ' is'} "
            f"too few to hold out {share:g} of them; annotate more, or lower validation.share "
            "(0: none, but those of volumes with validation_sections)"
        )
    return _split_at(volume, (int(annotated[-count]), len(volume.target)))


def _range(
    volume: TrainingVolume, annotated: NDArray[np.intp], sections: tuple[int, int]
) -> tuple[int, int]:
    """Places in the volume's arrays of sections that were asked for."""
    z = volume.places[annotated]
    held = (z >= sections[0]) & (z < sections[1])
    if not held.any() or held.all() or (held[0] == held[-1]):
        raise ConfigError(
            f"{volume.name}: validation_sections {list(sections)} must hold the first or the last "
            f"of the annotated sections {z[0]}..{z[-1]}, and not all"
        )
    if held[0]:
        return 0, int(annotated[held][-1]) + 1
    return int(annotated[held][0]), len(volume.target)


def _split_at(
    volume: TrainingVolume, held: tuple[int, int]
) -> tuple[TrainingVolume, TrainingVolume]:
    begin, end = held
    other = slice(end, None) if begin == 0 else slice(0, begin)
    learned, beside = volume.part(other), 0 if begin == 0 else -1
    if volume.isotropic and len(learned.target) > 1:
        # Borders along z of the section beside those held out were drawn with their truth.
        target = learned.target.copy()
        target[beside] = IGNORE
        learned = replace(learned, target=target)
    return learned, volume.part(slice(begin, end))


def whole_sections(volume: TrainingVolume, config: TrainingConfig) -> list[WholeSection]:
    """Annotated sections, evenly spaced, at most ``config.validation.sections`` of them."""
    annotated = np.flatnonzero(volume.known_voxels[0])
    count = min(len(annotated), config.validation.sections)
    places = annotated[np.linspace(0, len(annotated) - 1, count).round().astype(int)]
    return [whole_section(volume, int(place), config) for place in places]


def whole_section(volume: TrainingVolume, place: int, config: TrainingConfig) -> WholeSection:
    """A section of the volume as the network sees it, by its index.

    Of one larger than ``LARGEST_SIDE`` pixels only so much is seen: of the windows of this size
    at every ``WINDOW_STEPS``th of a side, and at the section's end, the one with the most known
    pixels; among several, the one nearest to the middle of what is known.
    """
    covered = volume.covered(0, config.pixel_nm)
    section = volume.section(0, place, config.context_sections)
    points = finer(covered)
    lines, sizes = [], []
    for axis, (step, begin) in enumerate(
        zip(covered, _window(section.known, covered), strict=True)
    ):
        length = section.target.shape[axis]
        size = min(_pixels(length, step), LARGEST_SIDE)
        side = math.ceil(size / config.stride) * config.stride
        samples = (torch.arange(side * points, dtype=torch.float32) + 0.5) / points
        lines.append(2 * (begin + samples) * step / length - 1)
        sizes.append(size)
    y, x = torch.meshgrid(*lines, indexing="ij")
    raw, target, known = warp(
        section.raw, section.target, section.known, torch.stack((x, y), -1)[None], points=points
    )
    height, width = sizes
    known[height:] = 0
    known[:, width:] = 0
    return WholeSection(raw, target, known, (height, width))


def _pixels(length: int, step: float) -> int:
    """Of so many voxels, each covering ``step`` of them."""
    return max(1, round(length / step))


def _window(known: Tensor, covered: tuple[float, float]) -> tuple[int, int]:
    """First row and column, in pixels, of what is seen of a section."""
    sums = np.pad(known.numpy().astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    begins, voxels = [], []
    for length, step in zip(known.shape, covered, strict=True):
        last = max(_pixels(length, step) - LARGEST_SIDE, 0)
        starts = np.unique([*range(0, last, LARGEST_SIDE // WINDOW_STEPS), last])
        edges = np.stack((starts, starts + LARGEST_SIDE)) * step
        begins.append(starts)
        voxels.append(edges.round().astype(int).clip(0, length))
    (top, bottom), (left, right) = voxels
    counts = (
        sums[np.ix_(bottom, right)]
        - sums[np.ix_(top, right)]
        - sums[np.ix_(bottom, left)]
        + sums[np.ix_(top, left)]
    )
    places = known.nonzero().double()
    middle = places.mean(0) if len(places) else torch.tensor(known.shape).double() / 2
    offsets = [(edges.mean(0) - float(m)) ** 2 for edges, m in zip(voxels, middle, strict=True)]
    distance = offsets[0][:, None] + offsets[1][None]
    best = np.where(counts == counts.max(), distance, np.inf)
    y, x = np.unravel_index(best.argmin(), best.shape)
    return int(begins[0][y]), int(begins[1][x])


@torch.no_grad()
def validated(
    network: nn.Module,
    volumes: Sequence[Sequence[WholeSection]],
    config: TrainingConfig,
    device: str,
) -> Validation:
    """Loss and V_rand of a network on held-out sections.

    Parameters
    ----------
    network
        In evaluation mode, on ``device``.
    volumes
        Sections of each.
    config
        Its loss is taken.
    device
        A torch device name.
    """
    losses, scores = [], []
    for sections in volumes:
        maps = []
        for section in sections:
            raw, target, known = (
                t[None].to(device) for t in (section.raw, section.target, section.known)
            )
            with arithmetic(config.precision, device):
                logits = network(raw.contiguous(memory_format=torch.channels_last))
            losses.append(float(LOSSES[config.loss](logits, target, known, config)))
            if not math.isfinite(losses[-1]):
                return Validation(losses[-1], None)
            maps.append(torch.softmax(logits.float(), dim=1)[0, 1].cpu())
        scores.append(_v_rand(maps, sections))
    found = [score for score in scores if score is not None]
    return Validation(float(np.mean(losses)), float(np.mean(found)) if found else None)


def _v_rand(maps: Sequence[Tensor], sections: Sequence[WholeSection]) -> float | None:
    """At the best threshold; ``None`` if there is no cell."""
    scored = []
    for boundary, section in zip(maps, sections, strict=True):
        height, width = section.size
        cell = ((section.target < 0.5) & (section.known > 0))[:height, :width].numpy()
        if cell.any():
            scored.append((boundary[:height, :width].numpy(), cell.astype(np.uint8)))
    if not scored:
        return None
    boundaries, cells = (np.stack(parts) for parts in zip(*scored, strict=True))
    rows = score_map(boundaries, truth_sections(cells, kind="mask"), THRESHOLDS)
    return float(best(rows, "v_rand").v_rand)

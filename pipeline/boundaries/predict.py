"""Tiled prediction with test-time augmentation, by a running reduction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.boundaries.device import autocast, choose_precision
from pipeline.boundaries.torch_threads import in_order

ORIENTATIONS = tuple((turns, flip) for flip in (False, True) for turns in range(4))
"""The 8 orientations of a square: quarter turns, and quarter turns of the mirror image."""
Orientation = tuple[int, bool, bool]
"""(quarter turns, mirrored, sections in reverse order)."""


def boundary_probability(logits: Tensor) -> Tensor:
    """P(boundary), (N, H, W) float32, from two-class logits (N, 2, H, W)."""
    return torch.softmax(logits.float(), dim=1)[:, 1]


def orient(sections: Tensor, turns: int, flip: bool) -> Tensor:
    """Turn (and first mirror) the last two axes."""
    return torch.rot90(sections.flip(-1) if flip else sections, turns, (-2, -1))


def reverse(sections: Tensor, turns: int, flip: bool) -> Tensor:
    """Undo ``orient``."""
    turned = torch.rot90(sections, -turns, (-2, -1))
    return turned.flip(-1) if flip else turned


@torch.inference_mode()
def predict_tile(
    network: nn.Module,
    sections: Tensor,
    augmentation: str,
    device: str,
    precision: str,
    *,
    flip_z: bool = False,
    orientations_at_once: int = 1,
    passes_at_once: int | None = None,
) -> Tensor:
    """P(boundary) of equally sized sections, combined map by map from all orientations.

    Never more maps are in memory than those of the passes at a time, of ``orientations_at_once``
    each, and the combined one.

    Parameters
    ----------
    network
        In evaluation mode.
    sections
        (N, H, W) float32 0..1; sides are multiples of the network's stride. Of a network
        that sees c sections on each side (N, 2 c + 1, H, W), the predicted one in the middle.
    augmentation
        ``none``, or how the 8 orientations are combined: ``mean``, ``max``, ``min``.
    device, precision
        See ``pipeline.boundaries.device``.
    flip_z
        Combine them with those of the sections in reverse order as well.
    orientations_at_once
        That go through the network together, where their shapes are equal. Maps differ by the
        rounding of convolutions of another batch; those that are combined come in one order.
    passes_at_once
        Of the network on a CPU, each by a thread of its own; ``None``: one after the other.

    Returns
    -------
    probability
        (N, H, W) float32 0..1.
    """
    seen = sections[:, None] if sections.ndim == 3 else sections
    orientations = _orientations(augmentation, flip_z and seen.shape[1] > 1)
    combined: Tensor | None = None
    groups = _of_equal_shape(orientations, orientations_at_once, seen)

    def maps(group: Sequence[Orientation]) -> list[Tensor]:
        with torch.inference_mode():  # a state of each thread
            return list(_maps(network, seen, group, device, precision))

    found = map(maps, groups) if passes_at_once is None else in_order(maps, groups, passes_at_once)
    for probabilities in found:
        for probability in probabilities:
            if combined is None:
                combined = probability.clone()
            elif augmentation == "max":
                torch.maximum(combined, probability, out=combined)
            elif augmentation == "min":
                torch.minimum(combined, probability, out=combined)
            else:
                combined += probability
    assert combined is not None
    return combined / len(orientations) if augmentation == "mean" else combined


def _maps(
    network: nn.Module,
    seen: Tensor,
    orientations: Sequence[Orientation],
    device: str,
    precision: str,
) -> Iterator[Tensor]:
    """(N, H, W) P(boundary) of each orientation, turned back; one pass of the network."""
    turned = torch.cat([orient(seen.flip(1) if z else seen, t, f) for t, f, z in orientations])
    with autocast(device, choose_precision(precision, device)):
        logits = network(turned.contiguous(memory_format=torch.channels_last))
    maps = torch.split(boundary_probability(logits), len(seen))
    for (turns, flip, _), probability in zip(orientations, maps, strict=True):
        yield reverse(probability, turns, flip)


def _of_equal_shape(
    orientations: Sequence[Orientation], at_once: int, seen: Tensor
) -> Iterator[Sequence[Orientation]]:
    """Groups that can be one batch; their order and that within them depend on nothing else.

    Quarter turns of what is not square have another shape: they come after the others.
    """
    upright = sorted(orientations, key=lambda orientation: orientation[0] % 2)
    halves = [[o for o in upright if o[0] % 2 == odd] for odd in (0, 1)]
    for part in [upright] if seen.shape[-1] == seen.shape[-2] else halves:
        for first in range(0, len(part), at_once):
            yield part[first : first + at_once]


def _orientations(augmentation: str, flip_z: bool) -> list[Orientation]:
    """All that are combined."""
    if augmentation == "none":
        return [(0, False, False)]
    return [(*o, z) for z in ((False, True) if flip_z else (False,)) for o in ORIENTATIONS]


def measure_halo(
    network: nn.Module,
    sections: Sequence[NDArray[np.float32]],
    stride: int,
    device: str = "cpu",
    largest: int = 192,
) -> int:
    """The smallest halo, in pixels, at which tiles equal the whole within 1/255.

    The theoretical field of a deep network is hundreds of pixels, but its weights fade. The
    centre of each section is predicted with growing context in float32 and compared with
    the prediction from the most context there is.

    Parameters
    ----------
    network
        In evaluation mode.
    sections
        (H, W) float32 0..1 each, real data; of a network that sees c sections on each side
        (2 c + 1, H, W).
    stride
        Halos are multiples of it.
    device
        A torch device name.
    largest
        The halo that is taken where none suffices.
    """
    halo = stride
    for section in sections:
        context = min(_context(section, stride), 2 * largest)
        if context < 2 * stride:
            continue
        whole = _centre(network, section, context, context, stride, device)
        for trial in range(halo, min(context, largest) + 1, stride):
            halo = trial
            tile = _centre(network, section, trial, context, stride, device)
            if float((tile - whole).abs().max()) <= 1 / 255:
                break
    return halo


def halo_error(
    network: nn.Module,
    sections: Sequence[NDArray[np.float32]],
    halo: int,
    stride: int,
    device: str = "cpu",
) -> float | None:
    """The largest |difference of P| between tiles with this halo and more context.

    Above 1/255 the halo is too small, as where ``measure_halo`` ended at its ``largest``.
    ``None``: no section has more context. Parameters are those of ``measure_halo``.
    """
    errors = []
    for section in sections:
        context = min(_context(section, stride), 2 * halo)
        if context > halo:
            whole = _centre(network, section, context, context, stride, device)
            tile = _centre(network, section, halo, context, stride, device)
            errors.append(float((tile - whole).abs().max()))
    return max(errors, default=None)


def _context(section: NDArray[np.float32], stride: int) -> int:
    """The most context, a multiple of the stride, that the centre of a section has."""
    return (int(min(section.shape[-2:])) - 4 * stride) // 2 // stride * stride


def _centre(
    network: nn.Module,
    section: NDArray[np.float32],
    halo: int,
    context: int,
    stride: int,
    device: str,
) -> Tensor:
    size = 4 * stride
    top, left = ((n - 2 * context - size) // 2 + context - halo for n in section.shape[-2:])
    side = size + 2 * halo
    part = section[..., top : top + side, left : left + side].copy()
    tile = torch.from_numpy(part)[None].to(device)
    probability = predict_tile(network, tile, "none", device, "fp32")
    return probability[0, halo : halo + size, halo : halo + size]

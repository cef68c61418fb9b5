"""Losses of boundary networks, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def cross_entropy(logits: Tensor, target: Tensor, known: Tensor, boundary_weight: float) -> Tensor:
    """Mean cross-entropy over known pixels, boundary pixels weighted.

    Parameters
    ----------
    logits
        (N, 2, H, W).
    target
        (N, H, W) 0..1, soft P(boundary).
    known
        (N, H, W) 0 or 1.
    boundary_weight
        Weight of a boundary pixel against 1 for the others.
    """
    log_p = torch.log_softmax(logits.float(), dim=1)
    pixel = -(1 - target) * log_p[:, 0] - boundary_weight * target * log_p[:, 1]
    weight = known * (1 + (boundary_weight - 1) * target)
    return (pixel * known).sum() / weight.sum().clamp(min=1)


def soft_dice(logits: Tensor, target: Tensor, known: Tensor, boundary_weight: float) -> Tensor:
    """One minus the soft Dice coefficient of the boundary class."""
    p = torch.softmax(logits.float(), dim=1)[:, 1] * known
    overlap = (p * target).sum()
    total = p.sum() + (target * known).sum()
    return 1 - (2 * overlap + 1) / (total + 1)


def cross_entropy_and_dice(
    logits: Tensor, target: Tensor, known: Tensor, boundary_weight: float
) -> Tensor:
    """Cross-entropy plus half the soft Dice loss."""
    return cross_entropy(logits, target, known, boundary_weight) + 0.5 * soft_dice(
        logits, target, known, boundary_weight
    )


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "soft_dice": soft_dice,
    "cross_entropy_and_dice": cross_entropy_and_dice,
}

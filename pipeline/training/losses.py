"""Losses of boundary networks, by name.

Every loss takes two-class logits (N, 2, H, W), the target (N, H, W) 0..1, soft P(boundary), and
known (N, H, W), 1 where the target teaches and 0 elsewhere; it returns a scalar, 0 if nothing is
known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from pipeline.training.elastic import TRUNCATED

LossName = Literal[
    "mse",
    "cross_entropy",
    "focal",
    "soft_dice",
    "border_weighted_cross_entropy",
    "cross_entropy_and_dice",
]


class LossConfig(BaseModel):
    """Which loss, and its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: LossName = Field(
        "cross_entropy_and_dice",
        description="mse, cross_entropy, focal, soft_dice, border_weighted_cross_entropy, or "
        "cross_entropy_and_dice (half of the latter).",
    )
    boundary_weight: float = Field(
        1.5,
        gt=0,
        description="Weight of boundary pixels in the cross-entropy and the squared error.",
    )
    focal_gamma: float = Field(
        2.0, ge=0, le=10, description="Exponent of the focal loss; 0 = cross-entropy."
    )
    focal_alpha: float = Field(
        0.25, gt=0, lt=1, description="Weight of boundary pixels in the focal loss; 1 - it else."
    )
    border_weight: float = Field(
        5.0, ge=0, description="Weight that a boundary adds in border_weighted_cross_entropy."
    )
    border_sigma: float = Field(
        5.0, gt=0, le=100, description="Pixels over which that weight fades around a boundary."
    )


Loss = Callable[[Tensor, Tensor, Tensor, LossConfig], Tensor]


def mse(logits: Tensor, target: Tensor, known: Tensor, config: LossConfig) -> Tensor:
    """Mean squared error of P(boundary), the loss of Xiao et al. 2022; boundaries weighted."""
    p = torch.softmax(logits.float(), dim=1)[:, 1]
    return _mean((p - target) ** 2, known * (1 + (config.boundary_weight - 1) * target))


def cross_entropy(logits: Tensor, target: Tensor, known: Tensor, config: LossConfig) -> Tensor:
    """Mean cross-entropy over known pixels, boundary pixels weighted."""
    log_p = torch.log_softmax(logits.float(), dim=1)
    weight = config.boundary_weight
    pixel = -(1 - target) * log_p[:, 0] - weight * target * log_p[:, 1]
    return (pixel * known).sum() / (known * (1 + (weight - 1) * target)).sum().clamp(min=1)


def focal(logits: Tensor, target: Tensor, known: Tensor, config: LossConfig) -> Tensor:
    """Focal loss, mean over known pixels: what is right already counts little.

    Lin et al., "Focal loss for dense object detection", ICCV 2017.
    """
    log_p = torch.log_softmax(logits.float(), dim=1)
    p = log_p.exp().clamp(min=torch.finfo(log_p.dtype).tiny)  # 0 ** 0.5 has no gradient
    alpha, gamma = config.focal_alpha, config.focal_gamma
    boundary = alpha * target * p[:, 0] ** gamma * log_p[:, 1]
    inside = (1 - alpha) * (1 - target) * p[:, 1] ** gamma * log_p[:, 0]
    return _mean(-boundary - inside, known)


def soft_dice(logits: Tensor, target: Tensor, known: Tensor, config: LossConfig) -> Tensor:
    """One minus the soft Dice coefficient of the boundary class."""
    p = torch.softmax(logits.float(), dim=1)[:, 1] * known
    overlap = (p * target).sum()
    total = p.sum() + (target * known).sum()
    return 1 - (2 * overlap + 1) / (total + 1)


def border_weighted_cross_entropy(
    logits: Tensor, target: Tensor, known: Tensor, config: LossConfig
) -> Tensor:
    """Mean cross-entropy over known pixels that weigh more the nearer a boundary is.

    After Ronneberger et al., "U-Net", MICCAI 2015, whose weight falls with the distances from the
    two nearest cells. Here it falls with that from the nearest boundary, so that no ids of cells
    are needed: 1 + border_weight * exp(-distance² / (2 border_sigma²)).
    """
    log_p = torch.log_softmax(logits.float(), dim=1)
    pixel = -(1 - target) * log_p[:, 0] - target * log_p[:, 1]
    near = nearness(target * known, config.border_sigma)
    return _mean(pixel, known * (1 + config.border_weight * near))


def nearness(boundary: Tensor, sigma: float) -> Tensor:
    """exp(-distance² / (2 sigma²)) from the nearest boundary, 0 beyond 3 sigma.

    The largest of all boundaries' Gaussians is taken along rows, then along columns, which gives
    the largest over the plane, as exp(-(x² + y²)) = exp(-x²) exp(-y²).

    Parameters
    ----------
    boundary
        (N, H, W) 0..1; a soft boundary is near by its value times as much.
    sigma
        In pixels.
    """
    reach = round(TRUNCATED * sigma)
    for axis in (-1, -2):
        largest = boundary
        for distance in range(1, min(reach, boundary.shape[axis] - 1) + 1):
            faded = boundary.narrow(axis, 0, boundary.shape[axis] - distance)
            ahead = boundary.narrow(axis, distance, boundary.shape[axis] - distance)
            weight = math.exp(-0.5 * (distance / sigma) ** 2)
            gap = (distance, 0) if axis == -1 else (0, 0, distance, 0)
            largest = torch.maximum(largest, F.pad(faded * weight, gap))
            largest = torch.maximum(largest, F.pad(ahead * weight, _turned(gap)))
        boundary = largest
    return boundary


def _turned(gap: tuple[int, ...]) -> tuple[int, ...]:
    """Padding at the other ends."""
    return tuple(gap[i ^ 1] for i in range(len(gap)))


def cross_entropy_and_dice(
    logits: Tensor, target: Tensor, known: Tensor, config: LossConfig
) -> Tensor:
    """Cross-entropy plus half the soft Dice loss."""
    return cross_entropy(logits, target, known, config) + 0.5 * soft_dice(
        logits, target, known, config
    )


def _mean(pixel: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; 0 if nothing weighs."""
    return (pixel * weight).sum() / weight.sum().clamp(min=1)


LOSSES: dict[LossName, Loss] = {
    "mse": mse,
    "cross_entropy": cross_entropy,
    "focal": focal,
    "soft_dice": soft_dice,
    "border_weighted_cross_entropy": border_weighted_cross_entropy,
    "cross_entropy_and_dice": cross_entropy_and_dice,
}

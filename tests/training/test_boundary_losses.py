from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pipeline.training.losses import LOSSES, cross_entropy, cross_entropy_and_dice, soft_dice


def logits_of(p: list[float]) -> Tensor:
    """(1, 2, 1, W) logits whose P(boundary) is ``p``."""
    boundary = torch.logit(torch.tensor(p, dtype=torch.float64)).float()
    return torch.stack((torch.zeros_like(boundary), boundary))[None, :, None]


def row(values: list[float]) -> Tensor:
    return torch.tensor(values)[None, None]


P, TARGET, KNOWN = [0.8, 0.3, 0.5, 0.9], [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]


def test_cross_entropy_is_the_weighted_mean_over_known_pixels() -> None:
    found = cross_entropy(logits_of(P), row(TARGET), row(KNOWN), 3.0)
    total = -3 * math.log(0.8) - math.log(0.7) - 3 * math.log(0.5)
    assert float(found) == pytest.approx(total / (3 + 1 + 3), rel=1e-6)


def test_cross_entropy_of_a_soft_target_weighs_both_classes() -> None:
    found = cross_entropy(logits_of([0.8]), row([0.25]), row([1.0]), 3.0)
    total = -0.75 * math.log(0.2) - 3 * 0.25 * math.log(0.8)
    assert float(found) == pytest.approx(total / 1.5, rel=1e-6)


def test_soft_dice_is_smoothed_by_one() -> None:
    found = soft_dice(logits_of(P), row(TARGET), row(KNOWN), 3.0)
    overlap, total = 0.8 + 0.5, (0.8 + 0.3 + 0.5) + 2
    assert float(found) == pytest.approx(1 - (2 * overlap + 1) / (total + 1), rel=1e-6)


def test_the_sum_counts_dice_by_half() -> None:
    args = logits_of(P), row(TARGET), row(KNOWN), 3.0
    expected = float(cross_entropy(*args)) + 0.5 * float(soft_dice(*args))
    assert float(cross_entropy_and_dice(*args)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_pixels_do_not_contribute(name: str) -> None:
    one, other = torch.full((1, 2, 4, 4), 0.3), torch.full((1, 2, 4, 4), 0.3)
    target, changed = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    known = torch.ones(1, 4, 4)
    known[0, 1:3] = 0
    target[0, 0] = 1
    changed[0, 0] = 1
    other[0, 1, 1:3] = 20.0
    changed[0, 2] = 1
    other.requires_grad_()
    loss = LOSSES[name](other, changed, known, 2.0)
    assert float(loss.detach()) == float(LOSSES[name](one, target, known, 2.0))
    loss.backward()
    assert other.grad is not None
    assert not other.grad[0, :, 1:3].any()
    assert other.grad[0, :, 0].all()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_known_costs_nothing(name: str) -> None:
    logits = torch.full((1, 2, 2, 2), 3.0, requires_grad=True)
    loss = LOSSES[name](logits, torch.ones(1, 2, 2), torch.zeros(1, 2, 2), 2.0)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_better_map_costs_less(name: str) -> None:
    target, known = row([1.0, 1.0, 0.0, 0.0]), row([1.0] * 4)
    costs = [
        float(LOSSES[name](logits_of([q, q, 1 - q, 1 - q]), target, known, 1.5))
        for q in (0.1, 0.5, 0.9, 0.999)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.01 < costs[0]

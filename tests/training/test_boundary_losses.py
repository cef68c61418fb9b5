from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from pipeline.training.losses import (
    LOSSES,
    LossConfig,
    LossName,
    cross_entropy,
    cross_entropy_and_dice,
    focal,
    mse,
    nearness,
    soft_dice,
)

WEIGHTED = LossConfig(boundary_weight=3)


def logits_of(p: list[float]) -> Tensor:
    """(1, 2, 1, W) logits whose P(boundary) is ``p``."""
    boundary = torch.logit(torch.tensor(p, dtype=torch.float64)).float()
    return torch.stack((torch.zeros_like(boundary), boundary))[None, :, None]


def row(values: list[float]) -> Tensor:
    return torch.tensor(values)[None, None]


P, TARGET, KNOWN = [0.8, 0.3, 0.5, 0.9], [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]


def test_cross_entropy_is_the_weighted_mean_over_known_pixels() -> None:
    found = cross_entropy(logits_of(P), row(TARGET), row(KNOWN), WEIGHTED)
    total = -3 * math.log(0.8) - math.log(0.7) - 3 * math.log(0.5)
    assert float(found) == pytest.approx(total / (3 + 1 + 3), rel=1e-6)


def test_cross_entropy_of_a_soft_target_weighs_both_classes() -> None:
    found = cross_entropy(logits_of([0.8]), row([0.25]), row([1.0]), WEIGHTED)
    total = -0.75 * math.log(0.2) - 3 * 0.25 * math.log(0.8)
    assert float(found) == pytest.approx(total / 1.5, rel=1e-6)


def test_soft_dice_is_smoothed_by_one() -> None:
    found = soft_dice(logits_of(P), row(TARGET), row(KNOWN), WEIGHTED)
    overlap, total = 0.8 + 0.5, (0.8 + 0.3 + 0.5) + 2
    assert float(found) == pytest.approx(1 - (2 * overlap + 1) / (total + 1), rel=1e-6)


def test_the_sum_counts_dice_by_half() -> None:
    args = logits_of(P), row(TARGET), row(KNOWN), WEIGHTED
    expected = float(cross_entropy(*args)) + 0.5 * float(soft_dice(*args))
    assert float(cross_entropy_and_dice(*args)) == pytest.approx(expected, rel=1e-6)


def test_every_loss_that_a_configuration_may_name_is_there() -> None:
    assert set(LOSSES) == set(get_args(LossName))


def test_squared_error_is_the_weighted_mean_over_known_pixels() -> None:
    found = mse(logits_of(P), row(TARGET), row(KNOWN), WEIGHTED)
    total = 3 * 0.2**2 + 0.3**2 + 3 * 0.5**2
    assert float(found) == pytest.approx(total / (3 + 1 + 3), rel=1e-6)


def test_focal_loss_has_the_values_of_its_formula() -> None:
    config = LossConfig(focal_gamma=2, focal_alpha=0.25)
    found = focal(logits_of(P), row(TARGET), row(KNOWN), config)
    boundary = 0.25 * (0.2**2 * math.log(0.8) + 0.5**2 * math.log(0.5))
    inside = 0.75 * 0.3**2 * math.log(0.7)
    assert float(found) == pytest.approx(-(boundary + inside) / 3, rel=1e-6)


def test_without_focus_the_focal_loss_is_half_the_cross_entropy() -> None:
    given = logits_of(P), row([0.9, 0.2, 1.0, 0.0]), row(KNOWN)
    plain = LossConfig(focal_gamma=0, focal_alpha=0.5, boundary_weight=1)
    assert float(focal(*given, plain)) == pytest.approx(
        0.5 * float(cross_entropy(*given, plain)), rel=1e-6
    )


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_the_focal_loss_has_a_gradient_where_the_network_is_certain(gamma: float) -> None:
    wrong = torch.tensor([120.0, -120.0])
    logits = torch.stack((-wrong, wrong))[None, :, None].requires_grad_()
    target = row([0.0, 1.0])
    focal(logits, target, row([1.0, 1.0]), LossConfig(focal_gamma=gamma)).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert logits.grad[0, 1, 0, 0] > 0 > logits.grad[0, 1, 0, 1]


@pytest.mark.parametrize("sigma", [0.6, 2.0, 5.0])
def test_nearness_is_the_gaussian_of_the_distance_to_the_nearest_boundary(sigma: float) -> None:
    boundary = np.random.default_rng(0).random((23, 17)) < 0.02
    distance = ndimage.distance_transform_edt(~boundary)
    expected = np.exp(-0.5 * (distance / sigma) ** 2)
    found = nearness(torch.from_numpy(boundary).float()[None], sigma)[0].numpy()
    reached = distance <= round(3 * sigma)
    np.testing.assert_allclose(found[reached], expected[reached], rtol=1e-4)
    assert (found[~reached] < 0.02).all()


def test_pixels_beside_a_boundary_weigh_more_than_those_afar() -> None:
    target = torch.zeros(1, 1, 60)
    target[0, 0, 0] = 1
    config = LossConfig(loss="border_weighted_cross_entropy", border_weight=9, border_sigma=2)
    costs = []
    for wrong in (1, 30):
        p = torch.full((60,), 0.1)
        p[0], p[wrong] = 0.9, 0.6
        loss = LOSSES[config.loss](logits_of(p.tolist()), target, torch.ones(1, 1, 60), config)
        costs.append(float(loss))
    near, far = 1 + 9 * math.exp(-0.5 * (1 / 2) ** 2), 1.0
    gain = math.log(0.9 / 0.4)
    weights = sum(1 + 9 * math.exp(-0.5 * (d / 2) ** 2) for d in range(7)) + 53
    assert costs[0] - costs[1] == pytest.approx((near - far) * gain / weights, rel=1e-3)


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
    loss = LOSSES[name](other, changed, known, LossConfig(boundary_weight=2))
    assert float(loss.detach()) == float(
        LOSSES[name](one, target, known, LossConfig(boundary_weight=2))
    )
    loss.backward()
    assert other.grad is not None
    assert not other.grad[0, :, 1:3].any()
    assert other.grad[0, :, 0].all()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_known_costs_nothing(name: str) -> None:
    logits = torch.full((1, 2, 2, 2), 3.0, requires_grad=True)
    loss = LOSSES[name](logits, torch.ones(1, 2, 2), torch.zeros(1, 2, 2), LossConfig())
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_better_map_costs_less(name: str) -> None:
    target, known = row([1.0, 1.0, 0.0, 0.0]), row([1.0] * 4)
    costs = [
        float(LOSSES[name](logits_of([q, q, 1 - q, 1 - q]), target, known, LossConfig()))
        for q in (0.1, 0.5, 0.9, 0.999)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.01 < costs[0]

"""Exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


class WeightAverage:
    """A network whose weights follow those of another one.

    Parameters
    ----------
    average, network
        Of the same shape; tensors of both are kept, so later they may be changed in place only,
        as optimisers and ``load_state_dict`` do.
    """

    def __init__(self, average: nn.Module, network: nn.Module) -> None:
        pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
        fractions = [pair for pair in pairs if pair[0].is_floating_point()]
        self._kept = [kept for kept, _ in fractions]
        self._new = [new for _, new in fractions]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def follow(self, step: int, decay: float) -> None:
        """Move towards the other one's weights, faster in the first steps.

        Parameters
        ----------
        step
            Of the training, from 0.
        decay
            Of the average; in the first steps (1 + step) / (10 + step).
        """
        share = 1 - min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._kept, self._new, share)  # a few launches on a CUDA device
        for kept, new in self._counters:
            kept.copy_(new)

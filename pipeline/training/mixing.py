"""Weights between those that a training started from and those that it ended with.

A network that is tuned on a few sections becomes sharper on tissue like theirs and loses faint
membranes elsewhere. Half-way between both it keeps most of the gain and little of the loss.

After Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def mixed(
    started: Mapping[str, Tensor], ended: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights on the straight line from the end of a training back to its start.

    Parameters
    ----------
    started, ended
        Of the same network; means and variances of its normalisation are mixed too.
    share
        Of ``started``, 0..1.

    Returns
    -------
    weights
        As many; those that are no fractions (counters) are those of ``ended``.
    """
    return {
        name: tensor.lerp(started[name].to(tensor), share)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in ended.items()
    }

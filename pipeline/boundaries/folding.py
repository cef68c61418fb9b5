"""Batch normalisation folded into the convolution before it.

In evaluation mode batch normalisation is a x + b for every channel, with a = weight /
sqrt(variance + eps) and b = bias - a mean, so that a convolution before it takes a into its
weights and b into its bias (Jacob et al., CVPR 2018, section 3.2). Computed in float64.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Convolution = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d


def fold(module: nn.Module) -> None:
    """Fold batch normalisation, in place, in every sequence of layers of a module.

    A sequence is an ``nn.Sequential``; in it a normalisation is folded that follows a
    convolution, or a convolution and the shuffle that makes pixels of its channels. An identity
    takes its place, so that names of layers stay.
    """
    for child in module.children():
        fold(child)
    if not isinstance(module, nn.Sequential):
        return
    for i, (layer, following) in enumerate(pairwise(list(module))):
        if isinstance(layer, Convolution) and isinstance(following, _BatchNorm):
            fold_into(layer, *_scale_and_shift(following))
            module[i + 1] = nn.Identity()
        elif isinstance(layer, nn.PixelShuffle) and isinstance(following, _BatchNorm):
            before = module[i - 1] if i > 0 else None
            if isinstance(before, nn.Conv2d):
                times = layer.upscale_factor**2
                scale, shift = _scale_and_shift(following)
                fold_into(before, scale.repeat_interleave(times), shift.repeat_interleave(times))
                module[i + 1] = nn.Identity()


def fold_into(convolution: Convolution, scale: Tensor, shift: Tensor) -> None:
    """Change a convolution, in place, to one that gives scale x + shift of what it gave.

    Parameters
    ----------
    convolution
        Its weights keep their type; it has a bias afterwards.
    scale, shift
        (outputs,) float64.
    """
    weight = convolution.weight
    axis = 1 if isinstance(convolution, nn.ConvTranspose2d) else 0
    shape = [1] * weight.ndim
    shape[axis] = -1
    bias = shift
    if convolution.bias is not None:
        bias = bias + convolution.bias.detach().double() * scale
    folded = (weight.detach().double() * scale.reshape(shape)).to(weight.dtype)
    convolution.weight = nn.Parameter(folded, requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)


def _scale_and_shift(normalisation: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Factor a and summand b of a x + b, (channels,) float64."""
    mean, variance = normalisation.running_mean, normalisation.running_var
    assert mean is not None
    assert variance is not None
    scale = torch.rsqrt(variance.double() + normalisation.eps)
    if normalisation.affine:
        scale = scale * normalisation.weight.detach().double()
    shift = -scale * mean.double()
    if normalisation.affine:
        shift = shift + normalisation.bias.detach().double()
    return scale, shift

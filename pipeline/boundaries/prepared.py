"""A boundary network made ready for prediction.

1. Batch normalisation is folded into the convolution before it; dropout goes.
2. Activations, and sums with shortcuts, are computed in the place of what they are given.
3. On a CPU, in float32: wide 3 x 3 convolutions by Winograd's algorithm, with the activation
   and the sum in the same pass; activation and pooling, or shuffling, in one pass.

What step 1 can not fold stays: in pre-activated units a normalisation stands before all
convolutions, behind a sum.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from pipeline.boundaries.device import place
from pipeline.boundaries.folding import fold
from pipeline.boundaries.networks.hybrid_u_net import ResidualUnit3D
from pipeline.boundaries.networks.residual import ResidualUnit
from pipeline.boundaries.networks.resnet38 import PreActivatedUnit

Layers = Callable[[list[nn.Module]], list[nn.Module]]


def prepared(network: nn.Module, device: str) -> nn.Module:
    """A copy of a network for prediction alone, on a device.

    P(boundary) of the shipped networks differs from the plain network's by less than 1e-4 (the
    stored map has steps of 1/255); without step 3 by less than 1e-5. The same input gives the
    same bits. A network that is not made of this package's layers is only copied.

    Parameters
    ----------
    network
        Any of ``pipeline.boundaries.networks``; it is not changed.
    device
        A torch device name.

    Returns
    -------
    prepared
        In evaluation mode, without gradients, of the same input and output.
    """
    ready = copy.deepcopy(network).eval().requires_grad_(False)
    fold(ready)
    rewritten = _rewrite(ready, _layers_for(device))
    return place(rewritten, device).eval().requires_grad_(False)


class PreparedResidualUnit(nn.Module):
    """A residual unit whose last layer takes the shortcut."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.last = body, shortcut, last

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> (N, C', ...)."""
        result: Tensor = self.last(self.body(x), self.shortcut(x))
        return result


class SumELU(nn.Module):
    """ELU of a sum, in the place of its first term."""

    def forward(self, x: Tensor, added: Tensor) -> Tensor:
        """Of any shape."""
        return functional.elu(x.add_(added), inplace=True)


class PreparedPreActivatedUnit(nn.Module):
    """A pre-activated unit whose sum is computed in the place of one term."""

    def __init__(self, before: nn.Module, body: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.before, self.body, self.shortcut = before, body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        active = self.before(x)
        result: Tensor = self.body(active)
        return result.add_(x if self.shortcut is None else self.shortcut(active))


def in_place(layers: list[nn.Module]) -> list[nn.Module]:
    """A sequence of layers, activations in the place of what the layer before them gives."""
    for layer in layers[1:]:
        if isinstance(layer, nn.ELU | nn.ReLU):
            layer.inplace = True
    return layers


def _layers_for(device: str) -> Layers:
    """How sequences of layers are rewritten for a device."""
    if not device.startswith("cpu"):
        return in_place
    try:  # numba, which a bare GPU node does not have
        from pipeline.boundaries.cpu_layers import for_cpu
    except ImportError:
        return in_place
    return lambda layers: for_cpu(in_place(layers))


def _rewrite(module: nn.Module, layers: Layers) -> nn.Module:
    """A module, from its leaves on, with rewritten sequences and residual units."""
    if isinstance(module, ResidualUnit | ResidualUnit3D):
        return _residual_unit(module, layers)
    for name, child in module.named_children():
        setattr(module, name, _rewrite(child, layers))
    if isinstance(module, PreActivatedUnit):
        return PreparedPreActivatedUnit(module.before, module.body, module.shortcut)
    if isinstance(module, nn.Sequential):
        return _joined(layers(_active(module)))
    return module


def _residual_unit(unit: ResidualUnit | ResidualUnit3D, layers: Layers) -> nn.Module:
    """The layer that activates its sum, at best its last convolution, takes the shortcut."""
    *body, last = layers([*_active(unit.body), unit.activation])
    if isinstance(last, nn.ELU):
        last = SumELU()
    return PreparedResidualUnit(_joined(body), _rewrite(unit.shortcut, layers), last)


def _active(layers: nn.Sequential) -> list[nn.Module]:
    """Layers but those that do nothing in prediction."""
    nothing = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d)
    return [layer for layer in layers if not isinstance(layer, nothing)]


def _joined(layers: list[nn.Module]) -> nn.Module:
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)

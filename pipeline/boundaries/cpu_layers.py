"""Layers of prediction on a CPU that pass once over what torch's pass over several times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.boundaries import layer_loops
from pipeline.boundaries.layer_loops import ELU, NO_ACTIVATION, RELU
from pipeline.boundaries.torch_threads import in_threads
from pipeline.boundaries.winograd import WinogradConvolution, gains

PIECE = 1 << 18
"""Numbers of an array that a thread takes at a time."""
ACTIVATIONS = {"elu": ELU, "relu": RELU}
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
Array = NDArray[Any]


class InPlaceELU(nn.Module):
    """ELU of an array, or of its sum with another of its shape, in the array's place."""

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Of any shape."""
        values = _line(x)
        if values is None:
            return functional.elu(x if added is None else x.add_(added), inplace=True)
        more = _line(added) if added is not None and added.stride() == x.stride() else None
        if added is not None and more is None:
            x.add_(added)

        def some(piece: int) -> None:
            part = slice(piece * PIECE, (piece + 1) * PIECE)
            if more is None:
                layer_loops.elu(values[part])
            else:
                layer_loops.elu_of_sum(values[part], more[part])

        in_threads(some, -(-len(values) // PIECE))
        return x


class ShuffledELU(nn.Module):
    """ELU of twice the resolution, from channels in the order (row, column, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 4 C, H, W) -> (N, C, 2 H, 2 W)."""
        n, channels, height, width = x.shape
        size = (n, channels // 4, 2 * height, 2 * width)
        if x.dtype != torch.float32:
            pixels = x.view(n, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
            return functional.elu(pixels.reshape(size), inplace=True)
        return _by_rows(x, size, (1, 2), layer_loops.elu_of_shuffled)


class PooledELU(nn.Module):
    """Maximum of 2 x 2 pixels and then ELU, which is ELU and then the maximum."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / 2, W / 2)."""
        n, channels, height, width = x.shape
        if x.dtype != torch.float32:
            return functional.elu(functional.max_pool2d(x, 2), inplace=True)
        return _by_rows(
            x, (n, channels, height // 2, width // 2), (2, 1), layer_loops.elu_of_pooled
        )


class Maximum(nn.Module):
    """Maximum of 2 x 2 pixels, without the indices that torch's pooling finds as well."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / 2, W / 2)."""
        height, width = (n // 2 * 2 for n in x.shape[2:])
        rows = torch.maximum(x[:, :, :height:2], x[:, :, 1:height:2])
        return torch.maximum(rows[..., :width:2], rows[..., 1:width:2])


def for_cpu(layers: list[nn.Module]) -> list[nn.Module]:
    """A sequence of layers with faster ones in the place of some, for prediction on a CPU.

    Parameters
    ----------
    layers
        In their order, without those that do nothing; convolutions may be changed. An
        activation that comes first stays as it is: what it is given is not its own.
    """
    rest = list(layers)
    result: list[nn.Module] = []
    while rest:
        kinds = tuple(_kind(layer) for layer in rest[:3])
        layer = rest[0]
        if kinds == ("convolution", "doubling", "elu"):
            assert isinstance(layer, nn.Conv2d)
            _reorder(layer)
            result += [WinogradConvolution(layer) if gains(layer) else layer, ShuffledELU()]
            del rest[:3]
        elif kinds[0] == "convolution" and gains(layer):
            assert isinstance(layer, nn.Conv2d)
            activation = ACTIVATIONS.get(kinds[1], NO_ACTIVATION) if len(kinds) > 1 else 0
            result.append(WinogradConvolution(layer, activation))
            del rest[: 1 if activation == NO_ACTIVATION else 2]
        elif kinds[:2] == ("elu", "halving"):
            result.append(PooledELU())
            del rest[:2]
        elif kinds[0] == "elu" and result:
            result.append(InPlaceELU())
            del rest[:1]
        else:
            result.append(Maximum() if kinds[0] == "halving" else layer)
            del rest[:1]
    return result


def _kind(layer: nn.Module) -> str:
    """What a layer is, as far as this module knows a faster one."""
    if isinstance(layer, nn.Conv2d):
        return "convolution"
    if isinstance(layer, nn.ELU) and layer.alpha == 1:
        return "elu"
    if isinstance(layer, nn.ReLU):
        return "relu"
    if isinstance(layer, nn.PixelShuffle) and layer.upscale_factor == 2:
        return "doubling"
    if isinstance(layer, nn.MaxPool2d) and (layer.kernel_size, layer.stride) == (2, 2):
        plain = layer.padding == 0 and layer.dilation == 1 and not layer.ceil_mode
        return "halving" if plain else ""
    return ""


def _reorder(convolution: nn.Conv2d) -> None:
    """Channels (C, row, column), which ``PixelShuffle`` takes, become (row, column, C)."""
    for values in (convolution.weight, convolution.bias):
        if values is not None:
            pixels = values.data.reshape(-1, 4, *values.shape[1:])
            values.data = pixels.transpose(0, 1).reshape(values.shape)


def _line(x: Tensor) -> Array | None:
    """All numbers of a dense float32 tensor as one line that shares its memory."""
    if x.dtype != torch.float32:
        return None
    if x.is_contiguous():
        return x.detach().view(-1).numpy()
    layout = LAYOUTS.get(x.ndim)
    if layout is not None and x.is_contiguous(memory_format=layout):
        return x.detach().movedim(1, -1).view(-1).numpy()
    return None


def _by_rows(
    x: Tensor,
    size: tuple[int, ...],
    rows_of: tuple[int, int],
    loop: Callable[[Array, Array], None],
) -> Tensor:
    """What a loop makes of (H, W, C) of each section, its rows shared by threads.

    Parameters
    ----------
    x
        (N, C, H, W) float32.
    size
        Of the result.
    rows_of
        Rows of ``x`` that give how many rows of the result.
    loop
        Is given matching rows of both.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    result = torch.empty(size, memory_format=torch.channels_last)
    read, written = rows_of
    units = x.shape[2] // read
    some = max(1, PIECE // (read * x[0, :, 0].numel()))
    for source, to in zip(x, result, strict=True):
        rows, out = (t.detach().permute(1, 2, 0).numpy() for t in (source, to))

        def work(piece: int, rows: Array = rows, out: Array = out) -> None:
            low, high = piece * some, min((piece + 1) * some, units)
            loop(rows[read * low : read * high], out[written * low : written * high])

        in_threads(work, -(-units // some))
    return result

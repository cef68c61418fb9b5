"""3 x 3 convolutions on a CPU with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3).

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016:

1. Kernels are transformed once: U = G g G^T, 36 matrices (inputs, outputs).
2. Tiles of 6 x 6 pixels, every 4 pixels, are transformed: V = B^T d B (``to_tiles``).
3. 36 matrix products M = V U.
4. Tiles of 4 x 4 pixels come back: A^T M A, with bias, a sum and an activation
   (``from_tiles``).

A convolution of dilation d is one without on each of the d x d phases of the image, so only the
tiles' pixels lie further apart.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, relu

from pipeline.boundaries.layer_loops import ELU, NO_ACTIVATION, RELU, from_tiles, to_tiles
from pipeline.boundaries.torch_threads import in_threads

G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
TILES_AT_ONCE = 576
"""Rows of the matrix products. Fewer are as fast in one thread; where two share a layer they wait
for each other: with 64 RC-SPCNet took a quarter longer (AMD EPYC with AVX2)."""
CHANNELS = 64
"""Inputs and outputs from which on a convolution gains: with 64 of both 1.5 times as fast as
oneDNN's, with 128 1.7 to 2.1 times, with 32 1.2 and with 24 0.8 times, activation included
(AMD EPYC with AVX2, one thread)."""


def gains(convolution: nn.Module) -> bool:
    """Whether a layer can be computed by Winograd's convolution, and faster.

    A fixed rule: a choice by measurement would give other bits in another run.
    """
    if not isinstance(convolution, nn.Conv2d):
        return False
    dilation = convolution.dilation
    return (
        min(convolution.in_channels, convolution.out_channels) >= CHANNELS
        and convolution.kernel_size == (3, 3)
        and convolution.stride == (1, 1)
        and convolution.groups == 1
        and dilation[0] == dilation[1]
        and convolution.padding == dilation
        and convolution.padding_mode == "zeros"
        and convolution.weight.dtype == torch.float32
    )


def transformed(weight: Tensor) -> Tensor:
    """U of kernels (outputs, inputs, 3, 3): (36, inputs, outputs), computed in float64."""
    g = torch.tensor(G, dtype=torch.float64, device=weight.device)
    u = torch.einsum("ai,bj,ocij->abco", g, g, weight.detach().double())
    return u.reshape(36, weight.shape[1], weight.shape[0]).to(weight.dtype).contiguous()


class WinogradConvolution(nn.Module):
    """A convolution for which ``gains`` is true, and the activation after it.

    The same bits for the same section, whatever its batch and the number of threads that
    share its rows. Within 1e-4 of the convolution on numbers of unit variance.

    Parameters
    ----------
    convolution
        Is not changed.
    activation
        ``NO_ACTIVATION``, ``ELU`` or ``RELU``.
    """

    transformed_weight: Tensor
    bias: Tensor

    def __init__(self, convolution: nn.Conv2d, activation: int = NO_ACTIVATION) -> None:
        super().__init__()
        self.plain = convolution
        self.activation = activation
        bias = convolution.bias
        self.register_buffer("transformed_weight", transformed(convolution.weight))
        zeros = torch.zeros(convolution.out_channels) if bias is None else bias.detach()
        self.register_buffer("bias", zeros.contiguous())

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Activation of the convolution, plus ``added``: (N, C, H, W) -> (N, K, H, W)."""
        if x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return self._plainly(x, added)
        x = x.contiguous(memory_format=torch.channels_last)
        size = (len(x), self.plain.out_channels, *x.shape[2:])
        result = torch.empty(size, memory_format=torch.channels_last)
        more = result
        if added is not None:
            more = added.contiguous(memory_format=torch.channels_last)
        for section, plus, to in zip(x, more, result, strict=True):
            self._section(section, plus, to, added is not None)
        return result

    def _section(self, x: Tensor, added: Tensor, result: Tensor, adds: bool) -> None:
        """(C, H, W) of one section, channels last, to (K, H, W)."""
        dilation = self.plain.dilation[0]
        source, more, to = (t.detach().permute(1, 2, 0).numpy() for t in (x, added, result))
        tile_rows, across = (-(-n // (4 * dilation)) for n in x.shape[1:])
        strips = [(row, phase) for row in range(tile_rows) for phase in range(dilation)]
        tiles = dilation * across
        at_once = max(1, TILES_AT_ONCE // tiles)
        bias = self.bias.numpy()

        def compute(piece: int) -> None:
            here = strips[piece * at_once : (piece + 1) * at_once]
            v = torch.empty(36, len(here) * tiles, x.shape[0])
            flat = v.numpy().reshape(36, -1)
            for n, (row, phase) in enumerate(here):
                to_tiles(source, dilation, row, phase, flat, n * tiles)
            flat = torch.bmm(v, self.transformed_weight).numpy().reshape(36, -1)
            for n, (row, phase) in enumerate(here):
                first, how = n * tiles, self.activation
                from_tiles(flat, dilation, row, phase, first, bias, more, adds, how, to)

        in_threads(compute, -(-len(strips) // at_once))

    def _plainly(self, x: Tensor, added: Tensor | None) -> Tensor:
        """In reduced precision, which has instructions of its own."""
        result: Tensor = self.plain(x)
        if added is not None:
            result = result + added
        if self.activation == ELU:
            return elu(result, inplace=True)
        return relu(result, inplace=True) if self.activation == RELU else result

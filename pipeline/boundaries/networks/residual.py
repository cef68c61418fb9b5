"""Layers of the residual networks: residual unit and block, subpixel upsampling."""

from __future__ import annotations

from torch import Tensor, nn


def convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A 3 × 3 convolution without bias that keeps the size, but for its stride."""
    return nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


class ResidualUnit(nn.Module):
    """Two 3×3 convolutions with batch normalisation and ELU around an identity."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(inputs, outputs, stride, dilation),
            nn.BatchNorm2d(outputs),
            nn.ELU(),
            convolution(outputs, outputs, 1, dilation),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.activation = nn.ELU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        result: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result


def residual_block(
    inputs: int, outputs: int, units: int, stride: int = 1, dilation: int = 1
) -> nn.Module:
    """Residual units one after another; the first has the stride."""
    first = ResidualUnit(inputs, outputs, stride, dilation)
    rest = [ResidualUnit(outputs, outputs, 1, dilation) for _ in range(units - 1)]
    return nn.Sequential(first, *rest)


class SubpixelUpsampling(nn.Module):
    """Twice the resolution: a convolution to 4 times the channels, then periodic shuffling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(inputs, 4 * outputs),
            nn.PixelShuffle(2),
            nn.BatchNorm2d(outputs),
            nn.ELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', 2 H, 2 W)."""
        result: Tensor = self.body(x)
        return result

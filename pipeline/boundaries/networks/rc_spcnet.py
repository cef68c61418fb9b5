"""RC-SPCNet: residual, contextual, subpixel convolution network.

Xiao et al., Comput. Methods Programs Biomed. 2022, section 2.2: a stem, six residual blocks
down to 1/8 of the resolution, the last four dilated, two context skips that are summed, and
subpixel convolutions up again. Widths are parameters; the paper's are larger.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

STRIDE = 8
Width = Annotated[int, Field(ge=1, le=2048)]
Units = Annotated[int, Field(ge=1, le=64)]
Dilation = Annotated[int, Field(ge=1, le=64)]


class RCSPCNetConfig(BaseModel):
    """Shape of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["rc_spcnet"] = "rc_spcnet"
    stem: int = Field(24, ge=4, le=256, description="Channels at full and half resolution.")
    widths: tuple[Width, Width] = Field(
        (64, 128), description="Channels at 1/4 and at 1/8 of the resolution."
    )
    units: tuple[Units, Units, Units, Units, Units, Units] = Field(
        (2, 2, 1, 1, 1, 1), description="Residual units in each of the six blocks."
    )
    dilations: tuple[Dilation, Dilation, Dilation, Dilation] = Field(
        (2, 4, 4, 2), description="Dilation of blocks 3 to 6, in pixels at 1/8 resolution."
    )
    context_skips: Literal[0, 1, 2] = Field(
        2, description="Number k of summed skip connections from higher resolutions."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout between the last convolutions.")


def _convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


class ResidualUnit(nn.Module):
    """Two 3×3 convolutions with batch normalisation and ELU around an identity."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(inputs, outputs, stride, dilation),
            nn.BatchNorm2d(outputs),
            nn.ELU(),
            _convolution(outputs, outputs, 1, dilation),
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


def _block(inputs: int, outputs: int, units: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    first = ResidualUnit(inputs, outputs, stride, dilation)
    rest = [ResidualUnit(outputs, outputs, 1, dilation) for _ in range(units - 1)]
    return nn.Sequential(first, *rest)


class SubpixelUpsampling(nn.Module):
    """Twice the resolution: a convolution to 4 times the channels, then periodic shuffling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(inputs, 4 * outputs),
            nn.PixelShuffle(2),
            nn.BatchNorm2d(outputs),
            nn.ELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', 2 H, 2 W)."""
        result: Tensor = self.body(x)
        return result


class RCSPCNet(nn.Module):
    """Two-class logits (not boundary, boundary) for every pixel of grey sections."""

    def __init__(self, config: RCSPCNetConfig) -> None:
        super().__init__()
        stem, (quarter, eighth) = config.stem, config.widths
        units, dilations = config.units, config.dilations
        self.context_skips = config.context_skips
        self.stem = nn.Sequential(
            _convolution(1, stem), nn.BatchNorm2d(stem), nn.ELU(), nn.MaxPool2d(2)
        )
        self.block1 = _block(stem, quarter, units[0], stride=2)
        self.block2 = _block(quarter, eighth, units[1], stride=2)
        self.context = nn.Sequential(
            *(
                _block(eighth, eighth, n, dilation=d)
                for n, d in zip(units[2:], dilations, strict=True)
            )
        )
        self.up_quarter = SubpixelUpsampling(eighth, quarter)
        self.up_half = SubpixelUpsampling(quarter, stem)
        self.up_full = SubpixelUpsampling(stem, stem)
        self.head = nn.Sequential(
            _convolution(stem, stem),
            nn.BatchNorm2d(stem),
            nn.ELU(),
            nn.Dropout2d(config.dropout),
            nn.Conv2d(stem, 2, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of normalised sections.

        Parameters
        ----------
        x
            (N, 1, H, W), 0..1; H and W are multiples of 8.

        Returns
        -------
        logits
            (N, 2, H, W): not boundary, boundary.
        """
        half = self.stem(2 * x - 1)
        quarter = self.block1(half)
        deep = self.context(self.block2(quarter))
        up = self.up_quarter(deep)
        up = self.up_half(up + quarter if self.context_skips >= 1 else up)
        up = self.up_full(up + half if self.context_skips == 2 else up)
        logits: Tensor = self.head(up)
        return logits


def build(config: dict[str, object]) -> nn.Module:
    """The network of a model card's ``network`` section."""
    return RCSPCNet(RCSPCNetConfig.model_validate(config))


def boundary_probability(logits: Tensor) -> Tensor:
    """P(boundary), (N, H, W) float32, from two-class logits (N, 2, H, W)."""
    return torch.softmax(logits.float(), dim=1)[:, 1]

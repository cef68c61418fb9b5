"""U-Net (Ronneberger, Fischer, Brox, MICCAI 2015), padded, so that the map has the input's size."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn


class UNetConfig(BaseModel):
    """Shape of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    context_sections: ClassVar[int] = 0

    architecture: Literal["u_net"] = "u_net"
    width: int = Field(
        16, ge=4, le=256, description="Channels at full resolution; each level has twice as many."
    )
    depth: int = Field(4, ge=1, le=6, description="How often the resolution is halved.")
    batch_normalisation: bool = Field(
        True, description="Normalise after every 3 x 3 convolution; the paper does not."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout at the coarsest level.")

    @property
    def stride(self) -> int:
        """Sides of the input are multiples of this, in pixels."""
        return int(2**self.depth)


def _two_convolutions(inputs: int, outputs: int, normalise: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not normalise))
        if normalise:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Two-class logits (not boundary, boundary) for every pixel of grey sections."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        normalise = config.batch_normalisation
        self.down = nn.ModuleList(
            _two_convolutions(inputs, outputs, normalise)
            for inputs, outputs in zip([1, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(config.dropout)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in reversed(widths[:-1])
        )
        self.joined = nn.ModuleList(
            _two_convolutions(2 * width, width, normalise) for width in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(config.width, 2, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # keeps the variance, as in the paper's section 3
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits of normalised sections.

        Parameters
        ----------
        x
            (N, 1, H, W), 0..1; H and W are multiples of 2 to the power of the depth.

        Returns
        -------
        logits
            (N, 2, H, W): not boundary, boundary.
        """
        x = self.down[0](2 * x - 1)
        finer = []
        for block in self.down[1:]:
            finer.append(x)
            x = block(self.pool(x))
        x = self.dropout(x)
        for up, joined in zip(self.up, self.joined, strict=True):
            x = joined(torch.cat((finer.pop(), up(x)), 1))
        logits: Tensor = self.head(x)
        return logits


PAPER = UNetConfig(width=64, depth=4, batch_normalisation=False, dropout=0.5)
"""The paper's own."""

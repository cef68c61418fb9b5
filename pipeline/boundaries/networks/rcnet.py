"""RCNet: RC-SPCNet with deconvolution in the place of subpixel convolution (Xiao et al. 2022)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from pipeline.boundaries.networks import rc_spcnet
from pipeline.boundaries.networks.residual_contextual import (
    ResidualContextualConfig,
    ResidualContextualNetwork,
)


class RCNetConfig(ResidualContextualConfig):
    """Shape of the network."""

    architecture: Literal["rcnet"] = "rcnet"


class Deconvolution(nn.Module):
    """Twice the resolution: a transposed 4 × 4 convolution, which every pixel gets 4 taps of."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', 2 H, 2 W)."""
        result: Tensor = self.body(x)
        return result


class RCNet(ResidualContextualNetwork):
    """The residual contextual network with deconvolutions."""

    def __init__(self, config: RCNetConfig) -> None:
        super().__init__(config, Deconvolution)


PAPER = RCNetConfig.model_validate(rc_spcnet.PAPER.model_dump(exclude={"architecture"}))
"""See ``rc_spcnet.PAPER``."""

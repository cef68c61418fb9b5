"""RC-SPCNet: residual, contextual, subpixel convolution network (Xiao et al. 2022)."""

from __future__ import annotations

from typing import Literal

from pipeline.boundaries.networks.residual import SubpixelUpsampling
from pipeline.boundaries.networks.residual_contextual import (
    STRIDE,
    ResidualContextualConfig,
    ResidualContextualNetwork,
)

__all__ = ["STRIDE", "RCSPCNet", "RCSPCNetConfig"]


class RCSPCNetConfig(ResidualContextualConfig):
    """Shape of the network."""

    architecture: Literal["rc_spcnet"] = "rc_spcnet"


class RCSPCNet(ResidualContextualNetwork):
    """The residual contextual network with subpixel convolutions."""

    def __init__(self, config: RCSPCNetConfig) -> None:
        super().__init__(config, SubpixelUpsampling)


PAPER = RCSPCNetConfig(
    stem=64, widths=(128, 512), units=(3, 3, 6, 3, 1, 1), dilations=(2, 2, 4, 4), dropout=0.5
)
"""Units and channels of its backbone, ResNet38 (Wu et al. 2019, blocks B2 to B7), as far as
blocks of two widths can hold them; the paper's own stand in its Figure 3 only, not in its text."""

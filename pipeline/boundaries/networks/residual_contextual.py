"""What RCNet and RC-SPCNet share: all but the layer that doubles the resolution.

Xiao et al., Comput. Methods Programs Biomed. 2022, section 2.2: a stem, six residual blocks
down to 1/8 of the resolution, the last four dilated, up to two context skips that are summed,
and three layers up again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pipeline.boundaries.networks.residual import convolution, residual_block

STRIDE = 8
Width = Annotated[int, Field(ge=1, le=2048)]
Units = Annotated[int, Field(ge=1, le=64)]
Dilation = Annotated[int, Field(ge=1, le=64)]


class ResidualContextualConfig(BaseModel):
    """Shape of an RCNet or RC-SPCNet."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    context_sections: ClassVar[int] = 0

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

    @property
    def stride(self) -> int:
        """Sides of the input are multiples of this, in pixels."""
        return STRIDE


class ResidualContextualNetwork(nn.Module):
    """Two-class logits (not boundary, boundary) for every pixel of grey sections.

    Parameters
    ----------
    config
        Its shape.
    upsampling
        ``(inputs, outputs) -> layer`` that doubles the resolution.
    """

    def __init__(
        self, config: ResidualContextualConfig, upsampling: Callable[[int, int], nn.Module]
    ) -> None:
        super().__init__()
        stem, (quarter, eighth) = config.stem, config.widths
        units, dilations = config.units, config.dilations
        self.context_skips = config.context_skips
        self.stem = nn.Sequential(
            convolution(1, stem), nn.BatchNorm2d(stem), nn.ELU(), nn.MaxPool2d(2)
        )
        self.block1 = residual_block(stem, quarter, units[0], stride=2)
        self.block2 = residual_block(quarter, eighth, units[1], stride=2)
        self.context = nn.Sequential(
            *(
                residual_block(eighth, eighth, n, dilation=d)
                for n, d in zip(units[2:], dilations, strict=True)
            )
        )
        self.up_quarter = upsampling(eighth, quarter)
        self.up_half = upsampling(quarter, stem)
        self.up_full = upsampling(stem, stem)
        self.head = nn.Sequential(
            convolution(stem, stem),
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

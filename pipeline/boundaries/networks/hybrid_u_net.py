"""Residual hybrid 2D-3D U-Net: the boundary of the middle one of several sections.

For stacks whose sections are thick: at the fine resolutions neighbouring sections do not lie
pixel on pixel, so each is seen alone, by the same 2D units; at the coarse ones 3D units see all
together. There the sections are fused into one, and 2D units lead back to full resolution, with
skips that are summed: of the fine levels the middle section's, of the coarse ones the fused.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from pipeline.boundaries.networks.residual import (
    SubpixelUpsampling,
    convolution,
    residual_block,
)


class HybridUNetConfig(BaseModel):
    """Shape of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["hybrid_u_net"] = "hybrid_u_net"
    context_sections: int = Field(
        1, ge=0, le=8, description="Sections that are seen on each side of the predicted one."
    )
    width: int = Field(
        16, ge=8, le=256, description="Channels at full resolution; each level has twice as many."
    )
    depth: int = Field(3, ge=1, le=6, description="How often the resolution is halved.")
    flat_levels: int = Field(
        2, ge=1, le=6, description="Finest levels, at most depth, whose convolutions are 2D."
    )
    units: int = Field(1, ge=1, le=16, description="Residual units at each level on the way down.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the last convolution.")

    @model_validator(mode="after")
    def _some_level_is_3d(self) -> Self:
        if self.flat_levels > self.depth:
            raise ValueError(
                f"flat_levels = {self.flat_levels} leaves no level of 3D convolutions; "
                f"give at most depth = {self.depth}"
            )
        return self

    @property
    def stride(self) -> int:
        """Sides of the input are multiples of this, in pixels."""
        return int(2**self.depth)


class ResidualUnit3D(nn.Module):
    """A 1×3×3 and a 3×3×3 convolution with batch normalisation and ELU around an identity."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        steps = (1, stride, stride)
        self.body = nn.Sequential(
            nn.Conv3d(inputs, outputs, (1, 3, 3), steps, padding=(0, 1, 1), bias=False),
            nn.BatchNorm3d(outputs),
            nn.ELU(),
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, steps, bias=False), nn.BatchNorm3d(outputs)
            )
        self.activation = nn.ELU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, H, W) -> (N, C', S, H / stride, W / stride)."""
        result: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result


class Fusion(nn.Module):
    """All sections into one: at every pixel a weighted sum over sections and channels."""

    def __init__(self, channels: int, sections: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(channels, channels, (sections, 1, 1), bias=False),
            nn.BatchNorm3d(channels),
            nn.ELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, H, W) -> (N, C, H, W)."""
        result: Tensor = self.body(x).squeeze(2)
        return result


class HybridUNet(nn.Module):
    """Two-class logits (not boundary, boundary) for every pixel of the middle section."""

    def __init__(self, config: HybridUNetConfig) -> None:
        super().__init__()
        self.sections = 2 * config.context_sections + 1
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        flat, units = config.flat_levels, config.units
        self.stem = nn.Sequential(convolution(1, widths[0]), nn.BatchNorm2d(widths[0]), nn.ELU())
        self.flat = nn.ModuleList(
            residual_block(widths[max(level - 1, 0)], widths[level], units, 1 if level == 0 else 2)
            for level in range(flat)
        )
        self.deep = nn.ModuleList(
            nn.Sequential(
                ResidualUnit3D(widths[level - 1], widths[level], 2),
                *(ResidualUnit3D(widths[level], widths[level]) for _ in range(units - 1)),
            )
            for level in range(flat, config.depth + 1)
        )
        self.fusions = nn.ModuleList(Fusion(width, self.sections) for width in widths[flat:])
        finer = list(reversed(range(config.depth)))
        self.up = nn.ModuleList(SubpixelUpsampling(widths[n + 1], widths[n]) for n in finer)
        self.joined = nn.ModuleList(residual_block(widths[n], widths[n], 1) for n in finer)
        self.head = nn.Sequential(
            nn.Dropout2d(config.dropout), nn.Conv2d(widths[0], 2, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the middle one of normalised sections.

        Parameters
        ----------
        x
            (N, S, H, W), 0..1, S sections in their order along z; H and W are multiples of 2
            to the power of the depth.

        Returns
        -------
        logits
            (N, 2, H, W): not boundary, boundary.
        """
        n, s = x.shape[:2]
        if s != self.sections:
            raise ValueError(f"the network sees {self.sections} sections at a time, not {s}")
        each = self.stem(2 * x.reshape(n * s, 1, *x.shape[2:]) - 1)
        skips = []
        for block in self.flat:
            each = block(each)
            skips.append(each.unflatten(0, (n, s))[:, s // 2])
        stack = each.unflatten(0, (n, s)).transpose(1, 2)
        for block, fusion in zip(self.deep, self.fusions, strict=True):
            stack = block(stack)
            skips.append(fusion(stack))
        up = skips.pop()
        for upsampling, joined in zip(self.up, self.joined, strict=True):
            up = joined(upsampling(up) + skips.pop())
        logits: Tensor = self.head(up)
        return logits

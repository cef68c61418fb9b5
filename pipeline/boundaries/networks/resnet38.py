"""ResNet38: the backbone alone, with plain upsampling and no skips from finer resolutions.

Wu, Shen, van den Hengel, Wider or Deeper, Pattern Recognition 2019, model A: pre-activated
residual units, wide and few, at 1/8 of the resolution from the third block on, where dilation
takes the place of strides. The logits of 1/8 of the resolution are interpolated.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

STRIDE = 8


class ResNet38Config(BaseModel):
    """Shape of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    context_sections: ClassVar[int] = 0

    architecture: Literal["resnet38"] = "resnet38"
    width: int = Field(
        8,
        ge=4,
        le=128,
        description="Channels of the first convolution; blocks have 2, 4, 8, 16, 32 and 64 times "
        "as many.",
    )
    classifier_dilation: int = Field(
        12, ge=1, le=64, description="Dilation of the last two convolutions, at 1/8 resolution."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout in the last two blocks.")

    @property
    def stride(self) -> int:
        """Sides of the input are multiples of this, in pixels."""
        return STRIDE


class PreActivatedUnit(nn.Module):
    """Normalisation and ReLU before each convolution, around an identity.

    Parameters
    ----------
    channels
        Of the input, of what each convolution gives, the last of the output.
    kernels
        Sides of the convolutions' kernels.
    stride
        Of the first convolution.
    dilations
        Of the convolutions.
    dropout
        Before the last convolution.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        kernels: tuple[int, ...],
        dilations: tuple[int, ...],
        stride: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs, outputs = channels[0], channels[-1]
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        layers: list[nn.Module] = []
        for i, (kernel, dilation) in enumerate(zip(kernels, dilations, strict=True)):
            if i > 0:
                layers += [nn.BatchNorm2d(channels[i]), nn.ReLU()]
            if i == len(kernels) - 1 and dropout > 0:
                layers.append(nn.Dropout2d(dropout))
            layers.append(
                nn.Conv2d(
                    channels[i],
                    channels[i + 1],
                    kernel,
                    stride=stride if i == 0 else 1,
                    padding=dilation * (kernel // 2),
                    dilation=dilation,
                    bias=False,
                )
            )
        self.body = nn.Sequential(*layers)
        self.shortcut: nn.Module | None = None
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        active = self.before(x)
        result: Tensor = self.body(active) + (x if self.shortcut is None else self.shortcut(active))
        return result


def _block(
    inputs: int, middle: int, outputs: int, units: int, stride: int = 1, dilation: int = 1
) -> nn.Module:
    """Units of two 3 × 3 convolutions, all dilated but the first."""
    first = PreActivatedUnit((inputs, middle, outputs), (3, 3), (1, dilation), stride)
    rest = [
        PreActivatedUnit((outputs, middle, outputs), (3, 3), (dilation, dilation))
        for _ in range(units - 1)
    ]
    return nn.Sequential(first, *rest)


class ResNet38(nn.Module):
    """Two-class logits (not boundary, boundary) for every pixel of grey sections."""

    def __init__(self, config: ResNet38Config) -> None:
        super().__init__()
        w, dropout = config.width, config.dropout
        self.stem = nn.Conv2d(1, w, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(
            _block(w, 2 * w, 2 * w, 3, stride=2),
            _block(2 * w, 4 * w, 4 * w, 3, stride=2),
            _block(4 * w, 8 * w, 8 * w, 6, stride=2),
            _block(8 * w, 8 * w, 16 * w, 3, dilation=2),
            PreActivatedUnit((16 * w, 8 * w, 16 * w, 32 * w), (1, 3, 1), (1, 4, 1), 1, dropout),
            PreActivatedUnit((32 * w, 16 * w, 32 * w, 64 * w), (1, 3, 1), (1, 4, 1), 1, dropout),
        )
        far = config.classifier_dilation
        self.head = nn.Sequential(
            nn.BatchNorm2d(64 * w),
            nn.ReLU(),
            nn.Conv2d(64 * w, 8 * w, 3, padding=far, dilation=far),
            nn.ReLU(),
            nn.Conv2d(8 * w, 2, 3, padding=far, dilation=far),
            nn.Upsample(scale_factor=STRIDE, mode="bilinear", align_corners=False),
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
        logits: Tensor = self.head(self.blocks(self.stem(2 * x - 1)))
        return logits


PAPER = ResNet38Config(width=64, dropout=0.5)
"""Channels of model A of Wu et al. 2019."""

"""Arithmetic of a training: fp32, or mixed with bf16 or fp16.

Weights, losses, gradients' sums and averages are fp32 in all of them. fp16 has a small range, so
its loss is scaled up before the gradients are computed; a step whose gradients overflow is left
out and the factor is halved (Micikevicius et al., "Mixed precision training", ICLR 2018).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from pipeline.boundaries.device import choose_precision

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def mixed_with(precision: PrecisionName, device: str) -> torch.dtype:
    """The type that convolutions compute in; ``float32``: nothing is mixed.

    ``auto`` never becomes fp16, which prediction takes on older GPUs: its losses may overflow.
    """
    chosen = choose_precision(precision, device)
    return TYPES["fp32" if precision == "auto" and chosen == "fp16" else chosen]


def arithmetic(precision: PrecisionName, device: str) -> AbstractContextManager[object]:
    """The context in which a network runs while it is trained or validated."""
    kind = mixed_with(precision, device)
    mixed = kind != torch.float32
    return torch.autocast(kind_of(device), kind if mixed else torch.bfloat16, enabled=mixed)


def loss_scaler(precision: PrecisionName, device: str) -> torch.amp.GradScaler:
    """What scales losses of fp16; with other arithmetic it does nothing."""
    fp16 = mixed_with(precision, device) == torch.float16
    return torch.amp.GradScaler(kind_of(device), enabled=fp16)


def kind_of(device: str) -> str:
    """``cuda`` of ``cuda:1``."""
    return device.partition(":")[0]

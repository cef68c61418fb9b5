"""Parameters of a training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.boundaries.networks.rc_spcnet import RCSPCNetConfig
from pipeline.training.augmentation import AugmentationConfig


class TrainingConfig(BaseModel):
    """One training of a boundary network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: RCSPCNetConfig = Field(RCSPCNetConfig(), description="Shape of the network.")
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="How far crops are changed."
    )
    steps: int = Field(10_000, ge=1, description="Number of optimiser steps.")
    batch: int = Field(4, ge=1, description="Crops a step.")
    crop: int = Field(256, ge=32, multiple_of=8, description="Side of a crop, in pixels.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate of AdamW.")
    warmup_steps: int = Field(200, ge=1, description="Steps of linear warm-up before the cosine.")
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay of AdamW.")
    gradient_norm: float = Field(1.0, gt=0, description="Gradients are clipped at this norm.")
    loss: Literal["cross_entropy", "soft_dice", "cross_entropy_and_dice"] = Field(
        "cross_entropy_and_dice", description="Name of the loss."
    )
    boundary_weight: float = Field(
        1.5, gt=0, description="Weight of boundary pixels in the cross-entropy."
    )
    average_decay: float = Field(
        0.999, ge=0, lt=1, description="Decay of the exponential moving average of the weights."
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    checkpoint_steps: int = Field(250, ge=1, description="Steps between checkpoints.")

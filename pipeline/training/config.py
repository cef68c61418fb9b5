"""Parameters of a training."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    field_validator,
    model_validator,
)

from pipeline.boundaries.networks import NETWORKS, AnyConfig, NetworkConfig
from pipeline.boundaries.networks.rc_spcnet import RCSPCNetConfig
from pipeline.training.augmentation import AugmentationConfig
from pipeline.training.losses import LossConfig
from pipeline.training.precision import PrecisionName
from pipeline.training.schedules import ScheduleConfig


class ValidationConfig(BaseModel):
    """Sections that a training does not learn from, and what it takes from them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Of each volume's annotated sections, the last ones; 0 = none, but for those "
        "of volumes with validation_sections.",
    )
    every_steps: int = Field(500, ge=1, description="Steps between validations.")
    sections: int = Field(
        8, ge=1, description="Most sections of a volume that are scored, evenly spaced."
    )
    watch: Literal["loss", "v_rand"] = Field(
        "loss", description="What is to improve: the loss, or V_rand at the best threshold."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Validations without improvement until the training ends; null = it goes on.",
    )
    keep: Literal["best", "last"] = Field(
        "best", description="The weights of the best validation, or the last ones."
    )


def _named(network: AnyConfig, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
    """With the architecture also where defaults are left out: each network has its own."""
    return {"architecture": network.architecture, **handler(network)}


class TrainingConfig(ScheduleConfig, LossConfig):
    """One training of a boundary network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Annotated[NetworkConfig, WrapSerializer(_named)] = Field(
        RCSPCNetConfig(),
        description="Architecture and shape of the network; 'shape: paper' takes that of its paper "
        "for keys that are not given, 'shape: small' our own.",
    )
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="How far crops are changed."
    )
    validation: ValidationConfig = Field(
        ValidationConfig(), description="What is held out to validate on."
    )
    batch: int = Field(4, ge=1, description="Crops a step.")
    crop: int = Field(256, ge=32, multiple_of=8, description="Side of a crop, in pixels.")
    pixel_nm: float | None = Field(
        None,
        gt=0,
        description="Edge of a crop's pixel in nm, whatever the voxels' own; null = their own.",
    )
    optimiser: Literal["adamw", "adam"] = Field(
        "adamw", description="AdamW (Loshchilov 2019) or Adam (Kingma 2015)."
    )
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay of the optimiser.")
    gradient_norm: float | None = Field(
        1.0, gt=0, description="Gradients are clipped at this norm; null = they are not."
    )
    average_decay: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights; 0 = no average.",
    )
    precision: PrecisionName = Field(
        "auto",
        description="Arithmetic of the network: fp32, or mixed with bf16 or fp16 (with scaled "
        "losses); auto = bf16 where the device has it, else fp32.",
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    checkpoint_steps: int = Field(250, ge=1, description="Steps between checkpoints.")

    @field_validator("network", mode="before")
    @classmethod
    def _named_shape(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "shape" not in values:
            return values
        given = {k: v for k, v in values.items() if k != "shape"}
        architecture = given.get("architecture", RCSPCNetConfig().architecture)
        if not isinstance(architecture, str) or architecture not in NETWORKS:
            return given  # which the union refuses, naming those that there are
        if values["shape"] == "small":
            return {"architecture": architecture, **given}
        paper = NETWORKS[architecture].paper
        if values["shape"] != "paper" or paper is None:
            known = ", ".join(name for name, network in NETWORKS.items() if network.paper)
            raise ValueError(f"shape may be 'small', or 'paper', which these have: {known}")
        return paper.model_dump() | given

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop % self.stride:
            raise ValueError(
                f"crop = {self.crop} is no multiple of {self.stride}, which "
                f"{self.network.architecture} needs"
            )
        return self

    @property
    def context_sections(self) -> int:
        """Sections on each side of the predicted one that the network sees."""
        return int(self.network.context_sections)

    @property
    def stride(self) -> int:
        """Sides of the network's input are multiples of this, in pixels."""
        return int(self.network.stride)

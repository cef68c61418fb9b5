"""How an annotated volume is described in the configuration of a training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.contract import Box, Triple
from pipeline.errors import InputError


class AnnotatedVolume(BaseModel):
    """One volume with ground truth; paths are relative to the ``--data`` folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name for messages and the model card.")
    raw: str = Field(
        description="Grey values, zyx: OME-Zarr or zarr array (path or address), or TIFF."
    )
    truth: str = Field(
        description="Ground truth, zyx, from the same first voxel on; files as of raw."
    )
    truth_kind: Literal["labels", "membranes", "cells"] = Field(
        description="Labels of neurites, a mask of membranes, or a mask whose 0 is membrane."
    )
    sections: tuple[int, int] | None = Field(
        None, description="First and one past the last z that may be learned from."
    )
    annotated_sections: tuple[int, ...] | None = Field(
        None,
        description="Those of them that are annotated; null = all that are not blank (all 0).",
    )
    unlabelled: int | None = Field(
        None, description="Value of the truth that means: not annotated here."
    )
    known: str | None = Field(
        None, description="Mask volume of the truth's shape, 0 = not annotated there."
    )
    held_back: tuple[int, int, int, int, int, int] | None = Field(
        None,
        description="z begin, z end, y begin, y end, x begin, x end, not learned from: the network "
        "is scored there before and after.",
    )
    validation_sections: tuple[int, int] | None = Field(
        None,
        description="First and one past the last z that the training validates on instead of "
        "learning from them; null = training.validation.share of the sections.",
    )
    region: tuple[int, int, int, int] | None = Field(
        None, description="Only these pixels: y begin, y end, x begin, x end."
    )
    voxel_size_nm: tuple[float, float, float] | None = Field(
        None, description="z, y, x in nanometres; needed where the metadata have none."
    )
    separate_sections: bool = Field(
        False, description="The sections are not neighbours in z (no 3D context)."
    )
    zero_is_boundary: bool = Field(
        True,
        description="Label 0 is membrane; if false it is anything, and only its border with a "
        "label is known to be membrane.",
    )
    weight: float = Field(1.0, gt=0, description="Relative number of crops; weight of each edge.")
    licence: str = Field("", description="Terms of the data, for the model card.")

    @property
    def size_nm(self) -> tuple[float, float, float]:
        """Voxel size, z, y, x; known once the volume is ``described``."""
        if self.voxel_size_nm is None:
            raise AssertionError(f"{self.name} is not described yet")
        return self.voxel_size_nm

    @property
    def isotropic(self) -> bool:
        """Whether crops may be taken from all three planes."""
        return self.size_nm[0] < 2 * self.size_nm[2] and not self.separate_sections

    def box(self, shape: Triple) -> Box:
        """The chosen sections and region of a stack of this shape."""
        depth, height, width = shape
        begin, end = self.sections or (0, depth)
        if not 0 <= begin < end <= depth:
            raise InputError(f"{self.name}: sections {begin}..{end} do not lie inside 0..{depth}")
        top, bottom, left, right = self.region or (0, height, 0, width)
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise InputError(
                f"{self.name}: region {[top, bottom, left, right]} does not lie inside {height} x "
                f"{width} pixels"
            )
        return Box((begin, top, left), (end, bottom, right))

    def half(self, fold: int) -> AnnotatedVolume:
        """The first (0) or second (1) half of the annotated sections; nothing is held back."""
        if self.sections is None:
            raise InputError(f"{self.name}: folds need 'sections: [first, end]' in the config")
        begin, end = self.sections
        listed = self.annotated_sections or tuple(range(begin, end))
        if len(listed) < 2:
            raise InputError(
                f"{self.name}: folds need two annotated sections or more, not {len(listed)}; "
                "annotate another, or keep the shipped forests"
            )
        middle = listed[len(listed) // 2]
        bounds = (begin, middle) if fold == 0 else (middle, end)
        inside = tuple(z for z in listed if bounds[0] <= z < bounds[1])
        return self.model_copy(
            update={
                "sections": bounds,
                "annotated_sections": self.annotated_sections and inside,
                "held_back": None,
                "validation_sections": None,
            }
        )

"""Annotated volumes of a training, described in YAML, as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import InputError
from pipeline.normalisation import IntensityConfig, normalise, percentiles
from pipeline.training.loop import TrainingVolume
from pipeline.training.targets import from_labels, from_mask

GREY_DTYPES = ("uint8", "uint16", "float32")


class AnnotatedVolume(BaseModel):
    """One volume with ground truth; paths are relative to the ``--data`` folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name for messages and the model card.")
    raw: str = Field(description="TIFF of grey values, zyx.")
    truth: str = Field(description="TIFF of ground truth, zyx.")
    truth_kind: Literal["labels", "membranes", "cells"] = Field(
        description="Labels of neurites, a mask of membranes, or a mask whose 0 is membrane."
    )
    sections: tuple[int, int] | None = Field(
        None, description="First and one past the last z that may be learned from."
    )
    region: tuple[int, int, int, int] | None = Field(
        None, description="Only these pixels: y begin, y end, x begin, x end."
    )
    voxel_size_nm: tuple[float, float, float] = Field(description="z, y, x in nanometres.")
    separate_sections: bool = Field(
        False, description="The sections are not neighbours in z (no 3D context)."
    )
    zero_is_boundary: bool = Field(True, description="Label 0 is membrane, not unknown.")
    weight: float = Field(1.0, gt=0, description="Relative number of crops; weight of each edge.")
    licence: str = Field("", description="Terms of the data, for the model card.")

    @property
    def isotropic(self) -> bool:
        """Whether crops may be taken from all three planes."""
        return self.voxel_size_nm[0] < 2 * self.voxel_size_nm[2] and not self.separate_sections

    def bounds(self, length: int) -> tuple[int, int]:
        """First and one past the last z, inside a stack of ``length`` sections."""
        begin, end = self.sections or (0, length)
        if not 0 <= begin < end <= length:
            raise InputError(f"{self.name}: sections {begin}..{end} do not lie inside 0..{length}")
        return begin, end

    def cut(self, stack: NDArray[Any]) -> NDArray[Any]:
        """The chosen sections and region of a whole stack."""
        begin, end = self.bounds(len(stack))
        if self.region is None:
            return stack[begin:end]
        top, bottom, left, right = self.region
        _, height, width = stack.shape
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise InputError(
                f"{self.name}: region {list(self.region)} does not lie inside {height} x {width} "
                "pixels"
            )
        return stack[begin:end, top:bottom, left:right]

    def half(self, fold: int) -> AnnotatedVolume:
        """The first (0) or second (1) half of the sections."""
        if self.sections is None:
            raise InputError(f"{self.name}: folds need 'sections: [first, end]' in the config")
        begin, end = self.sections
        middle = (begin + end) // 2
        return self.model_copy(update={"sections": (begin, middle) if fold == 0 else (middle, end)})


def read_tiff(path: Path) -> NDArray[Any]:
    """A TIFF stack, (Z, Y, X)."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        array: NDArray[Any] = tifffile.imread(path)
    except Exception as error:  # damaged TIFFs make the decoders raise anything
        raise InputError(f"{path}: not a readable TIFF ({error})") from error
    if array.ndim != 3:
        raise InputError(f"{path}: has {array.ndim} dimensions, a stack (z, y, x) has 3")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def read_pair(volume: AnnotatedVolume, data: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Raw data and ground truth of the chosen sections and region.

    Raises
    ------
    InputError
        If a file cannot be read, the grey values have a dtype that the pipeline does not
        take, or the shapes differ.
    """
    raw, truth = (volume.cut(read_tiff(data / path)) for path in (volume.raw, volume.truth))
    if raw.dtype.name not in GREY_DTYPES:
        raise InputError(
            f"{data / volume.raw}: has dtype {raw.dtype.name}; convert it to one of "
            f"{', '.join(GREY_DTYPES)}"
        )
    if raw.shape != truth.shape:
        raise InputError(f"{volume.name}: raw is {raw.shape}, ground truth is {truth.shape}")
    return raw, truth


def load(volume: AnnotatedVolume, data: Path) -> TrainingVolume:
    """Raw data, normalised over the chosen sections, and the target."""
    raw, truth = read_pair(volume, data)
    if volume.truth_kind == "labels":
        target = from_labels(
            truth, isotropic=volume.isotropic, zero_is_boundary=volume.zero_is_boundary
        )
    else:
        target = from_mask(truth, membrane_is_zero=volume.truth_kind == "cells")
    try:
        low, high = percentiles(raw, IntensityConfig())
    except InputError as error:
        raise InputError(f"{data / volume.raw}: {error}") from error
    normal = normalise(raw, {"low": np.array([low]), "high": np.array([high])})
    return TrainingVolume(volume.name, normal, target, volume.weight, volume.isotropic)

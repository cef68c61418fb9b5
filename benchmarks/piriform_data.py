"""The Seung lab's four stacks of mouse piriform cortex: ``stackN-image.tif``, ``stackN-label.tif``.

Images are grey values of 8 or 16 bits; labels ids of 8, 16 or 32 bits, or colours (24-bit RGB),
0 or black where a membrane is or nothing is labelled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import Dataset
from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from workflows.voxel_files import open_annotation, open_grey

FOLDER = "piriform"
VOXEL_SIZE_NM = (40.0, 7.0, 7.0)
TEST_STACKS = (3, 4)


@dataclass(frozen=True, eq=False)
class Stack:
    """A stack, or its first sections and pixels.

    Parameters
    ----------
    number
        1 to 4.
    image
        TIFF of the grey values.
    ids
        (Z, Y, X), 0 = boundary or not labelled.
    """

    number: int
    image: Path
    ids: NDArray[Any]

    @property
    def box(self) -> Box:
        """The part of the image."""
        z, y, x = self.ids.shape
        return Box((0, 0, 0), (z, y, x))

    @property
    def dataset(self) -> Dataset:
        """The stack as benchmarks describe volumes."""
        return Dataset(
            name=f"piriform stack {self.number}",
            raw=f"{FOLDER}/{self.image.name}",
            truth=f"{FOLDER}/{label_name(self.number)}",
            voxel_size_nm=VOXEL_SIZE_NM,
            train=(0, 0),
            validate=(0, len(self.ids)),
        )

    def cut_to(self, shape: Triple) -> Stack:
        """At most so many voxels along z, y, x."""
        z, y, x = shape
        return replace(self, ids=np.ascontiguousarray(self.ids[:z, :y, :x]))


def label_name(number: int) -> str:
    """File of the labels."""
    return f"stack{number}-label.tif"


def read_stack(data: Path, number: int) -> Stack:
    """Labels of a stack; the image is only looked at.

    Raises
    ------
    InputError
        If a file is missing or damaged, or image and labels differ in shape.
    """
    image = data / FOLDER / f"stack{number}-image.tif"
    labels = data / FOLDER / label_name(number)
    for path in (image, labels):
        if not path.is_file():
            raise InputError(f"{path}: no such file; docs/data.md says where the stacks come from")
    truth = open_annotation(labels)
    shape = open_grey(image, VOXEL_SIZE_NM).shape
    if shape != truth.shape:
        raise InputError(f"{labels}: has {truth.shape} voxels, but {image.name} has {shape}")
    return Stack(number, image, truth.read(Box((0, 0, 0), truth.shape)))

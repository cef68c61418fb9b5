"""Sections as the network sees them, with their neighbours: normalised, mirrored, resampled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.boundaries.resampling import Window, reflected
from pipeline.corrections import Corrections
from pipeline.mirroring import mirrored


class Voxels(NamedTuple):
    """What is known of the voxels of a box.

    Parameters
    ----------
    raw
        Bridged grey values.
    tissue
        bool, whether they are foreground.
    """

    raw: NDArray[Any]
    tissue: NDArray[np.bool_]

    def across(self, axis: int, part: tuple[slice, slice, slice]) -> Voxels:
        """A part of the box as sections across an axis, (n, height, width)."""
        return Voxels(*(np.moveaxis(voxels[part], axis, 0) for voxels in self))


@dataclass
class SeenSections:
    """Sections of a window; each is made once while it is in use.

    Parameters
    ----------
    voxels
        Of ``window.box``, as sections across ``axis``.
    window
        What is read.
    axis
        Along which sections are taken.
    length
        Sections of the whole volume along it.
    corrections
        Of the volume.
    device
        A torch device name.
    """

    voxels: Voxels
    window: Window
    axis: int
    length: int
    corrections: Corrections
    device: str
    _kept: dict[int, Tensor] = field(default_factory=dict)

    def around(self, places: NDArray[np.integer], context: int) -> Tensor:
        """Sections with their neighbours, which are mirrored at both ends of the volume.

        Parameters
        ----------
        places
            (n,) which sections of the volume.
        context
            Neighbours on each side.

        Returns
        -------
        pixels
            (n, 2 context + 1, height, width) float32 0..1.
        """
        index = places[:, None] + np.arange(-context, context + 1)
        around = reflected(index, 0, self.length).tolist()
        needed = sorted({place for row in around for place in row})
        new = [place for place in needed if place not in self._kept]
        made = dict(zip(new, self._made(np.array(new)), strict=True)) if new else {}
        known = {**self._kept, **made}
        self._kept = {place: known[place] for place in needed}
        return torch.stack([torch.stack([known[place] for place in row]) for row in around])

    def _made(self, places: NDArray[np.integer]) -> Tensor:
        part = places - self.window.box.begin[self.axis]
        grey = self._normalised(part)
        for section, tissue in zip(grey, self.voxels.tissue[part], strict=True):
            section[...] = mirrored(section, tissue)
        return self.window.to_pixels(torch.from_numpy(grey).to(self.device))

    def _normalised(self, part: NDArray[np.integer]) -> NDArray[np.float32]:
        """Grey values 0..1 of some sections of the box."""
        box, raw = self.window.box, self.voxels.raw[part]
        along_z = np.arange(box.begin[0], box.end[0])
        if self.axis == 0:
            grey = self.corrections.normalise(raw, along_z[part])
        else:  # z runs along the rows
            grey = self.corrections.normalise(raw, along_z, 1)
        return np.ascontiguousarray(grey)

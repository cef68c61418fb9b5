"""What the user gives: the raw volume and, possibly, a mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.store import MaskVolume, Volume, open_mask, open_volume


@dataclass(frozen=True)
class Source:
    """How to open what the user gives; small, so it travels to workers.

    Parameters
    ----------
    path
        Of the raw volume.
    level
        Of its pyramid; ``None``: the finest.
    voxel_size_nm
        zyx, where the metadata lack it.
    roi
        ``Box`` or ``None``.
    mask
        Path of the mask volume.
    """

    path: Path
    level: int | None
    voxel_size_nm: tuple[float, float, float] | None
    roi: Any
    mask: Path | None = None

    def absolute(self) -> Source:
        """The same for processes that work in other folders."""
        mask = None if self.mask is None else self.mask.absolute()
        return replace(self, path=self.path.absolute(), mask=mask)

    def open(self) -> Volume:
        """The volume, in the calling process."""
        return open_volume(
            self.path, level=self.level, voxel_size_nm=self.voxel_size_nm, roi=self.roi
        )

    def open_mask(self, volume: Volume) -> MaskVolume | None:
        """The mask of the opened volume, if one is given."""
        return None if self.mask is None else open_mask(self.mask, volume)

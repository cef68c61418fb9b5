"""What the user gives: the raw volume and, possibly, a mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipeline.store import InputGrid, MaskVolume, Place, RemotePlace, Volume, open_mask, open_volume


@dataclass(frozen=True)
class Source:
    """How to open what the user gives; small, so it travels to workers.

    Parameters
    ----------
    path
        Of the raw volume: a folder, or an address.
    level
        Of its pyramid; ``None``: the finest.
    voxel_size_nm
        zyx, where the metadata lack it.
    roi
        ``Box`` or ``None``.
    mask
        Path or address of the mask volume.
    channel, time
        Place on these axes of the raw volume, from 0; ``None`` where there is but one.
    finest
        Grid of the finest level, where a coarser one was chosen for the user.
    """

    path: Place
    level: int | None
    voxel_size_nm: tuple[float, float, float] | None
    roi: Any
    mask: Place | None = None
    channel: int | None = None
    time: int | None = None
    finest: InputGrid | None = None

    def absolute(self) -> Source:
        """The same for processes that work in other folders."""
        mask = None if self.mask is None else self.mask.absolute()
        return replace(self, path=self.path.absolute(), mask=mask)

    def open(self) -> Volume:
        """The volume, in the calling process."""
        return open_volume(
            self.path,
            level=self.level,
            voxel_size_nm=self.voxel_size_nm,
            roi=self.roi,
            channel=self.channel,
            time=self.time,
        )

    def open_mask(self, volume: Volume) -> MaskVolume | None:
        """The mask of the opened volume, if one is given."""
        return None if self.mask is None else open_mask(self.mask, volume, self.finest)

    def storage(self) -> dict[str, str | bool | int | float]:
        """How remote places are reached, without any secret; empty: as by default."""
        for place in (self.path, self.mask):
            if isinstance(place, RemotePlace):
                return place.options.given()
        return {}

"""All that is decided about an import before the first voxel is read."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.store.importers.axes import Arrangement
from pipeline.store.importers.conversion import Conversion, conversion
from pipeline.store.importers.cutting import Cut, cut
from pipeline.store.importers.destination import IMPORTED
from pipeline.store.importers.foreign import Foreign
from pipeline.store.layout import Level, Nanometres, pyramid_levels
from pipeline.store.ngff import image_attributes
from pipeline.store.nodes import MARK
from pipeline.store.pyramid import Kind
from pipeline.store.units import HINT
from pipeline.store.volume import checked_roi

VERSION = 1
"""Raised whenever an import gives other files than before: halves of older ones start anew."""


@dataclass(frozen=True)
class Plan:
    """What is imported, and into what.

    Parameters
    ----------
    foreign
        The source.
    wanted
        Dataset and level, as asked for.
    arrangement
        Its axes.
    conversion
        Of its dtype.
    roi
        The region, in voxels of the source.
    cut
        Files and boxes of the region.
    levels
        Of the pyramid, finest first.
    kind
        Grey values or labels.
    """

    foreign: Foreign
    wanted: tuple[str | None, int]
    arrangement: Arrangement
    conversion: Conversion
    roi: Box
    cut: Cut
    levels: tuple[Level, ...]
    kind: Kind

    @property
    def bytes(self) -> int:
        """Of all levels, uncompressed."""
        voxels = sum(math.prod(level.shape) for level in self.levels)
        return voxels * np.dtype(self.conversion.dtype).itemsize

    def content(self) -> dict[str, Any]:
        """All that decides the result, as JSON."""
        foreign, level = self.foreign, self.levels[0]
        chosen = self.arrangement.chosen
        return {
            "version": VERSION,
            "source": os.path.abspath(foreign.path) if foreign.files else foreign.path,
            "wanted": list(self.wanted),
            "files": fingerprint(foreign),
            "shape": list(foreign.shape),
            "dtype": foreign.dtype.name,
            "order": list(self.arrangement.order),
            "chosen": sorted([axis, index] for axis, index in chosen.items()),
            "kind": self.kind,
            "roi": [list(self.roi.begin), list(self.roi.end)],
            "voxel_size_nm": list(level.voxel_size_nm),
            "translation_nm": list(level.translation_nm),
            "cut": [list(self.cut.file_shape), list(self.cut.box_shape)],
        }

    def attributes(self) -> dict[str, Any]:
        """Metadata of the image, and what became of the source's values."""
        name = os.path.basename(self.foreign.path.rstrip("/"))
        ours: dict[str, Any] = {
            IMPORTED: name,
            "format": self.foreign.format,
            "source_dtype": self.foreign.dtype.name,
            "source_region": [list(self.roi.begin), list(self.roi.end)],
        }
        if self.conversion.offset:
            ours["value_offset"] = self.conversion.offset
        title = Path(name).stem or "volume"
        if self.kind == "labels":
            ome = image_attributes(self.levels, title, "mode")
            return {MARK: ours, "ome": {**ome, "image-label": {}}}
        return {MARK: ours, "ome": image_attributes(self.levels, title, "mean")}


def make_plan(
    foreign: Foreign,
    arrangement: Arrangement,
    *,
    wanted: tuple[str | None, int] = (None, 0),
    labels: bool = False,
    roi: Box | None = None,
    voxel_size_nm: tuple[float, ...] | None = None,
) -> Plan:
    """Decide; parameters are those of ``import_volume``.

    Raises
    ------
    InputError
        If dtype, region or voxel size cannot be used.
    """
    converted = conversion(foreign.path, foreign.dtype, labels)
    region = checked_roi(Path(foreign.path), arrangement.shape, roi)
    size = _voxel_size(foreign, arrangement, voxel_size_nm)
    z, y, x = (
        t + b * s for t, b, s in zip(arrangement.translation_nm, region.begin, size, strict=True)
    )
    item_bytes = np.dtype(converted.dtype).itemsize
    return Plan(
        foreign,
        wanted,
        arrangement,
        converted,
        region,
        cut(region, arrangement.shape, arrangement.along(foreign.chunk), item_bytes),
        pyramid_levels(region.shape, size, (z, y, x)),
        "labels" if labels else "image",
    )


def fingerprint(foreign: Foreign) -> str:
    """Hash of the names, sizes and times of the local files.

    Raises
    ------
    InputError
        If one is gone.
    """
    digest = hashlib.sha256()
    for file in foreign.files:
        try:
            status = os.stat(file)
        except OSError as error:
            raise InputError(f"{file}: is gone ({error.strerror})") from error
        digest.update(f"{file}\n{status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _voxel_size(
    foreign: Foreign, arrangement: Arrangement, given: tuple[float, ...] | None
) -> Nanometres:
    if given is None:
        if isinstance(arrangement.voxel_size_nm, str):
            raise InputError(f"{foreign.path}: {arrangement.voxel_size_nm}; {HINT}")
        return arrangement.voxel_size_nm
    if len(given) != 3 or not all(0 < size < float("inf") for size in given):
        shown = ",".join(f"{size:g}" for size in given)
        raise InputError(f"voxel size {shown} is not three positive numbers; {HINT}")
    z, y, x = (float(size) for size in given)
    return z, y, x

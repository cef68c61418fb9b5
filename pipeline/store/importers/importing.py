"""Any foreign format into an OME-Zarr image; killed anywhere, the same call goes on.

1. The source is opened and judged by its metadata: axes, dtype, voxel size, region.
2. Boxes of whole files are read, converted and written, those that are there already left out.
3. The pyramid is added file by file, then the metadata, then the image gets its name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from pipeline.contract import Box, Triple
from pipeline.errors import InputError, OutputError, StoreError
from pipeline.store.arrays import create_volume_array, is_filled, open_array, write_box
from pipeline.store.importers.axes import arrange
from pipeline.store.importers.cutting import Cut
from pipeline.store.importers.destination import Destination, check_free, check_room
from pipeline.store.importers.locating import locate, opened
from pipeline.store.importers.plan import Plan, fingerprint, make_plan
from pipeline.store.importers.precomputed_urls import source_place
from pipeline.store.importers.reading import read_converted
from pipeline.store.nodes import write_group
from pipeline.store.ownership import check_apart
from pipeline.store.pyramid import Kind, Pyramid
from pipeline.store.source import find_source
from pipeline.store.volume import Volume, open_volume

LOG = logging.getLogger(__name__)

COMPRESSED = {"image": 4, "labels": 100}
"""How many times smaller images and labels may become at best."""

Progress = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""


def import_volume(
    path: str | Path,
    dst: str | Path,
    *,
    dataset: str | None = None,
    level: int = 0,
    axes: str | None = None,
    channel: int | None = None,
    time: int | None = None,
    labels: bool = False,
    roi: Box | None = None,
    voxel_size_nm: tuple[float, ...] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Volume:
    """Write a volume in another format as an OME-Zarr 0.5 image with a pyramid.

    Parameters
    ----------
    path
        File, folder or URL; ``path:dataset`` names an array inside.
    dst
        The image's directory; it appears when it is complete. What an interrupted import
        did lies beside it and is gone on with, unless the source or these options changed.
    dataset
        In place of ``path:dataset``.
    level
        Resolution of a format with several, 0 = finest.
    axes
        One letter of ``zyxct`` for every axis, slowest first; goes before what the file says.
    channel, time
        Which one, from 0, where there are several.
    labels
        Ids, 0 = background: stored as uint64, pyramid by mode. Otherwise grey values: stored
        as uint8, uint16 or float32, pyramid by mean.
    roi
        Region, zyx, in voxels of the source; all by default.
    voxel_size_nm
        zyx, in nanometres; goes before what the file says.
    progress
        Told after each block.
    overwrite
        Replace an image that was imported earlier.

    Returns
    -------
    volume
        The imported volume.

    Raises
    ------
    InputError
        If the source cannot be used; says why, and where it is damaged.
    OutputError
        If ``dst`` is taken, cannot be written, or another import works on it.
    ResourceError
        If there is far too little disk or memory.
    """
    dst = Path(dst)
    location = locate(str(path), dataset)
    check_apart(source_place(location.path), dst)
    check_free(dst, overwrite)
    with opened(location, level) as foreign:
        arrangement = arrange(foreign, axes, channel, time)
        plan = make_plan(
            foreign,
            arrangement,
            wanted=(location.dataset, level),
            labels=labels,
            roi=roi,
            voxel_size_nm=voxel_size_nm,
        )
        for warning in foreign.warnings:
            LOG.warning("warning: %s", warning)
        if plan.conversion.note:
            LOG.info("%s: %s", foreign.path, plan.conversion.note)
        with Destination.held(dst) as destination:
            check_free(dst, overwrite)
            try:
                _write(plan, dst, destination, progress)
                check_free(dst, overwrite)
                destination.finish()
            except InputError as error:
                if not isinstance(error, StoreError):  # must be mended, then all is read anew
                    destination.discard()
                raise
    return _imported(dst)


def _write(plan: Plan, dst: Path, destination: Destination, progress: Progress | None) -> None:
    """All that is missing."""
    content = plan.content()
    if not destination.begin(content):
        check_room(dst, plan.bytes, plan.bytes // COMPRESSED[plan.kind])
    image = destination.image
    write_group(image, {})
    _create(plan, image / "0")
    pyramid = Pyramid(image, plan.levels, plan.cut.file_shape)
    coarse = [(number, pyramid.blocks(number)) for number in range(1, len(plan.levels))]
    told = _Told(progress, plan.cut.count + sum(len(indices) for _, indices in coarse))
    for box in plan.cut.boxes():
        if not _is_written(plan.cut, image / "0", box):
            write_box(image / "0", box, read_converted(plan, box))
            told.one()
        else:
            told.silently()
    for number, indices in coarse:
        _add_level(pyramid, number, indices, plan.kind, told)
    if fingerprint(plan.foreign) != content["files"]:
        raise InputError(f"{plan.foreign.path}: has changed while it was read; import it again")
    write_group(image, plan.attributes())


def _create(plan: Plan, array: Path) -> None:
    """Level 0, empty, unless it is there."""
    shape, dtype, files = plan.cut.shape, plan.conversion.dtype, plan.cut.file_shape
    try:
        found = open_array(array)
        if (found.shape, found.dtype.name, found.shards) == (shape, dtype, files):
            return
    except OutputError:
        pass
    create_volume_array(array, shape, dtype, files)


def _add_level(
    pyramid: Pyramid, number: int, indices: list[Triple], kind: Kind, told: _Told
) -> None:
    if not pyramid.has_level(number):
        pyramid.create(number)
    missing = set(pyramid.missing(number, indices))
    for index in indices:
        if index in missing:
            pyramid.write(number, kind, index)
            told.one()
        else:
            told.silently()


def _is_written(files: Cut, array: Path, box: Box) -> bool:
    folder = array / "c"
    return all(is_filled(folder.joinpath(*map(str, index))) for index in files.files(box))


def _imported(dst: Path) -> Volume:
    """The new image; ``open_volume`` refuses labels, for it is for grey values."""
    source = find_source(dst)
    if source.array.dtype.name != "uint64" or isinstance(source.place.voxel_size_nm, str):
        return open_volume(dst)
    place = source.place
    whole = Box((0, 0, 0), source.shape)
    return Volume(dst, source, source.place.voxel_size_nm, place.translation_nm, whole)


class _Told:
    """Progress; blocks that were there already are told with the next."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def one(self) -> None:
        """A block was written."""
        self.silently()
        if self._progress:
            self._progress(self._done, self._total)

    def silently(self) -> None:
        """A block was there already."""
        self._done += 1

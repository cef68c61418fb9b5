"""Which level of the input is segmented, and in pixels of which size the network sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.boundaries.batches import chosen_batch
from pipeline.boundaries.footprint import bytes_per_pixel
from pipeline.boundaries.model import read_card, read_shape
from pipeline.boundaries.resampling import Steps, steps_of
from pipeline.boundaries.stage import axes_of
from pipeline.config import PipelineSections
from pipeline.contract import VolumeInfo
from pipeline.errors import InputError
from pipeline.packaged import model_path
from pipeline.store import InputGrid
from pipeline.store.levels import choose_level, level_sizes, longest_edge
from workflows.source import Source


def known_range(config: PipelineSections) -> tuple[float, float] | None:
    """Lowest and highest edge, in nm, that the boundary network was trained on, if it says so.

    Raises
    ------
    ModelError
        If there is no such model file, or it is damaged.
    """
    boundaries: Any = config.section("boundaries")
    return read_card(model_path(boundaries.model)).known_nm


def context_sections(config: PipelineSections) -> int:
    """Sections that the boundary network sees on each side of the predicted one.

    Raises
    ------
    ModelError
        If there is no such model file, or it is damaged.
    """
    boundaries: Any = config.section("boundaries")
    return read_card(model_path(boundaries.model)).context_sections


def network_bytes(config: PipelineSections) -> int:
    """Memory that the boundary network needs on a CPU for a pixel of a section.

    Raises
    ------
    ModelError
        If there is no such model file, or it is damaged.
    """
    boundaries: Any = config.section("boundaries")
    return bytes_per_pixel(read_shape(model_path(boundaries.model)))


def sections_at_once(config: PipelineSections) -> int:
    """Sections that the boundary network predicts at a time on a CPU."""
    boundaries: Any = config.section("boundaries")
    return chosen_batch(boundaries.orientations_at_once, boundaries.batch, 1, "cpu").size


def planes_of(config: PipelineSections, volume: VolumeInfo) -> tuple[int, ...]:
    """Axes along which sections of a volume are taken."""
    boundaries: Any = config.section("boundaries").resolved(volume)
    return axes_of(boundaries.planes)


def pixel_steps(config: PipelineSections, volume: VolumeInfo) -> Steps:
    """Voxels that a pixel of the network covers along z, y, x."""
    boundaries: Any = config.section("boundaries")
    planes = planes_of(config, volume)
    return steps_of(boundaries.pixel_nm, volume, planes, known_range(config))


def with_level(source: Source, config: PipelineSections) -> Source:
    """The source with the level that suits the network, if none is given.

    It stays as it is where the finest level suits, the network does not say what it knows, or
    the voxel size is given, which then is that of the finest level. A region is in voxels of
    the finest level; of a coarser one all is taken that it touches.

    Raises
    ------
    PipelineError
        If volume or model cannot be used.
    """
    if source.level is not None or source.voxel_size_nm is not None:
        return source
    sizes = level_sizes(source.path)
    known = known_range(config) if len(sizes) > 1 else None
    if known is None:
        return source
    edges = []
    for size in sizes:
        seen = () if isinstance(size, str) else planes_of(config, VolumeInfo((1, 1, 1), size, ""))
        axes = [axis for axis in range(3) if any(axis != plane for plane in seen)]
        edges.append(longest_edge(size, axes))
    level = choose_level(edges, known)
    if level == 0:
        return source
    source.open()  # refuses a region that leaves the volume
    finest = replace(source, level=0, roi=None).open()
    coarse = replace(source, level=level, roi=None).open()
    try:
        grid, box = InputGrid.between(finest, coarse, source.roi)
    except InputError as error:
        raise InputError(f"{source.path}: level {level}: {error}") from error
    return replace(source, level=level, roi=box if source.roi else None, finest=grid)

"""Boxes of a source as they are written: its axes turned, its dtype converted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError, PipelineError, ResourceError
from pipeline.store.arrays import reason, show
from pipeline.store.importers.plan import Plan
from pipeline.store.volume import shifted

PIECE_BYTES = 1 << 24
"""Read and converted at once, unless the source decodes more at once."""


def read_converted(plan: Plan, box: Box) -> NDArray[Any]:
    """A box of the region; the source is read in pieces along z.

    Parameters
    ----------
    plan
        Of the import.
    box
        In voxels of the region.

    Raises
    ------
    InputError
        If the source is damaged there, or a value does not fit.
    ResourceError
        If memory does not suffice.
    """
    data = np.empty(box.shape, plan.conversion.dtype)
    place = shifted(box, plan.roi.begin)
    (first, y, x), (last, end_y, end_x) = place.begin, place.end
    _, height, width = box.shape
    depth = plan.arrangement.along(plan.foreign.chunk)[0]
    step = max(1, PIECE_BYTES // (height * width * plan.foreign.dtype.itemsize * depth)) * depth
    begin = first
    while begin < last:
        end = min((begin // step + 1) * step, last)
        part = _read_piece(plan, Box((begin, y, x), (end, end_y, end_x)))
        data[begin - first : end - first] = part
        begin = end
    return data


def _read_piece(plan: Plan, box: Box) -> NDArray[Any]:
    """A box of the source, turned and converted."""
    foreign = plan.foreign
    part = plan.arrangement.part(box)
    try:
        data = np.asarray(foreign.read(part))
    except PipelineError:
        raise
    except MemoryError as error:
        raise ResourceError(
            f"{foreign.path}: not enough memory to read voxels {show(box)}"
        ) from error
    except Exception as error:  # damaged files make other libraries raise anything
        raise InputError(
            f"{foreign.path}: cannot read voxels {show(box)}: damaged ({reason(error)})"
        ) from error
    asked = tuple(axis.stop - axis.start for axis in part)
    if data.shape != asked or data.dtype != foreign.dtype:
        raise InputError(
            f"{foreign.path}: gives {data.dtype} {data.shape} for voxels {show(box)}, not "
            f"{foreign.dtype} {asked}; it is damaged"
        )
    return plan.conversion.convert(foreign.path, plan.arrangement.turned(data), box.begin)

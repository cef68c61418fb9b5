"""A volume in another format than zarr, as something to look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError, PipelineError
from pipeline.store.arrays import reason, show
from pipeline.store.importers.axes import Arrangement, arrange
from pipeline.store.importers.foreign import Foreign
from pipeline.store.importers.locating import Location, opened
from workflows.subject import Question, Subject, chosen_voxel_size, first_of_several


@contextmanager
def foreign_subject(question: Question, location: Location) -> Iterator[Subject]:
    """A volume in another format.

    Raises
    ------
    InputError
        If it cannot be opened, or its axes are not known.
    """
    with opened(location, question.level or 0) as foreign:

        def arranged(channel: int | None, time: int | None) -> Arrangement:
            return arrange(foreign, question.axes, channel, time)

        arrangement, choice = first_of_several(question, arranged)
        size, origin = chosen_voxel_size(question, arrangement.voxel_size_nm)
        facts = dict(foreign.facts)
        compression = facts.pop("compression", "")
        yield Subject(
            path=foreign.path,
            is_zarr=False,
            format=foreign.format,
            axes=(question.axes or foreign.axes).lower(),
            stored_shape=foreign.shape,
            shape=arrangement.shape,
            dtype=foreign.dtype,
            byte_order=facts.pop("byte order", "none" if foreign.dtype.itemsize == 1 else ""),
            voxel_size_nm=size,
            voxel_size_from=origin,
            translation_nm=arrangement.translation_nm,
            chunk=arrangement.along(foreign.chunk),
            read=_reader(foreign, arrangement),
            level=question.level or 0,
            codecs=(compression,) if compression else (),
            disk_bytes=_bytes(foreign.files),
            facts=facts,
            warnings=tuple(one.removeprefix(f"{foreign.path}: ") for one in foreign.warnings),
            choice=choice,
        )


def _reader(foreign: Foreign, arrangement: Arrangement) -> Callable[[Box], NDArray[Any]]:
    def read(box: Box) -> NDArray[Any]:
        try:
            return arrangement.turned(np.asarray(foreign.read(arrangement.part(box))))
        except (PipelineError, MemoryError):
            raise
        except Exception as error:  # damaged files make other libraries raise anything
            raise InputError(
                f"{foreign.path}: cannot read voxels {show(box)}: damaged ({reason(error)})"
            ) from error

    return read


def _bytes(files: tuple[str, ...]) -> int | None:
    try:
        return sum(os.stat(file).st_size for file in files) if files else None
    except OSError:
        return None

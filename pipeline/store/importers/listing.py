"""Datasets in files and folders that hold several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError, PipelineError
from pipeline.store.arrays import reason
from pipeline.store.importers.foreign import Format

LEAST_AXES = 3


@dataclass(frozen=True)
class Dataset:
    """One of several arrays.

    Parameters
    ----------
    name
        To be given after a colon.
    shape
        Of all axes, slowest first.
    dtype
        For people.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_volume(self) -> bool:
        """Whether it may be a volume: numbers along three axes or more."""
        try:
            numbers = np.dtype(self.dtype).kind in "biuf"
        except TypeError:
            numbers = False
        return numbers and len(self.shape) >= LEAST_AXES and 0 not in self.shape


def datasets_in(path: str, form: Format) -> tuple[Dataset, ...]:
    """All datasets of a file or folder of a format that has them; none of other formats.

    Raises
    ------
    InputError
        If it is damaged.
    """
    listing = LISTINGS.get(form.name)
    if listing is None:
        return ()
    try:
        return tuple(listing(path))
    except PipelineError:
        raise
    except Exception as error:  # damaged files make other libraries raise anything
        raise InputError(
            f"{path}: its {form.name} metadata is damaged ({reason(error)})"
        ) from error


def _hdf5(path: str) -> Iterator[Dataset]:
    from pipeline.store.importers.hdf5 import opened_hdf5
    from pipeline.store.importers.hdf5_contents import datasets

    with opened_hdf5(path, Path(path)) as container:
        for one in datasets(container):
            yield Dataset(one.name.lstrip("/"), tuple(one.shape or ()), str(one.dtype))


def _n5(path: str) -> Iterator[Dataset]:
    from pipeline.store.importers.n5_contents import Scales, volumes

    for one in volumes(Path(path)):
        node, place = (one.nodes[0], one.group.path) if isinstance(one, Scales) else (one, one.path)
        shape: Any = node.integers("dimensions") or ()
        name = place.relative_to(path).as_posix()
        yield Dataset(name, tuple(shape[::-1]), str(node.attributes.get("dataType")))


LISTINGS: Mapping[str, Callable[[str], Iterator[Dataset]]] = {"HDF5": _hdf5, "N5": _n5}
"""Name of a format -> its datasets."""

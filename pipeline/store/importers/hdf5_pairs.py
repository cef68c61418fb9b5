"""Pairs of ids in an HDF5 file, e.g. which body a fragment belongs to."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.store.importers.hdf5 import opened_hdf5

LARGEST = 1 << 27
"""Pairs; more would be read from a damaged file only."""


def read_pairs(path: Path, dataset: str) -> NDArray[np.uint64] | None:
    """Rows of two ids; ``None`` if the file has no such dataset.

    Returns
    -------
    pairs
        (n, 2) uint64.

    Raises
    ------
    InputError
        If the file is damaged, or the dataset holds anything else.
    """
    with opened_hdf5(str(path), path) as container:
        found = container.get(dataset)
        if found is None:
            return None
        if (
            not isinstance(found, h5py.Dataset)
            or found.ndim != 2
            or found.shape[1] != 2
            or found.shape[0] > LARGEST
            or found.dtype.kind not in "iu"
        ):
            raise InputError(f"{path}:{dataset}: is no list of pairs of ids")
        return np.asarray(found[...], np.uint64)

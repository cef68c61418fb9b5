"""The formats that can be imported; one line each, asked in this order."""

from __future__ import annotations

from pipeline.store.importers.foreign import Format
from pipeline.store.importers.hdf5 import HDF5
from pipeline.store.importers.knossos import KNOSSOS
from pipeline.store.importers.mrc import MRC
from pipeline.store.importers.n5 import N5
from pipeline.store.importers.nifti import NIFTI
from pipeline.store.importers.npy import NPY
from pipeline.store.importers.precomputed import PRECOMPUTED
from pipeline.store.importers.sections import SECTIONS
from pipeline.store.importers.tiff import TIFF

FORMATS: tuple[Format, ...] = (
    TIFF,
    NPY,
    HDF5,
    NIFTI,
    MRC,
    N5,
    PRECOMPUTED,
    KNOSSOS,
    SECTIONS,
)
"""Folders in a format of their own go before ``SECTIONS``, which takes any folder of images."""

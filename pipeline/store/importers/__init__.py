"""Other formats into an OME-Zarr image; one line a file ending."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.store.importers.tiff import import_tiff

IMPORTERS: Mapping[str, Callable[..., Any]] = {
    ".tif": import_tiff,
    ".tiff": import_tiff,
}
"""Lower-case file ending -> importer, called like ``import_tiff``."""

__all__ = ["IMPORTERS", "import_tiff"]

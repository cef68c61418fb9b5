"""Other formats into an OME-Zarr image."""

from pipeline.store.importers.destination import partial_folder
from pipeline.store.importers.formats import FORMATS
from pipeline.store.importers.importing import import_volume
from pipeline.store.importers.locating import open_foreign

__all__ = ["FORMATS", "import_volume", "open_foreign", "partial_folder"]

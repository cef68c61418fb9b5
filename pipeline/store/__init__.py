"""Volumes, labels and tables on disk; the only folder that knows zarr."""

from pipeline.store.annotations import (
    LabelVolume,
    StoredVolume,
    open_labels,
    read_labels,
    read_map,
    stored_labels,
    stored_map,
)
from pipeline.store.input_grid import InputGrid
from pipeline.store.mask import MaskVolume, open_mask
from pipeline.store.output import Output
from pipeline.store.ownership import check_apart, is_output, make_room
from pipeline.store.place import (
    Place,
    RemotePlace,
    StorageOptions,
    as_place,
    parse_storage_options,
)
from pipeline.store.volume import Volume, open_volume

__all__ = [
    "InputGrid",
    "LabelVolume",
    "MaskVolume",
    "Output",
    "Place",
    "RemotePlace",
    "StorageOptions",
    "StoredVolume",
    "Volume",
    "as_place",
    "check_apart",
    "is_output",
    "make_room",
    "open_labels",
    "open_mask",
    "open_volume",
    "parse_storage_options",
    "read_labels",
    "read_map",
    "stored_labels",
    "stored_map",
]

"""Volumes, labels and tables on disk; the only folder that knows zarr."""

from pipeline.store.annotations import LabelVolume, open_labels, read_labels, read_map
from pipeline.store.mask import MaskVolume, open_mask
from pipeline.store.output import Output
from pipeline.store.ownership import check_apart, is_output, make_room
from pipeline.store.volume import Volume, open_volume

__all__ = [
    "LabelVolume",
    "MaskVolume",
    "Output",
    "Volume",
    "check_apart",
    "is_output",
    "make_room",
    "open_labels",
    "open_mask",
    "open_volume",
    "read_labels",
    "read_map",
]

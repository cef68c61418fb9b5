"""Volumes as people name them, folders or addresses, and where their output goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.store import Place


def parse_places(
    volume: str, mask: str | None, options: Sequence[str] | None
) -> tuple[Place, Place | None]:
    """A volume and a mask, each a folder or an address that is reached by the same options.

    Raises
    ------
    InputError, ConfigError
        If an address or an option cannot be used, or the volume is a TIFF.
    """
    from pipeline.store import RemotePlace, as_place, parse_storage_options

    chosen = parse_storage_options(options or [])
    place = as_place(volume, chosen)
    mask_place = None if mask is None else as_place(mask, chosen)
    if options and not any(isinstance(one, RemotePlace) for one in (place, mask_place)):
        raise ConfigError(f"--storage-option goes with an address such as s3://..., not {volume}")
    if isinstance(place, Path) and place.suffix.lower() in (".tif", ".tiff"):
        raise ConfigError(f"{place} is a TIFF; first: python -m pipeline import {place} NAME.zarr")
    return place, mask_place


def output_of(volume: Place, given: Path | None) -> Path:
    """Where a run writes: beside a folder, in the current folder for an address.

    Raises
    ------
    ConfigError
        If the given output is an address.
    """
    if given is not None:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(given)):
            raise ConfigError(
                f"--output {given}: a run writes to a folder of this machine; copy that to the "
                "store when it is done"
            )
        return given
    name = f"{volume.name.removesuffix('.zarr')}.neurons.zarr"
    return volume.with_name(name) if isinstance(volume, Path) else Path(name)

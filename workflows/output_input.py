"""What an output was made from, and whether a run may go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pipeline.contract import Box, Triple
from pipeline.errors import OutputError
from pipeline.store import (
    InputGrid,
    Output,
    StorageOptions,
    Volume,
    as_place,
    check_apart,
    is_output,
    make_room,
)
from workflows.provenance import Ledger
from workflows.source import Source


def open_output(
    path: Path, volume: Volume, source: Source, block_shape: Triple, overwrite: bool, write: bool
) -> Output:
    """The store of a run: a new one, or that of an earlier run on the same input.

    Parameters
    ----------
    path
        Of the output.
    volume, source
        The input.
    block_shape
        zyx, in voxels, of a new store.
    overwrite
        Remove the store of an earlier run.
    write
        Make what is not there.

    Raises
    ------
    OutputError
        If something else is there, or the store belongs to another input.
    """
    if source.mask is not None:
        check_apart(source.mask, path)
    if not write and (overwrite or not is_output(path)):
        return _foreseen_output(path, volume, source, block_shape)
    if is_output(path):
        with Ledger(path).lock() if overwrite else nullcontext():
            pass
    if overwrite or not is_output(path):
        return Output.create(
            path, volume=volume, block_shape=block_shape, source=source.path, overwrite=overwrite
        )
    store = Output.open(path)
    old, new = store.attributes.get("input"), input_identity(volume, source)
    if old is not None:
        _check_level(path, old, new, given=source.level is not None and source.finest is None)
        same_place = all(old.get(k) == new[k] for k in ("path", "level", "roi", "channel", "time"))
        same_shape = store.shape == volume.shape and store.voxel_size_nm == volume.voxel_size_nm
        if not (same_shape and (same_place or old.get("fingerprint") == new["fingerprint"])):
            raise OutputError(
                f"{path} belongs to another input: {_named(old, store.shape)}, not "
                f"{_named(new, volume.shape)}; give another --output, or --overwrite"
            )
    return store


def _check_level(
    path: Path, old: Mapping[str, Any], new: Mapping[str, Any], *, given: bool
) -> None:
    """The level of the output's input, which has other voxels than another level."""
    before, now = old.get("level"), new["level"]
    if old.get("path") != new["path"] or before == now:
        return
    why = "suits the network, " if new["finest"] else ""
    remedy = f"give --level {before}"
    if given and old.get("finest"):
        remedy = "leave --level out"  # then --roi is in voxels of the finest level as before
    elif old.get("roi"):
        part = ",".join(f"{low}:{high}" for low, high in zip(*old["roi"], strict=True))
        remedy = f"{remedy} --roi {part}"
    raise OutputError(
        f"{path} was made from level {before} of {new['path']}, and now level {now} {why}would be "
        f"used; {remedy} to go on with it, or another --output, or --overwrite"
    )


def _named(identity: Mapping[str, Any], shape: Triple) -> str:
    """An input as people tell it from another."""
    chosen = "".join(
        f"{axis} {identity[axis]}, "
        for axis in ("channel", "time")
        if identity.get(axis) is not None
    )
    level = identity.get("level")
    return f"{identity.get('path')} (level {level}, {chosen}shape {list(shape)})"


def _foreseen_output(path: Path, volume: Volume, source: Source, block_shape: Triple) -> Output:
    """The store that a run would make, with the same errors, but not made."""
    for one in (source.path, volume.source.node.path):
        check_apart(one, path)
    if not is_output(path):
        make_room(path, overwrite=False)
    return Output(path, volume.shape, volume.voxel_size_nm, volume.translation_nm, block_shape)


def input_identity(volume: Volume, source: Source) -> dict[str, Any]:
    """What an output keeps of its input, as JSON."""
    size = source.voxel_size_nm
    return {
        "path": str(source.path.resolve()),
        "level": volume.level,
        "roi": [list(source.roi.begin), list(source.roi.end)] if source.roi else None,
        "channel": source.channel,
        "time": source.time,
        "mask": str(source.mask.resolve()) if source.mask else None,
        "storage": source.storage(),
        "finest": source.finest.as_json() if source.finest else None,
        "voxel_size_argument": list(size) if size else None,
        "shape": list(volume.shape),
        "voxel_size_nm": list(volume.voxel_size_nm),
        "dtype": volume.dtype,
        "fingerprint": volume.fingerprint(),
    }


def source_of(identity: Mapping[str, Any]) -> Source:
    """How to open the input that ``input_identity`` speaks of.

    Raises
    ------
    KeyError, TypeError
        If it is not whole.
    """
    roi = Box(*(tuple(corner) for corner in identity["roi"])) if identity["roi"] else None
    size = identity["voxel_size_argument"]
    mask = identity.get("mask")
    options = StorageOptions(**identity.get("storage", {}))
    return Source(
        as_place(identity["path"], options),
        identity["level"],
        tuple(size) if size else None,
        roi,
        as_place(mask, options) if mask else None,
        identity.get("channel"),
        identity.get("time"),
        InputGrid.of_json(identity["finest"]) if identity.get("finest") else None,
    )

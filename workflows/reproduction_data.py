"""The data of a reproduction: found or fetched, imported, and recognised by their voxels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.evaluation.isbi import TruthKind
from pipeline.store import open_volume, read_labels
from pipeline.store.importers import import_volume, open_foreign
from pipeline.store.importers.hdf5_pairs import read_pairs
from pipeline.store.nodes import write_atomically
from workflows.fetching import Patience, fetch
from workflows.progress import counted
from workflows.reproduction import Download, Extent, Reproduction, Truth, Volume
from workflows.unpacking import unpack

IN_ARCHIVE = "//"
UNPACKED = "unpacked"


@dataclass(frozen=True)
class Found:
    """A file that holds a volume.

    Parameters
    ----------
    path
        The file, or an archive that it lies in.
    member
        Name of the file in the archive; empty: no archive.
    dataset
        Of an HDF5 file; empty: no HDF5.
    """

    path: Path
    member: str = ""
    dataset: str = ""

    def __str__(self) -> str:
        inside = f"{IN_ARCHIVE}{self.member}" if self.member else ""
        return f"{self.path}{inside}" + (f":{self.dataset}" if self.dataset else "")


@dataclass(frozen=True, eq=False)
class Voxels:
    """Grey values and ground truth of one extent.

    Parameters
    ----------
    volume
        The grey values as OME-Zarr.
    raw
        (Z, Y, X), the same.
    truths
        By name, (Z, Y, X) of the same shape: ids or a mask, 0 = not scored or membrane.
    digests
        ``raw`` and every truth: see ``digest``.
    """

    volume: Path
    raw: NDArray[Any]
    truths: Mapping[str, NDArray[Any]]
    digests: Mapping[str, str]


def find(folder: Path, volume: Volume) -> Found | None:
    """The first of the places of a volume below a folder at which there is a file."""
    for place in volume.found_as:
        path, _, member = place.partition(IN_ARCHIVE)
        dataset = ""
        if not member and ":" in path:
            path, _, dataset = path.rpartition(":")
        if (folder / path).is_file():
            return Found(folder / path, member, dataset)
    return None


def find_all(folder: Path, reproduction: Reproduction) -> dict[str, Found]:
    """``raw`` and the truths that are there, at least one; empty if they are not."""
    raw = find(folder, reproduction.raw)
    truths = {name: find(folder, truth) for name, truth in reproduction.truths.items()}
    there = {name: found for name, found in truths.items() if found is not None}
    return {"raw": raw, **there} if raw is not None and there else {}


def to_fetch(reproduction: Reproduction, cache: Path) -> list[Download]:
    """Files that must be fetched into the cache first."""
    if find_all(cache, reproduction):
        return []
    return [one for one in reproduction.downloads if not (cache / one.file).exists()]


def fetch_all(downloads: list[Download], cache: Path, patience: Patience | None = None) -> None:
    """Fetch files into the cache; the same call goes on after a kill."""
    for one in downloads:
        with counted(f"fetch {Path(one.file).name}") as progress:

            def advance(done: int, total: int | None, tell: Any = progress) -> None:
                if total:
                    tell(done >> 10, max(total >> 10, 1))

            fetch(
                one.url,
                cache / one.file,
                checksum=one.checksum,
                patience=patience,
                advance=advance,
            )


def read_voxels(
    reproduction: Reproduction,
    files: Mapping[str, Found],
    extent: Extent,
    work: Path,
    recorded: Mapping[str, str],
) -> Voxels:
    """Import one extent of the grey values and of every truth that was found.

    Parameters
    ----------
    reproduction
        Says what is what.
    files
        ``raw`` and truths, of ``find_all``.
    extent
        Sections and region.
    work
        Folder that gets ``raw.zarr``, a zarr for every truth, and what was unpacked. What lies
        there of the same files is not made again.
    recorded
        Digests; of a truth with ``bodies`` they decide whether ids are of fragments.
    """
    volume = _imported(files["raw"], reproduction, extent, work, "raw", labels=False)
    opened = open_volume(volume)
    raw = opened.read(Box((0, 0, 0), opened.shape))
    truths, digests = {}, {"raw": digest(raw)}
    for name, truth in reproduction.truths.items():
        if name in files:
            path = _imported(files[name], reproduction, extent, work, name, labels=True)
            ids = _with_bodies(read_labels(path), truth, files[name], recorded.get(name))
            truths[name], digests[name] = ids, digest(ids, truth.kind)
    return Voxels(volume, raw, truths, digests)


def check_voxels(found: Mapping[str, str], recorded: Mapping[str, str], where: Path) -> None:
    """Check that the voxels are those that the expected scores were measured on.

    Raises
    ------
    InputError
        Naming what differs.
    """
    other = [name for name, value in found.items() if recorded.get(name, value) != value]
    if other:
        raise InputError(
            f"{where}: {' and '.join(other)} hold other voxels than the expected scores were "
            "measured on (sha256 of the decoded voxels differs): other data, another version, "
            "or damaged; docs/reproduce.md says where the right ones are"
        )


def digest(voxels: NDArray[Any], kind: TruthKind | None = None) -> str:
    """SHA-256 of decoded voxels, the same whatever file and compression they come from.

    Parameters
    ----------
    voxels
        (Z, Y, X).
    kind
        ``None``: grey values, dtype and all. ``labels``: ids, whatever their names (numbered by
        where they first occur; 0 stays). ``mask``: only whether a voxel is 0.
    """
    if kind == "mask":
        voxels = (voxels != 0).astype(np.uint8)
    elif kind == "labels":
        voxels = by_first_voxel(voxels)
    plain = np.ascontiguousarray(voxels, voxels.dtype.newbyteorder("<"))
    head = f"{plain.dtype.name} {' '.join(map(str, plain.shape))}\n"
    return hashlib.sha256(head.encode() + plain.tobytes()).hexdigest()


def by_first_voxel(ids: NDArray[Any]) -> NDArray[np.uint32]:
    """Ids 1, 2, ... in the order in which they first occur; 0 stays.

    >>> by_first_voxel(np.array([[7, 0], [3, 7]])).tolist()
    [[1, 0], [2, 1]]
    """
    values, first, index = np.unique(ids, return_index=True, return_inverse=True)
    order = np.where(values == 0, -1, first)
    rank = np.empty(values.size, np.uint32)
    rank[np.argsort(order)] = np.arange(values.size) + (0 if 0 in values else 1)
    return rank[index].reshape(ids.shape)


def _with_bodies(
    ids: NDArray[Any], truth: Truth, file: Found, recorded: str | None
) -> NDArray[Any]:
    """Ids of neurons; fragments are brought together unless the ids are the recorded ones."""
    if truth.bodies is None or not file.dataset or digest(ids, truth.kind) == recorded:
        return ids
    pairs = read_pairs(file.path, truth.bodies)
    if pairs is None:
        return ids
    fragments, index = np.unique(ids, return_inverse=True)
    bodies = fragments.astype(np.uint64)
    order = np.argsort(pairs[:, 0], kind="stable")
    known, body = pairs[order, 0], pairs[order, 1]
    place = np.minimum(np.searchsorted(known, bodies), max(known.size - 1, 0))
    listed = known[place] == bodies if known.size else np.zeros(bodies.size, bool)
    bodies[listed] = body[place[listed]]
    return bodies[index].reshape(ids.shape)


def _imported(
    file: Found, reproduction: Reproduction, extent: Extent, work: Path, name: str, *, labels: bool
) -> Path:
    """One extent of a file as OME-Zarr; not made again from the same file."""
    target = work / f"{name}.zarr"
    note = work / f"{name}.json"
    status = file.path.stat()
    content = {
        "file": str(file.path.absolute()),
        "bytes": status.st_size,
        "changed": status.st_mtime_ns,
        "inside": file.member or file.dataset,
        "extent": extent.model_dump(mode="json"),
    }
    with suppress(OSError, ValueError):
        if target.exists() and json.loads(note.read_text()) == content:
            return target
    path = unpack(file.path, file.member, work / UNPACKED / file.member) if file.member else None
    source = path or file.path
    dataset = file.dataset or None
    with open_foreign(str(source), dataset) as foreign:
        if len(foreign.shape) != 3:
            raise InputError(f"{file}: has shape {foreign.shape}; z, y, x is needed")
        z, y, x = foreign.shape
    work.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)  # killed after the import, it would vouch for another file's
    with counted(f"import {name}") as progress:
        import_volume(
            source,
            target,
            dataset=dataset,
            axes="zyx",
            labels=labels,
            roi=extent.box((z, y, x), str(file)),
            voxel_size_nm=reproduction.voxel_size_nm,
            progress=progress,
            overwrite=target.exists(),
        )
    write_atomically(note, content)
    return target

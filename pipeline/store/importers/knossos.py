"""Knossos cubes: ``x0000/y0000/z0000/<name>_x0000_y0000_z0000.raw`` and an image per cube.

Compressed cubes (.png, .jpg) hold one picture: rows of x, the sections below each other.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.contract import Triple
from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.importers.checks import Slices, checked_reader, judging
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.knossos_metadata import (
    Layer,
    find_layers,
    magnification_folders,
    recognises_knossos,
)
from pipeline.store.layout import Nanometres
from pipeline.store.units import scale_to_nm

RAW = ".raw"
PICTURES = (".png", ".jpg", ".jpeg")
CUBE_NAME = re.compile(r"_x(\d{4,})_y(\d{4,})_z(\d{4,})(\.\S+)$")
FOLDER_NAME = re.compile(r"[xyz]\d{4,}")
GREY = "L"
ROUNDING = 1e-6

Cubes = Mapping[Triple, Path]
"""Position of a cube along z, y, x, in cubes -> its file."""


@dataclass(frozen=True)
class _Volume:
    """One magnification of a layer; all lengths zyx."""

    folder: Path
    cubes: Cubes
    cube: Triple
    shape: Triple
    voxel_size_nm: Nanometres | str
    translation_nm: Nanometres

    @property
    def grid(self) -> Triple:
        z, y, x = (-(-n // c) for n, c in zip(self.shape, self.cube, strict=True))
        return z, y, x


@contextmanager
def open_knossos(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open a folder of Knossos cubes, its configuration file or a magnification's folder.

    Raises
    ------
    InputError
        If the configuration is damaged, no cubes are there, or one has the wrong size.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: does not exist")
    with judging(path, "Knossos"):
        volume = _volume(path, wanted)
    inside = {place: file for place, file in volume.cubes.items() if _is_inside(place, volume)}
    missing = math.prod(volume.grid) - len(inside)
    facts = {
        "magnification": volume.folder.name,
        "cubes": f"{len(inside)} of {math.prod(volume.grid)}, {_by(volume.cube)} each",
    }
    if len(inside) < len(volume.cubes):
        facts["cubes outside the boundary"] = f"{len(volume.cubes) - len(inside)}, not used"
    dtype = np.dtype(np.uint8)
    told = f"{missing} of {math.prod(volume.grid)} cubes are missing and are read as 0"
    yield Foreign(
        path=path,
        format="Knossos cubes",
        shape=volume.shape,
        axes="zyx",
        dtype=dtype,
        voxel_size_nm=volume.voxel_size_nm,
        chunk=tuple(min(c, n) for c, n in zip(volume.cube, volume.shape, strict=True)),
        read=checked_reader(path, volume.shape, dtype, lambda part: _read(volume, part)),
        translation_nm=volume.translation_nm,
        files=tuple(str(file) for _, file in sorted(inside.items())),
        facts=facts,
        warnings=(told,) if missing else (),
    )


def _volume(path: str, wanted: Wanted) -> _Volume:
    layer = _chosen_layer(path, wanted.dataset)
    folders = magnification_folders(layer.folder)
    if layer.only is not None:
        folders = [layer.only]
    if not 0 <= wanted.level < len(folders):
        names = ", ".join(folder.name for folder in folders)
        raise InputError(
            f"{path}: has levels 0 to {len(folders) - 1} ({names}), not {wanted.level}"
        )
    folder = folders[wanted.level]
    cubes = _cubes(path, folder, layer.endings)
    _check_sizes(cubes, layer.cube)
    factor = layer.factor(folder, wanted.level)
    shape = _shape(layer, factor, cubes)
    size: Nanometres | str = "its configuration gives no scale"
    shift: Nanometres = (0.0, 0.0, 0.0)
    if layer.scale_nm is not None:
        scaled = [s * f for s, f in zip(layer.scale_nm, factor, strict=True)]
        size = scale_to_nm(scaled, ("nm",) * 3)
        # centre of the first voxel, from that of the first voxel of the finest magnification
        z, y, x = ((big - small) / 2 for big, small in zip(scaled, layer.scale_nm, strict=True))
        shift = (z, y, x)
    volume = _Volume(folder, cubes, layer.cube, shape, size, shift)
    if not any(_is_inside(place, volume) for place in cubes):
        raise InputError(f"{path}: none of its {len(cubes)} cubes lies inside the boundary {shape}")
    return volume


def _shape(layer: Layer, factor: Nanometres, cubes: Cubes) -> Triple:
    """Voxels at a magnification: the boundary's, or where it is not said those of all cubes."""
    whole = [(max(place[axis] for place in cubes) + 1) * layer.cube[axis] for axis in range(3)]
    z, y, x = (
        math.ceil(n / f - ROUNDING) if n else all_cubes
        for n, f, all_cubes in zip(layer.boundary, factor, whole, strict=True)
    )
    return z, y, x


def _chosen_layer(path: str, name: str | None) -> Layer:
    layers = find_layers(Path(path))
    chosen = [layer for layer in layers if name is None or layer.name == name]
    if len(chosen) == 1:
        return chosen[0]
    listed = ", ".join(layer.name for layer in layers)
    if name is not None:
        raise InputError(f"{path}: has no layer {name!r}; there are: {listed}")
    raise InputError(f"{path}: which layer is meant? there are: {listed}; give {path}:NAME")


def _cubes(path: str, folder: Path, endings: tuple[str, ...]) -> Cubes:
    """Files of all cubes, of the first ending that there is."""
    found: dict[str, dict[Triple, Path]] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if FOLDER_NAME.fullmatch(name))
        for name in names:
            told = CUBE_NAME.search(name)
            if told:
                x, y, z = (int(number) for number in told.groups()[:3])
                found.setdefault(told[4].lower(), {})[z, y, x] = Path(place, name)
    for ending in endings or (RAW, *PICTURES):
        if ending in found and ending in (RAW, *PICTURES):
            return found[ending]
    if not found:
        raise InputError(
            f"{path}: no cubes (x0000/y0000/z0000/*_x0000_y0000_z0000.raw) in {folder}"
        )
    raise InputError(
        f"{path}: its cubes are {', '.join(sorted(found))}; {', '.join((RAW, *PICTURES))} are read"
    )


def _check_sizes(cubes: Cubes, cube: Triple) -> None:
    """Raw cubes have one byte a voxel, pictures at least some."""
    expected = math.prod(cube)
    wrong = [
        (file, size)
        for file, size in ((file, file.stat().st_size) for file in cubes.values())
        if (size != expected if file.suffix.lower() == RAW else size == 0)
    ]
    if wrong:
        file, size = wrong[0]
        others = f"; {len(wrong) - 1} more have a wrong size" if len(wrong) > 1 else ""
        raise InputError(
            f"{file}: has {size} bytes; a cube of {_by(cube)} uint8 voxels has {expected}{others}"
        )


def _is_inside(place: Triple, volume: _Volume) -> bool:
    return all(p < n for p, n in zip(place, volume.grid, strict=True))


def _read(volume: _Volume, part: Slices) -> NDArray[np.uint8]:
    """Missing cubes stay 0."""
    data = np.zeros([axis.stop - axis.start for axis in part], np.uint8)
    ranges = (
        range(axis.start // c, -(-axis.stop // c))
        for axis, c in zip(part, volume.cube, strict=True)
    )
    for z, y, x in itertools.product(*ranges):
        file = volume.cubes.get((z, y, x))
        if file is None:
            continue
        begins = [p * c for p, c in zip((z, y, x), volume.cube, strict=True)]
        source, target = [], []
        for axis, begin, c in zip(part, begins, volume.cube, strict=True):
            low, high = max(axis.start, begin), min(axis.stop, begin + c)
            source.append(slice(low - begin, high - begin))
            target.append(slice(low - axis.start, high - axis.start))
        data[tuple(target)] = _cube(file, volume.cube)[tuple(source)]
    return data


def _cube(file: Path, cube: Triple) -> NDArray[np.uint8]:
    try:
        voxels = _raw(file) if file.suffix.lower() == RAW else _picture(file, cube)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{file}: this cube cannot be read ({reason(error)})") from error
    if voxels.size != math.prod(cube):
        raise InputError(f"{file}: holds {voxels.size} voxels; a cube has {math.prod(cube)}")
    return voxels.reshape(cube)


def _raw(file: Path) -> NDArray[np.uint8]:
    return np.fromfile(file, np.uint8)


def _picture(file: Path, cube: Triple) -> NDArray[np.uint8]:
    """Decoded only if its header says the right size."""
    with Image.open(file, formats=("PNG", "JPEG")) as picture:
        width, height = picture.size
        if width % cube[2] or width * height != math.prod(cube):
            raise InputError(
                f"{file}: is a picture of {width} x {height}; a cube of {_by(cube)} is needed"
            )
        if picture.mode != GREY:
            raise InputError(f"{file}: is no grey picture of 8 bits (mode {picture.mode})")
        pixels: NDArray[Any] = np.asarray(picture)
    return pixels


def _by(lengths: Triple) -> str:
    return " x ".join(str(n) for n in lengths)


KNOSSOS = Format("Knossos", recognises_knossos, open_knossos)

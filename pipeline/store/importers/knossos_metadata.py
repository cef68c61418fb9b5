"""Where a Knossos data set lies and how large it is: ``knossos.conf`` or ``*.k.toml``.

The meaning of both files follows the program KNOSSOS. Lengths there are xyz, here zyx.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.contract import Triple
from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.layout import Nanometres

CONFIGURATION = "knossos.conf"
LAYERS_SUFFIX = ".k.toml"
MAGNIFICATION = re.compile(r"(?:^|_)mag(\d+)$")
COLUMN = re.compile(r"x\d{4,}")
LINE = re.compile(r"^\s*(boundary|scale)\s+([xyz])\s+([^\s;]+)", re.MULTILINE)
NUMBER_LINE = re.compile(r"^\s*(magnification|cube_edge_length)\s+(\d+)", re.MULTILINE)
CUBE_EDGE = 128
LARGEST_EDGE = 4096
LONGEST = 1 << 40
LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Layer:
    """One image of a data set; lengths are zyx.

    Parameters
    ----------
    name
        For people.
    folder
        Holds the folders of the magnifications (``mag1`` ...), or the cubes themselves.
    boundary
        Voxels at the finest magnification; 0: not said.
    scale_nm
        Voxel size at the finest magnification; ``None``: not said.
    cube
        Voxels of a cube.
    only
        The one magnification that is meant, if its folder was given.
    endings
        Of cube files, preferred first; empty: whatever there is.
    scales_nm
        Voxel sizes of all magnifications, where the file gives them.
    """

    name: str
    folder: Path
    boundary: Triple
    scale_nm: Nanometres | None
    cube: Triple
    only: Path | None = None
    endings: tuple[str, ...] = ()
    scales_nm: tuple[Nanometres, ...] = ()

    def factor(self, folder: Path, level: int) -> Nanometres:
        """How many voxels of the finest magnification make one, zyx."""
        if self.scales_nm and level < len(self.scales_nm):
            finest = self.scales_nm[0]
            z, y, x = (s / f for s, f in zip(self.scales_nm[level], finest, strict=True))
            return z, y, x
        number = float(_magnification(folder) or 1)
        return number, number, number


def recognises_knossos(path: str) -> bool:
    """Whether a path is a Knossos configuration, or a folder with one or with cubes."""
    name = os.path.basename(path.rstrip("/"))
    if os.path.isfile(path):
        return name == CONFIGURATION or name.endswith(LAYERS_SUFFIX)
    try:
        names = os.listdir(path)
        return any(
            entry == CONFIGURATION
            or entry.endswith(LAYERS_SUFFIX)
            or (
                MAGNIFICATION.search(entry) is not None
                and any(_is_cube_folder(e) for e in os.listdir(os.path.join(path, entry)))
            )
            for entry in names
        ) or (MAGNIFICATION.search(name) is not None and any(_is_cube_folder(e) for e in names))
    except (OSError, ValueError):
        return False


def find_layers(path: Path) -> list[Layer]:
    """The layers that a path means.

    Raises
    ------
    InputError
        If a configuration is damaged, or its data lie on a server.
    """
    if path.name.endswith(LAYERS_SUFFIX):
        return _toml_layers(path)
    if path.is_file():
        return [_configured(path)]
    tomls = sorted(path.glob(f"*{LAYERS_SUFFIX}"))
    if len(tomls) > 1:
        raise InputError(f"{path}: holds {len(tomls)} files *{LAYERS_SUFFIX}; give one of them")
    if tomls:
        return _toml_layers(tomls[0])
    places = [path, *magnification_folders(path), path.parent]
    found = [place / CONFIGURATION for place in places if (place / CONFIGURATION).is_file()]
    own = path if _magnification(path) is not None else None
    if found:
        return [_configured(found[0], own)]
    cube = (CUBE_EDGE,) * 3
    return [Layer(path.name, path, (0, 0, 0), None, cube, only=own)]


def magnification_folders(folder: Path) -> list[Path]:
    """``mag1``, ``mag2`` ... of a data set, finest first; the folder itself if it has none."""
    found = [
        (number, place)
        for place in sorted(folder.iterdir())
        if place.is_dir() and (number := _magnification(place)) is not None
    ]
    return [place for _, place in sorted(found)] or [folder]


def _magnification(folder: Path) -> int | None:
    told = MAGNIFICATION.search(folder.name)
    return int(told[1]) if told else None


def _is_cube_folder(name: str) -> bool:
    return COLUMN.fullmatch(name) is not None


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST_FILE).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text ({reason(error)})") from error


def _configured(file: Path, only: Path | None = None) -> Layer:
    """A ``knossos.conf``; one that stands in a coarser magnification alone describes that."""
    folder = file.parent.absolute()
    number = _magnification(folder)
    if number is None:
        return _described(file, folder, 1, only)
    finest = magnification_folders(folder.parent)[0] / CONFIGURATION
    if finest.is_file() and finest != folder / CONFIGURATION:
        return _described(finest, folder.parent, _magnification(finest.parent) or 1, only)
    return _described(file, folder.parent, number, only)


def _described(file: Path, folder: Path, magnification: int, only: Path | None) -> Layer:
    """What a configuration says, at magnification 1."""
    text = _text(file)
    values = {(kind, axis): value for kind, axis, value in LINE.findall(text)}
    numbers = {key: int(value) for key, value in NUMBER_LINE.findall(text)}
    z, y, x = (_number(file, values.get(("boundary", axis), "0")) for axis in "zyx")
    scale = tuple(_number(file, values.get(("scale", axis), "0")) for axis in "zyx")
    size_z, size_y, size_x = (length / magnification for length in scale)
    edge = numbers.get("cube_edge_length", CUBE_EDGE)
    return Layer(
        folder.name,
        folder,
        _triple_of_ints(file, [n * magnification for n in (z, y, x)], 0, LONGEST),
        (size_z, size_y, size_x) if any(scale) else None,
        _triple_of_ints(file, [edge] * 3, 1, LARGEST_EDGE),
        only=only,
    )


def _toml_layers(file: Path) -> list[Layer]:
    """Layers of a ``.k.toml`` whose cubes lie beside it."""
    try:
        described = tomllib.loads(_text(file)).get("Layer", [])
        layers = [_toml_layer(file, entry) for entry in described]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{file}: is a damaged Knossos configuration ({reason(error)})") from error
    if not layers:
        raise InputError(f"{file}: describes no [[Layer]]")
    return layers


def _toml_layer(file: Path, entry: Any) -> Layer:
    name = str(entry["Name"])
    if entry.get("URL") and not str(entry["URL"]).startswith("file:"):
        raise InputError(
            f"{file}: layer {name} lies on a server ({entry['URL']}); only files are read"
        )
    boundary = _triple_of_ints(file, entry["Extent_px"][::-1], 1, LONGEST)
    cube = _triple_of_ints(file, entry.get("CubeShape_px", [CUBE_EDGE] * 3)[::-1], 1, LARGEST_EDGE)
    scales = []
    for x, y, z in entry["VoxelSize_nm"]:
        scales.append((float(z), float(y), float(x)))
    if not all(0 < size < math.inf for scale in scales for size in scale):
        raise InputError(f"{file}: layer {name} has voxel sizes {scales}, which are not positive")
    endings = entry.get("FileExtension", [])
    return Layer(
        name,
        file.parent.absolute(),
        boundary,
        scales[0] if scales else None,
        cube,
        endings=tuple([endings] if isinstance(endings, str) else endings),
        scales_nm=tuple(scales),
    )


def _number(file: Path, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < LONGEST:
        raise InputError(f"{file}: is a damaged Knossos configuration (a length of {text!r})")
    return number


def _triple_of_ints(file: Path, values: Any, least: int, most: int) -> Triple:
    z, y, x = (int(value) for value in values)
    if not all(least <= n <= most for n in (z, y, x)):
        raise InputError(f"{file}: is a damaged Knossos configuration (lengths {z, y, x})")
    return z, y, x

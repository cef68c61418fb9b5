"""What lies in an N5 container, and which of it is meant."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.store.arrays import reason

ATTRIBUTES = "attributes.json"
SCALE = re.compile(r"s(\d+)")
LEAST_AXES = 3
LISTED = 20
LARGEST_FILE = 1 << 24


@dataclass(frozen=True)
class Node:
    """A folder of the container; a group may have no attributes."""

    path: Path
    attributes: Mapping[str, Any]

    @property
    def is_array(self) -> bool:
        """Whether its attributes are those of an array."""
        return "dimensions" in self.attributes and "dataType" in self.attributes

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of integers; ``None`` if it is missing, empty or something else."""
        value = self.attributes.get(name)
        whole = isinstance(value, list) and all(type(n) is int for n in value)
        return tuple(value) if whole and value else None


@dataclass(frozen=True)
class Scales:
    """A group of one volume at several resolutions, finest first."""

    group: Node
    nodes: tuple[Node, ...]


def choose(root: Path, name: str | None) -> Node | Scales:
    """The named dataset or group of scales, or the only one.

    Raises
    ------
    InputError
        If it is not there, or several could be meant; lists what there is.
    """
    place = root if name is None else root.joinpath(*_parts(name))
    if not place.is_dir():
        raise InputError(f"{root}: has no dataset {name!r}; {_listed(root)}")
    node = read_node(place)
    if node.is_array:
        return node
    scales = read_scales(node)
    if scales is not None:
        return scales
    if name is not None:
        raise InputError(f"{root}: {name!r} is a group, not a dataset; {_listed(root)}")
    found = [one for one in volumes(root) if _axes(one) >= LEAST_AXES]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"{root}: holds no dataset of 3 or more axes; {_listed(root)}")
    raise InputError(f"{root}: which dataset is meant? {_listed(root)}; give {root}:NAME")


def volumes(root: Path) -> Iterator[Node | Scales]:
    """All arrays and groups of scales, in order of their names; blocks are not looked at."""
    for place, folders, _ in os.walk(root):
        folders.sort()
        node = read_node(Path(place))
        scales = None if node.is_array else read_scales(node)
        if node.is_array or scales is not None:
            folders.clear()
            yield node if scales is None else scales


def read_node(place: Path) -> Node:
    """A folder with its attributes.

    Raises
    ------
    InputError
        If they are damaged.
    """
    file = place / ATTRIBUTES
    if not file.is_file():
        return Node(place, {})
    try:
        with file.open("rb") as opened:
            attributes = json.loads(opened.read(LARGEST_FILE))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: is damaged or truncated ({reason(error)})") from error
    if not isinstance(attributes, dict):
        raise InputError(f"{file}: is damaged: holds no attributes")
    return Node(place, attributes)


def read_scales(group: Node) -> Scales | None:
    """A group whose children ``s0 s1 ...`` are arrays."""
    if not group.path.is_dir():
        return None
    numbered = [
        (int(told[1]), place)
        for place in group.path.iterdir()
        if (told := SCALE.fullmatch(place.name)) and place.is_dir()
    ]
    nodes = tuple(read_node(place) for _, place in sorted(numbered))
    if not nodes or not all(node.is_array for node in nodes):
        return None
    return Scales(group, nodes)


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".", "..")]


def _axes(volume: Node | Scales) -> int:
    node = volume.nodes[0] if isinstance(volume, Scales) else volume
    return len(node.integers("dimensions") or ())


def _listed(root: Path) -> str:
    found = list(volumes(root))
    shown = [one for one in found if _axes(one) >= LEAST_AXES] or found
    if not shown:
        return "it holds no dataset at all"
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    return f"inside are: {', '.join(_described(root, one) for one in shown[:LISTED])}{more}"


def _described(root: Path, volume: Node | Scales) -> str:
    """Name, shape (slowest axis first) and dtype."""
    if isinstance(volume, Scales):
        levels = f", {len(volume.nodes)} levels"
        place, node = volume.group.path, volume.nodes[0]
    else:
        levels, place, node = "", volume.path, volume
    shape = (node.integers("dimensions") or ())[::-1]
    name = place.relative_to(root).as_posix()
    return f"{name} {shape} {node.attributes.get('dataType')}{levels}"

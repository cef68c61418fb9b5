"""What may have been meant where a place holds no volume: arrays and images below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import InputError
from pipeline.store.ngff import read_image_metadata
from pipeline.store.nodes import read_node
from pipeline.store.place import Place, RemotePlace

SUGGESTED = 8
LOOKED_AT = 200
"""Nodes that are looked at."""


def suggestion(path: Place) -> str:
    """What to do where a place is no volume: names those that lie below it."""
    found = list(usable_below(path, SUGGESTED + 1))
    if not found:
        return "check the address" if isinstance(path, RemotePlace) else "no array is inside"
    listed = ", ".join(str(one) for one in found[:SUGGESTED])
    return f"inside are: {listed}{', ...' if len(found) > SUGGESTED else ''}; give one of them"


def usable_below(path: Place, limit: int) -> Iterator[Place]:
    """Arrays and images below a group, the first ``limit``."""
    below = [path]
    for _ in range(LOOKED_AT):
        if not below or limit == 0:
            return
        place = below.pop()
        try:
            node = read_node(place)
        except (ValueError, InputError):
            node = None
        if node is not None and (node.kind == "array" or read_image_metadata(node.attributes)):
            limit -= 1
            yield place
        elif node is not None or place == path:
            below.extend(reversed(_children(place)))


def _children(place: Place) -> Sequence[Place]:
    """What lies right below a group, sorted; nothing where a store cannot or may not list."""
    if isinstance(place, Path):
        try:
            return sorted(one for one in place.iterdir() if one.is_dir())
        except OSError:
            return []
    from pipeline.store.remote import list_names

    try:
        return [place / name for name in list_names(place) if not name.startswith(".")]
    except InputError:
        return []

"""What may be overwritten: only stores that this program made, never near the input."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.contract import Triple
from pipeline.errors import OutputError
from pipeline.store.layout import Nanometres
from pipeline.store.nodes import MARK, read_node, remove_directory
from pipeline.store.place import Place, RemotePlace, as_place

LAYOUT = "layout"
"""Key, among this program's attributes, that an output store has."""

STORE_VERSION = 1
"""Raised whenever arrays or tables move to other places."""


class StoreLayout(BaseModel):
    """The attributes by which a store is known as ours; see ``output.Output``."""

    model_config = ConfigDict(frozen=True)

    version: int
    shape: Triple
    voxel_size_nm: Nanometres
    translation_nm: Nanometres
    block_shape: Triple


def is_output(path: str | Path) -> bool:
    """Whether this program made the store at ``path``."""
    try:
        node = read_node(Path(path))
    except ValueError:
        return False
    return node is not None and LAYOUT in node.attributes.get(MARK, {})


def check_apart(source: str | Place, output: str | Path) -> None:
    """Check that neither of two paths is or lies inside the other, symbolic links followed.

    A remote source is apart from all outputs, which are folders.

    Raises
    ------
    OutputError
        If writing or overwriting the output would touch the input.
    """
    place = as_place(source)
    if isinstance(place, RemotePlace):
        return
    inside, outside = place.resolve(), Path(output).resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise OutputError(
            f"{output}: overlaps the input {source}, which is never written to; choose another "
            "--output"
        )


def make_room(path: Path, overwrite: bool) -> None:
    """Remove an old store of ours if asked; refuse anything else that is there.

    Raises
    ------
    OutputError
        If the path is taken.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not is_output(path):
        raise OutputError(
            f"{path}: exists and is not an output store of this program; choose another --output "
            "(--overwrite only removes stores that this program made)"
        )
    if not overwrite:
        raise OutputError(f"{path}: holds an earlier run; resume it, or remove it with --overwrite")
    remove_directory(path)

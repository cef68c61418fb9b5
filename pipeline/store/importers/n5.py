"""N5: ``path.n5:dataset``, where a dataset is an array or a group of scales ``s0 s1 ...``.

N5 counts axes from the fastest, so its x y z is z y x here. Blocks that were never written mean
0 in N5; how many there are is said.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.store.importers.checks import Slices, checked_reader, checked_shape, judging
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.n5_contents import (
    ATTRIBUTES,
    Node,
    Scales,
    choose,
    read_node,
    read_scales,
)
from pipeline.store.importers.n5_metadata import axes_of, place_of
from pipeline.store.importers.tensorstores import answer, open_store, piecewise

SUFFIX = ".n5"
DTYPES = frozenset(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64))
FLOATS = frozenset({"float32", "float64"})
LAYOUT = ("dimensions", "blockSize", "dataType", "compression")
COMPRESSIONS = frozenset({"raw", "gzip", "bzip2", "xz", "blosc", "zstd"})


def recognises_n5(path: str) -> bool:
    """Whether a path is a folder that ends like N5 or has its attributes."""
    return os.path.isdir(path) and (
        path.rstrip("/").lower().endswith(SUFFIX) or os.path.isfile(os.path.join(path, ATTRIBUTES))
    )


@contextmanager
def open_n5(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open a dataset of an N5 container; see ``Opener``.

    Raises
    ------
    InputError
        If the dataset is not there or not the only one, or its metadata is damaged.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"{path}: is no folder, so no N5")
    with judging(path, "N5"):
        chosen = choose(root, wanted.dataset)
        node, scales = _at_level(path, chosen, wanted.level)
        foreign = _foreign(path, root, node, scales)
    yield foreign


def _at_level(path: str, chosen: Node | Scales, level: int) -> tuple[Node, Scales | None]:
    """The array of a level, and the scales that it belongs to."""
    if isinstance(chosen, Scales):
        if not 0 <= level < len(chosen.nodes):
            raise InputError(f"{path}: has levels 0 to {len(chosen.nodes) - 1}, not {level}")
        return chosen.nodes[level], chosen
    if level:
        raise InputError(f"{path}: {chosen.path.name} has one resolution, so no level {level}")
    parent = read_scales(read_node(chosen.path.parent))
    belongs = parent is not None and any(one.path == chosen.path for one in parent.nodes)
    return chosen, parent if belongs else None


def _foreign(path: str, root: Path, node: Node, scales: Scales | None) -> Foreign:
    inside = node.path.relative_to(root).as_posix()
    name = path if inside == "." else f"{path}:{inside}"
    shape, chunk, dtype = _array(name, node)
    grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
    blocks = _blocks(node, grid)
    count = math.prod(grid)
    missing = count - len(blocks)
    if not blocks:
        raise InputError(f"{name}: none of its {count} blocks is there")
    axes = axes_of(node, len(shape))
    size, translation, note = place_of(node, scales, axes)
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": f"{node.path.absolute()}{os.sep}"},
        "metadata": {key: node.attributes[key] for key in LAYOUT},
    }
    store = open_store(name, spec, known=True)

    def read(part: Slices) -> np.ndarray:
        return np.asarray(answer(name, store[part[::-1]].read())).transpose()

    told = f"{missing} of its {count} blocks are not there and are read as 0"
    compression = node.attributes["compression"]
    return Foreign(
        path=name,
        format="N5 dataset",
        shape=shape,
        axes=axes,
        dtype=dtype,
        voxel_size_nm=size,
        chunk=chunk,
        read=checked_reader(name, shape, dtype, piecewise(read, chunk, dtype)),
        translation_nm=translation,
        files=(str(node.path / ATTRIBUTES), *blocks),
        facts={
            "dataset": inside,
            "compression": str(compression["type"]),
            **({"voxel size": note} if note else {}),
        },
        warnings=(told,) if missing else (),
    )


def _array(name: str, node: Node) -> tuple[tuple[int, ...], tuple[int, ...], np.dtype[np.generic]]:
    """Shape and block, slowest first, and dtype."""
    dimensions, block = node.integers("dimensions"), node.integers("blockSize")
    if dimensions is None or block is None or len(dimensions) != len(block) or min(block) < 1:
        raise InputError(
            f"{name}: its metadata is damaged (dimensions {node.attributes.get('dimensions')}, "
            f"blockSize {node.attributes.get('blockSize')})"
        )
    shape = checked_shape(name, dimensions[::-1])
    chunk = checked_shape(name, block[::-1])
    dtype = node.attributes.get("dataType")
    if dtype not in DTYPES | FLOATS:
        raise InputError(f"{name}: has voxels of type {dtype}; integers or floats are needed")
    compression = node.attributes.get("compression")
    kind = compression.get("type") if isinstance(compression, dict) else compression
    if not isinstance(compression, dict) or kind not in COMPRESSIONS:
        raise InputError(
            f"{name}: is compressed with {kind}; {', '.join(sorted(COMPRESSIONS))} can be read"
        )
    return shape, chunk, np.dtype(str(dtype))


def _blocks(node: Node, grid: tuple[int, ...]) -> list[str]:
    """Files of all blocks; their folders are numbered along the axes, fastest first."""
    found = []
    for place, folders, names in os.walk(node.path):
        outer = Path(place).relative_to(node.path).parts
        at = len(grid) - 1 - len(outer)
        numbered = sorted(one for one in (names if at == 0 else folders) if one.isdecimal())
        inside = [one for one in numbered if int(one) < grid[at]]
        folders[:] = inside if at > 0 else []
        found += [os.path.join(place, name) for name in inside] if at == 0 else []
    return found


N5 = Format("N5", recognises_n5, open_n5)

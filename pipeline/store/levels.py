"""Which level of a pyramid suits a network."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.store.layout import Nanometres
from pipeline.store.ngff import read_image_metadata
from pipeline.store.place import Place
from pipeline.store.source import existing_node


def level_sizes(path: Place) -> tuple[Nanometres | str, ...]:
    """Voxel sizes of the levels of an image, finest first; none of what is a bare array.

    Where metadata do not give a size, it is a sentence that says why.

    Raises
    ------
    InputError
        If nothing that can be read is there.
    """
    node = existing_node(path)
    image = None if node.kind == "array" else read_image_metadata(node.attributes)
    return tuple(level.voxel_size_nm for level in image.levels) if image else ()


def choose_level(edges_nm: Sequence[float | None], known_nm: tuple[float, float]) -> int:
    """The level that a network should see; coarser than the finest only where that pays.

    Parameters
    ----------
    edges_nm
        Of every level the longest edge of a voxel in the planes that the network sees, finest
        level first; ``None``: not known.
    known_nm
        Lowest and highest edge that the network was trained on.

    Returns
    -------
    level
        0 if its edge is known to the network, longer, or not given; else the finest level that
        the network knows; if there is none, the nearest, as a factor.

    >>> choose_level([2, 4, 8, 16], (3, 13))
    1
    >>> [choose_level(edges, (3, 13)) for edges in ([4, 8], [30, 60], [1, 2])]
    [0, 0, 1]
    """
    low, high = known_nm
    if not edges_nm or edges_nm[0] is None or edges_nm[0] >= low:
        return 0
    edges = {number: edge for number, edge in enumerate(edges_nm) if edge is not None}
    return min(
        edges, key=lambda number: (max(1, low / edges[number], edges[number] / high), number)
    )


def longest_edge(size: Nanometres | str, axes: Sequence[int]) -> float | None:
    """The longest edge of a voxel along some axes; ``None`` where its size is not known."""
    return None if isinstance(size, str) else max(size[axis] for axis in axes)

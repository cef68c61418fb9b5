from __future__ import annotations

from pathlib import Path

import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.store.levels import choose_level, level_sizes, longest_edge

KNOWN = (3.0, 13.0)


@pytest.mark.parametrize(
    ("edges", "level"),
    [
        ([4, 8, 16], 0),
        ([3, 6], 0),
        ([13, 26], 0),
        ([30, 60], 0),  # coarser than known: there is nothing finer
        ([2, 4, 8, 16], 1),
        ([1, 2, 4, 8], 2),
        ([0.5, 1, 2, 14, 40], 3),  # none is known; 14 is nearest
        ([1, 2], 1),
        ([2.9, 40], 0),
        ([2], 0),
        ([], 0),
        ([None, 4, 8], 0),
        ([2, None, 8], 2),
    ],
)
def test_the_finest_level_that_is_known_unless_the_first_will_do(
    edges: list[float | None], level: int
) -> None:
    assert choose_level(edges, KNOWN) == level


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=6).map(sorted), st.floats(0.5, 10))
def test_a_coarser_level_is_chosen_only_where_the_finest_is_too_fine(
    edges: list[float], low: float
) -> None:
    high = 4 * low
    level = choose_level(edges, (low, high))
    inside = [number for number, edge in enumerate(edges) if low <= edge <= high]
    if edges[0] >= low:
        assert level == 0
    elif inside:
        assert level == inside[0]
    else:
        below = max(edge for edge in edges if edge < low)
        above = min((edge for edge in edges if edge > high), default=below)
        nearest = below if low / below <= above / high or above == below else above
        assert edges[level] == nearest


def test_the_longest_edge_is_that_of_the_planes_that_the_network_sees() -> None:
    assert longest_edge((40.0, 4.0, 8.0), (1, 2)) == 8
    assert longest_edge((9.0, 4.0, 8.0), (0, 1, 2)) == 9
    assert longest_edge("not known", (1, 2)) is None


def image(path: Path, scales: list[list[float]]) -> Path:
    datasets = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": one}]}
        for n, one in enumerate(scales)
    ]
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group = zarr.create_group(path, attributes={"ome": ome})
    group.create_array("0", shape=(2, 2, 2), dtype="uint8")
    return path


def test_sizes_of_all_levels_come_from_the_metadata(tmp_path: Path) -> None:
    path = image(tmp_path / "v.zarr", [[40, 2, 2], [40, 4, 4]])
    assert level_sizes(path) == ((40, 2, 2), (40, 4, 4))
    assert level_sizes(path / "0") == ()
    with pytest.raises(InputError, match="does not exist"):
        level_sizes(tmp_path / "none.zarr")

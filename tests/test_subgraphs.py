"""Scattering a graph to cells and gathering the problem of a cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import subgraphs
from pipeline.cells import Cells, seeds
from pipeline.contract import KEY, VolumeInfo
from pipeline.held import HeldParts, held
from pipeline.subgraphs import (
    by_cell,
    cells_of_rows,
    gather,
    reach_voxels,
    rows_in_cells,
    stretch,
    stretches,
)

SHAPE = (4, 12, 12)


def random_graph(seed, nodes=60, pairs=150):
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(np.prod(SHAPE), nodes, replace=False)).astype(np.uint64) + np.uint64(1)
    uv = np.sort(rng.integers(nodes, size=(pairs, 2)), axis=1)
    uv = np.unique(uv[uv[:, 0] < uv[:, 1]], axis=0).astype(np.uint64)
    return {"id": ids, "weight": rng.random(nodes)}, {"uv": uv, "length": rng.random(len(uv))}


def scattered(nodes, pairs, cells, rows_a_task):
    """What tasks over stretches of ``rows_a_task`` rows keep."""
    parts = []
    for begin in range(0, max(len(nodes["id"]), len(pairs["uv"]), 1), rows_a_task):
        some = slice(begin, begin + rows_a_task)
        row = np.arange(len(nodes["id"]), dtype=np.int64)[some]
        near = {"row": row, **{name: column[some] for name, column in nodes.items()}}
        between = {name: column[some] for name, column in pairs.items()}
        parts.append(
            {
                "nodes": by_cell(near, cells.of_ids(near["id"])),
                "pairs": by_cell(between, cells_of_rows(cells, held(nodes), between["uv"][:, 0])),
            }
        )
    return HeldParts(parts)


def test_a_kept_table_is_sorted_by_cell_and_keeps_the_order_within_one():
    table = by_cell({"row": np.arange(5)}, np.array([2, 0, 2, 1, 0]))
    assert table[KEY].tolist() == [0, 0, 1, 2, 2]
    assert table[KEY].dtype == np.uint64
    assert table["row"].tolist() == [1, 4, 3, 0, 2]


def test_one_cell_is_the_whole_graph_in_its_order():
    nodes, pairs = random_graph(0)
    cells = Cells(SHAPE, SHAPE)
    found = gather(scattered(nodes, pairs, cells, 17), cells, 0, (0, 0, 0), ("pairs",))
    assert found.inside.all()
    assert found.nodes["row"].tolist() == list(range(60))
    for name in nodes:
        np.testing.assert_array_equal(found.nodes[name], nodes[name])
    for name in pairs:
        np.testing.assert_array_equal(found.pairs["pairs"][name], pairs[name])
        assert found.pairs["pairs"][name].dtype == pairs[name].dtype


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    reach=st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 7)),
    rows_a_task=st.sampled_from([7, 40, 1000]),
)
def test_a_cell_holds_the_nodes_in_reach_and_the_pairs_between_them(seed, reach, rows_a_task):
    nodes, pairs = random_graph(seed)
    cells = Cells(SHAPE, (2, 5, 6))
    parts = scattered(nodes, pairs, cells, rows_a_task)
    at = seeds(nodes["id"], SHAPE)
    for cell in range(cells.count):
        found = gather(parts, cells, cell, reach, ("pairs",))
        box = cells.box(cell)
        low, high = np.array(box.begin), np.array(box.end)
        near = [
            i for i, z in enumerate(at) if (z >= low - reach).all() and (z < high + reach).all()
        ]
        inside = [((at[i] >= low) & (at[i] < high)).all() for i in near]
        assert found.nodes["row"].tolist() == near
        assert found.inside.tolist() == inside
        np.testing.assert_array_equal(found.nodes["weight"], nodes["weight"][near])
        expected = [
            (near.index(u), near.index(v), length)
            for (u, v), length in zip(pairs["uv"].tolist(), pairs["length"], strict=True)
            if u in near and v in near
        ]
        local = found.pairs["pairs"]
        assert [
            (*uv, length) for uv, length in zip(local["uv"].tolist(), local["length"], strict=True)
        ] == expected


def test_every_node_is_inside_of_one_cell():
    nodes, pairs = random_graph(3)
    cells = Cells(SHAPE, (3, 5, 4))
    parts = scattered(nodes, pairs, cells, 25)
    rows = []
    for cell in range(cells.count):
        found = gather(parts, cells, cell, (1, 2, 2), ("pairs",))
        rows += found.nodes["row"][found.inside].tolist()
    assert sorted(rows) == list(range(60))


def test_a_cell_without_superpixels_is_an_empty_graph():
    nodes, pairs = random_graph(0, nodes=1, pairs=0)
    cells = Cells(SHAPE, (1, 1, 1))
    parts = scattered(nodes, pairs, cells, 9)
    empty = next(c for c in range(cells.count) if c != cells.of_ids(nodes["id"])[0])
    found = gather(parts, cells, empty, (0, 0, 0), ("pairs",))
    assert found.nodes["id"].shape == (0,)
    assert found.nodes["weight"].dtype == np.float64
    assert found.pairs["pairs"]["uv"].shape == (0, 2)


class CountedParts(HeldParts):
    """Notes which parts are opened."""

    def __init__(self, parts):
        super().__init__(parts)
        self.opened = []

    def __getitem__(self, index):
        self.opened.append(index)
        return super().__getitem__(index)


def test_cells_open_each_part_that_may_hold_their_rows_once():
    keys = [[0, 0, 3], [], [4, 5, 9], [1], [7, 9]]
    tables = [{KEY: np.array(k, np.uint64), "uv": np.array(k, np.int64)} for k in keys]
    parts = CountedParts([{"pairs": table} for table in tables])
    found = rows_in_cells(parts, "pairs", [1, 2, 3, 5, 6], "uv", lambda uv: uv != 1)
    assert found["uv"].tolist() == [3, 5]
    template, *opened = parts.opened
    assert template == 0
    assert set(opened) - {0} == {2, 3}
    assert opened.count(2) == opened.count(3) == 1


def test_a_reach_in_nanometres_is_rounded_up_to_voxels():
    volume = VolumeInfo((9, 9, 9), (50.0, 4.0, 8.0), "uint8")
    assert reach_voxels(101, volume) == (3, 26, 13)
    assert reach_voxels(0, volume) == (0, 0, 0)


@pytest.mark.parametrize("counts", [(0,), (5, 11), (10, 3, 0)])
def test_stretches_cover_every_row_once(monkeypatch, counts):
    monkeypatch.setattr(subgraphs, "STRETCH", 5)
    for count in counts:
        rows = [row for task in range(stretches(*counts)) for row in range(*stretch(task, count))]
        assert rows == list(range(count))

"""Tables: columns come back exactly, and are whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.errors import OutputError
from pipeline.store import Output, tables
from pipeline.store.tables import read_columns, write_columns

DTYPES = ["bool", "uint64", "int64", "float32", "float64"]


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, st.tuples(st.integers(0, 9), st.integers(0, 3)))
    )
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_column_comes_back_exactly(tmp_path: Path, column: NDArray[Any]) -> None:
    write_columns(tmp_path / "graph" / "t", {"c": column})
    read = read_columns(tmp_path / "graph" / "t")["c"]
    assert read.dtype == column.dtype
    assert read.shape == column.shape
    assert read.tobytes() == column.tobytes()


def test_columns_longer_than_a_chunk_and_ranges_of_rows(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "CHUNK_ROWS", 10)
    uv = np.arange(50, dtype=np.uint64).reshape(25, 2)
    output.write_table("edges", {"uv": uv, "p_cut": np.linspace(0, 1, 25, dtype=np.float32)})
    assert sorted(p.name for p in (output.path / "graph/edges/uv/c").iterdir()) == ["0", "1", "2"]
    assert np.array_equal(output.read_table("edges")["uv"], uv)
    assert np.array_equal(output.read_table("edges", ["uv"], slice(8, 13))["uv"], uv[8:13])


def test_writing_columns_keeps_the_others_and_replaces_their_own(output: Output) -> None:
    output.write_table("edges", {"a": np.zeros(3), "b": np.ones(3)})
    output.write_table("edges", {"b": np.full(3, 7.0)})
    table = output.read_table("edges")
    assert sorted(table) == ["a", "b"]
    assert table["b"].tolist() == [7, 7, 7]


def test_attributes_belong_to_columns(output: Output) -> None:
    attributes = {"features": {"names": ["mean", "length"], "units": ["1", "nm"]}}
    output.write_table("edges", {"features": np.zeros((0, 2), np.float32)}, attributes)
    assert output.read_attributes("edges") == attributes


@pytest.mark.parametrize("kill_at", [0, 1, 2])
def test_kill_while_writing_leaves_no_column_that_looks_whole(
    output: Output, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    old = {name: np.zeros(4) for name in "abc"}
    output.write_table("nodes", old)
    calls = iter(range(10))
    write = tables._write_column

    def killed(path: Path, column: NDArray[Any], attributes: Any) -> None:
        if next(calls) == kill_at:
            raise KeyboardInterrupt
        write(path, column, attributes)

    monkeypatch.setattr(tables, "_write_column", killed)
    with pytest.raises(KeyboardInterrupt):
        output.write_table("nodes", {name: np.ones(4) for name in "abc"})
    monkeypatch.undo()
    assert output.read_table("nodes") == {}
    with pytest.raises(OutputError, match="no such array"):
        output.read_table("nodes", ["a"])
    output.write_table("nodes", {name: np.ones(4) for name in "abc"})
    assert {name: c.tolist() for name, c in output.read_table("nodes").items()} == {
        name: [1, 1, 1, 1] for name in "abc"
    }
    assert not list((output.path / "graph/nodes").glob(".*"))


@pytest.mark.parametrize("damage", ["delete", "empty", "flip"])
def test_lost_or_damaged_rows_name_the_column(output: Output, damage: str) -> None:
    output.write_table("nodes", {"id": np.arange(100, dtype=np.uint64)})
    file = output.path / "graph/nodes/id/c/0"
    data = bytearray(file.read_bytes())
    data[10] ^= 1
    {
        "delete": file.unlink,
        "empty": lambda: file.write_bytes(b""),
        "flip": lambda: file.write_bytes(data),
    }[damage]()
    with pytest.raises(OutputError, match="graph/nodes/id"):
        output.read_table("nodes")


def test_missing_tables_and_columns_are_named(output: Output) -> None:
    with pytest.raises(OutputError, match="graph/lifted: no such table"):
        output.read_table("lifted")
    output.write_table("nodes", {"id": np.zeros(1)})
    with pytest.raises(OutputError, match="nodes/size_voxels: no such array"):
        output.read_table("nodes", ["size_voxels"])


def test_columns_of_different_length_are_refused(output: Output) -> None:
    with pytest.raises(AssertionError, match="differ in rows"):
        output.write_table("nodes", {"a": np.zeros(1), "b": np.zeros(2)})
    output.write_table("nodes", {"a": np.zeros(1)})
    output.write_table("nodes", {"b": np.zeros(2)})
    with pytest.raises(OutputError, match="a 1, b 2"):
        output.read_table("nodes")


def test_removed_columns_are_gone_and_removal_of_nothing_is_fine(output: Output) -> None:
    output.remove_table("edges")
    output.write_table("edges", {"a": np.zeros(1), "b": np.zeros(1)})
    output.remove_table("edges", ["a", "never_there"])
    assert list(output.read_table("edges")) == ["b"]
    output.remove_table("edges")
    assert output.read_table("edges") == {}

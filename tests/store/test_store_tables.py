"""Tables: columns come back exactly, are written by ranges, and are whole or not there."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.contract import ROWS, Table, TableSpec
from pipeline.errors import OutputError
from pipeline.store import Output, tables
from pipeline.store.tables import read_columns, rows_in_file, write_columns

DTYPES = ["bool", "uint16", "uint64", "int64", "float32", "float64"]
EDGES = TableSpec("edges", {"uv": "uint64", "p_cut": "float32"}, {"uv": 2})
LONG = 2 * ROWS + 777


def some_edges(rows: int, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    uv = rng.integers(0, 2**60, (rows, 2)).astype(np.uint64)
    return {"uv": uv, "p_cut": rng.random(rows, np.float32)}


def part_of(table: Table, begin: int, end: int) -> Table:
    return {name: column[begin:end] for name, column in table.items()}


def create_edges(output: Output, rows: int) -> None:
    output.create_table(EDGES, EDGES.widths, rows, {"p_cut": {"unit": "1"}})


def write_task(output: Output, task: int) -> None:
    rows = slice(task * ROWS, (task + 1) * ROWS)
    output.write_rows("edges", {n: c[rows] for n, c in some_edges(LONG).items()}, task * ROWS)


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            st.one_of(
                st.tuples(st.integers(0, 9)), st.tuples(st.integers(0, 9), st.integers(0, 3))
            ),
        )
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


def test_ranges_of_rows_are_written_in_any_order(output: Output) -> None:
    create_edges(output, LONG)
    for task in (2, 0, 1, 0):
        write_task(output, task)
    output.finish_table("edges", ["uv", "p_cut"])
    for name, column in some_edges(LONG).items():
        assert np.array_equal(output.read_table("edges")[name], column)
        files = sorted(p.name for p in (output.path / "graph/edges" / name / "c").iterdir())
        assert files == ["0", "1", "2"]


@pytest.mark.slow
def test_several_processes_write_ranges_of_rows(output: Output) -> None:
    create_edges(output, LONG)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(write_task, [output] * 3, [2, 0, 1]))
    output.finish_table("edges", ["uv", "p_cut"])
    for name, column in some_edges(LONG).items():
        assert np.array_equal(output.read_table("edges")[name], column)


def test_ranges_of_rows_are_read_and_clipped_to_those_there_are(output: Output) -> None:
    table = some_edges(LONG)
    output.write_table("edges", table)
    rows = output.rows("edges", ["uv", "p_cut", "uv"])
    assert (rows.count, list(rows)) == (LONG, ["uv", "p_cut"])
    for begin, end in [(0, 1), (ROWS - 3, ROWS + 2), (5, 2 * ROWS + 9), (LONG - 1, LONG + 50)]:
        for name, column in table.items():
            assert np.array_equal(rows.read(name, begin, end), column[begin:end])
    assert rows.read("uv", 7, 7).shape == (0, 2)
    assert rows.read("p_cut", LONG + 5, LONG + 9).shape == (0,)
    assert np.array_equal(rows["p_cut"], table["p_cut"])
    with pytest.raises(KeyError):
        rows.read("length", 0, 1)


def test_heads_are_the_first_of_every_task_s_rows(output: Output) -> None:
    table = some_edges(LONG)
    output.write_table("edges", table)
    output.write_table("nodes", {"id": np.zeros(0, np.uint64)})
    heads = output.rows("edges", ["p_cut"]).heads("p_cut")
    assert heads.tolist() == table["p_cut"][[0, ROWS, 2 * ROWS]].tolist()
    assert output.rows("nodes", ["id"]).heads("id").tolist() == []


@pytest.mark.parametrize(
    ("row_bytes", "rows"), [(1, ROWS), (512, ROWS), (513, ROWS // 2), (1 << 25, 1), (1 << 30, 1)]
)
def test_files_of_wide_columns_hold_fewer_rows(row_bytes: int, rows: int) -> None:
    assert rows_in_file(row_bytes) == rows
    assert ROWS % rows == 0


def test_columns_of_any_width_are_written_by_the_same_ranges(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "FILE_BYTES", 1 << 18)
    rows = ROWS + 5
    wide = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    table = {"wide": wide, "flag": np.arange(rows) % 3 == 0}
    spec = TableSpec("edges", {"wide": "float32", "flag": "bool"})
    output.create_table(spec, {"wide": 3}, rows, {})
    output.write_rows("edges", part_of(table, 0, ROWS), 0)
    output.write_rows("edges", part_of(table, ROWS, rows), ROWS)
    output.finish_table("edges", ["wide", "flag"])
    assert len(list((output.path / "graph/edges/wide/c").iterdir())) == 5
    found = output.rows("edges", ["wide", "flag"])
    assert np.array_equal(found["wide"], wide)
    assert np.array_equal(found.read("flag", ROWS - 9, rows), table["flag"][ROWS - 9 :])


@pytest.mark.parametrize(("begin", "end"), [(1, ROWS), (0, ROWS - 1), (ROWS, ROWS + 8)])
def test_rows_that_are_no_whole_files_are_refused(output: Output, begin: int, end: int) -> None:
    create_edges(output, ROWS + 7)
    with pytest.raises(AssertionError, match="no whole files"):
        output.write_rows("edges", some_edges(end - begin), begin)


def test_rows_of_another_dtype_or_width_are_refused(output: Output) -> None:
    create_edges(output, 5)
    for wrong in ({"uv": np.zeros((5, 3), np.uint64)}, {"p_cut": np.zeros(5)}):
        with pytest.raises(AssertionError, match=r"given for (uint64|float32)"):
            output.write_rows("edges", wrong, 0)


def test_nobody_sees_rows_before_the_table_is_finished(output: Output) -> None:
    output.write_table("edges", {"uv": np.ones((3, 2), np.uint64), "length": np.ones(3)})
    create_edges(output, 3)
    output.write_rows("edges", some_edges(3), 0)
    assert list(output.read_table("edges")) == ["length"]
    with pytest.raises(OutputError, match="uv: no such array"):
        output.rows("edges", ["uv"]).read("uv", 0, 1)
    output.finish_table("edges", ["uv", "p_cut"])
    assert sorted(output.read_table("edges")) == ["length", "p_cut", "uv"]
    assert output.read_attributes("edges")["p_cut"] == {"unit": "1"}


def test_a_table_of_which_rows_are_missing_is_not_finished(output: Output) -> None:
    create_edges(output, LONG)
    output.write_rows("edges", part_of(some_edges(LONG), 0, ROWS), 0)
    output.write_rows("edges", part_of(some_edges(LONG), 2 * ROWS, LONG), 2 * ROWS)
    with pytest.raises(OutputError, match=r"missing or empty .*c/1"):
        output.finish_table("edges", ["uv", "p_cut"])
    assert output.read_table("edges") == {}


def test_an_interrupted_table_is_gone_on_with(output: Output) -> None:
    names = ["uv", "p_cut"]
    assert not output.has_partial("edges", names, LONG)
    create_edges(output, LONG)
    output.write_rows("edges", part_of(some_edges(LONG), 0, ROWS), 0)
    assert output.has_partial("edges", names, LONG)
    assert not output.has_partial("edges", names, LONG + 1)
    assert not output.has_partial("edges", [*names, "length"], LONG)
    write_task(output, 1)
    write_task(output, 2)
    output.finish_table("edges", names)
    assert np.array_equal(output.read_table("edges")["uv"], some_edges(LONG)["uv"])


def test_a_kill_between_two_renames_is_made_good_by_the_next_run(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_edges(output, LONG)
    for task in range(3):
        write_task(output, task)
    rename, calls = Path.rename, iter(range(10))

    def killed(path: Path, target: Path) -> Path:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        output.finish_table("edges", ["uv", "p_cut"])
    monkeypatch.undo()
    assert output.has_partial("edges", ["uv", "p_cut"], LONG)
    write_task(output, 1)  # a task whose mark was lost comes again
    output.finish_table("edges", ["uv", "p_cut"])
    output.finish_table("edges", ["uv", "p_cut"])
    for name, column in some_edges(LONG).items():
        assert np.array_equal(output.read_table("edges")[name], column)
    assert not list((output.path / "graph/edges").glob(".*"))


def test_a_table_without_rows_is_finished_and_read(output: Output) -> None:
    create_edges(output, 0)
    output.write_rows("edges", some_edges(0), 0)
    output.finish_table("edges", ["uv", "p_cut"])
    rows = output.rows("edges", ["uv", "p_cut"])
    assert (rows.count, rows["uv"].shape, rows["p_cut"].shape) == (0, (0, 2), (0,))


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
def test_kill_while_columns_are_made_leaves_none_that_looks_whole(
    output: Output, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    old = {name: np.zeros(4) for name in "abc"}
    output.write_table("nodes", old)
    calls = iter(range(10))
    create = tables.create_table_array

    def killed(*args: Any) -> None:
        if next(calls) == kill_at:
            raise KeyboardInterrupt
        create(*args)

    monkeypatch.setattr(tables, "create_table_array", killed)
    with pytest.raises(KeyboardInterrupt):
        output.write_table("nodes", {name: np.ones(4) for name in "abc"})
    monkeypatch.undo()
    assert output.read_table("nodes") == {}
    assert not output.has_partial("nodes", list("abc"), 4)
    with pytest.raises(OutputError, match="no such array"):
        output.read_table("nodes", ["a"])
    output.write_table("nodes", {name: np.ones(4) for name in "abc"})
    assert {name: c.tolist() for name, c in output.read_table("nodes").items()} == {
        name: [1, 1, 1, 1] for name in "abc"
    }
    assert not list((output.path / "graph/nodes").glob(".*"))


DAMAGE = {
    "delete": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-7]),
    "flip": lambda file: file.write_bytes(
        file.read_bytes()[:10] + bytes([file.read_bytes()[10] ^ 1]) + file.read_bytes()[11:]
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_lost_or_damaged_rows_name_the_file_where_they_are_read(
    output: Output, damage: str
) -> None:
    ids = np.arange(2 * ROWS + 5, dtype=np.uint64)
    output.write_table("nodes", {"id": ids})
    DAMAGE[damage](output.path / "graph/nodes/id/c/1")
    rows = output.rows("nodes", ["id"])
    assert np.array_equal(rows.read("id", 5, ROWS), ids[5:ROWS])
    assert np.array_equal(rows.read("id", 2 * ROWS, 2 * ROWS + 5), ids[2 * ROWS :])
    for begin, end in [(ROWS, ROWS + 1), (0, 2 * ROWS), (2 * ROWS - 1, 2 * ROWS + 5)]:
        with pytest.raises(OutputError, match="graph/nodes/id/c/1"):
            rows.read("id", begin, end)
    with pytest.raises(OutputError, match="graph/nodes/id/c/1"):
        output.read_table("nodes")


def test_lost_rows_are_found_without_reading_them(output: Output) -> None:
    output.write_table("nodes", {"id": np.arange(LONG), "centre": np.zeros((LONG, 3))})
    output.verify_table("nodes", ["id", "centre"])
    (output.path / "graph/nodes/centre/c/2/0").unlink()
    output.verify_table("nodes", ["id"])
    with pytest.raises(OutputError, match="graph/nodes/centre/c/2/0"):
        output.verify_table("nodes", ["id", "centre"])
    with pytest.raises(OutputError, match="nodes/box: no such array"):
        output.verify_table("nodes", ["box"])


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

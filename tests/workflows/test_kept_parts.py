"""What tasks keep: read by ranges, found by key, and never wrong without notice."""

from __future__ import annotations

import errno
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from pipeline.contract import KEY, Table
from pipeline.errors import BlockError
from pipeline.held import HeldParts
from workflows import part_files
from workflows.part_files import PartFile
from workflows.parts import Kept, StoredParts, part_path, save_part

DTYPES = ["bool", "uint8", "uint16", "uint32", "uint64", "int64", "float32", "float64"]


def column_of(dtype: str, rows: int, width: int | None = None) -> NDArray[Any]:
    shape = (rows,) if width is None else (rows, width)
    return np.random.default_rng(rows).integers(0, 2, shape).astype(dtype)


def keyed(*keys: int) -> Table:
    return {KEY: np.array(keys, np.uint64), "value": np.array(keys, np.float32) / 2}


def saved(folder: Path, tables: list[dict[str, Table]]) -> StoredParts:
    paths = [part_path(folder, str(number)) for number in range(len(tables))]
    kept = [save_part(path, one) for path, one in zip(paths, tables, strict=True)]
    return StoredParts(paths, kept)


@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_columns_of_every_dtype_come_back_exactly(tmp_path: Path, rows: int) -> None:
    table = {dtype: column_of(dtype, rows) for dtype in DTYPES}
    table |= {f"wide {dtype}": column_of(dtype, rows, 3) for dtype in DTYPES}
    (part,) = saved(tmp_path, [{"edges": table}])
    assert part["edges"].count == rows
    assert set(part["edges"]) == set(table)
    for name, column in table.items():
        read = part["edges"][name]
        assert (read.dtype, read.shape) == (column.dtype, column.shape)
        assert np.array_equal(read, column)
        assert read.flags.writeable


def test_columns_that_do_not_lie_in_one_piece_come_back_exactly(tmp_path: Path) -> None:
    every_second = np.arange(20, dtype=np.int64).reshape(10, 2)[::2, 1]
    turned = np.arange(20, dtype=np.float64).reshape(4, 5).T
    (part,) = saved(tmp_path, [{"t": {"a": every_second, "b": turned}}])
    assert part["t"]["a"].tolist() == [1, 5, 9, 13, 17]
    assert np.array_equal(part["t"]["b"], turned)


@given(
    rows=st.integers(0, 60),
    width=st.integers(0, 5),
    begin=st.integers(-3, 70),
    length=st.integers(-2, 70),
)
@settings(max_examples=60, deadline=None)
def test_any_range_of_rows_is_read_and_clipped(
    tmp_path_factory: pytest.TempPathFactory, rows: int, width: int, begin: int, length: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_files, "STRETCH", 64)
        column = np.arange(rows * width, dtype=np.uint32).reshape(rows, width)
        (part,) = saved(tmp_path_factory.mktemp("parts"), [{"t": {"c": column}}])
        read = part["t"].read("c", begin, begin + length)
    expected = column[max(begin, 0) : max(begin + length, 0)]
    assert np.array_equal(read, expected)


def test_summaries_tell_rows_and_keys_without_the_files(tmp_path: Path) -> None:
    tables = [
        {"edges": keyed(3, 3, 9), "sizes": {"size": np.arange(2)}},
        {"edges": keyed(), "sizes": {"size": np.arange(0)}},
        {"edges": keyed(2**64 - 1), "sizes": {"size": np.arange(7)}},
    ]
    parts = saved(tmp_path / "here", tables)
    (tmp_path / "here").rename(tmp_path / "gone")
    assert len(parts) == 3
    assert parts.counts("edges").tolist() == [3, 0, 1]
    assert parts.counts("sizes").tolist() == [2, 0, 7]
    assert parts.keys("edges").tolist() == [[3, 9], [1, 0], [2**64 - 1, 2**64 - 1]]
    assert parts.keys("edges").dtype == np.uint64
    assert parts.keys("sizes").tolist() == [[1, 0]] * 3
    assert parts[1:].counts("edges").tolist() == [0, 1]


@pytest.mark.parametrize("stretch", [8, 24, 1 << 14])
def test_rows_are_found_by_key_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    monkeypatch.setattr(part_files, "STRETCH", stretch)
    rng = np.random.default_rng(0)
    tables = [{"t": keyed(*np.sort(rng.integers(0, 50, rng.integers(0, 30))))} for _ in range(6)]
    parts, reference = saved(tmp_path, tables), HeldParts(tables)
    for low, high in [(0, 50), (10, 11), (20, 35), (49, 60), (7, 7), (8, 2)]:
        found = [rows.read("value", b, e) for rows, b, e in parts.between("t", low, high)]
        expected = [rows.read("value", b, e) for rows, b, e in reference.between("t", low, high)]
        assert [f.tolist() for f in found] == [e.tolist() for e in expected]


def test_no_part_is_no_rows() -> None:
    parts = StoredParts([], [])
    assert len(parts) == 0
    assert parts.keys("t").shape == (0, 2)
    assert list(parts.between("t", 0, 9)) == []


def test_more_files_than_are_held_open_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.parts.OPEN_FILES", 2)
    parts = saved(tmp_path, [{"t": keyed(n, n + 1)} for n in range(9)])
    held = [part["t"] for part in parts]
    assert [rows[KEY].tolist() for rows in held] == [[n, n + 1] for n in range(9)]
    assert [rows[KEY][1] for rows in (part["t"] for part in parts)] == list(range(1, 10))


def test_keys_that_fall_and_columns_of_different_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="must ascend"):
        save_part(tmp_path / "x", {"t": keyed(3, 2)})
    with pytest.raises(AssertionError, match="t differ in rows"):
        save_part(tmp_path / "x", {"t": {"a": np.zeros(1), "b": np.zeros(2)}})
    with pytest.raises(AssertionError, match="cannot be kept"):
        save_part(tmp_path / "x", {"t": {"a": np.zeros(1, np.complex128)}})
    assert not (tmp_path / "x").exists()


def test_a_missing_column_is_a_key_error(tmp_path: Path) -> None:
    (part,) = saved(tmp_path, [{"t": keyed(1)}])
    with pytest.raises(KeyError):
        part["t"].read("length", 0, 1)
    with pytest.raises(KeyError):
        part["other"]


def test_the_safetensors_library_reads_the_same(tmp_path: Path) -> None:
    tables = {
        "edges": {dtype: column_of(dtype, 7, 2) for dtype in DTYPES},
        "none": {"c": np.zeros((0, 3))},
    }
    save_part(tmp_path / "0", tables)
    read = load_file(tmp_path / "0")
    assert set(read) == {f"{t}/{c}" for t, table in tables.items() for c in table}
    for name, column in read.items():
        table, _, key = name.partition("/")
        assert column.dtype == tables[table][key].dtype
        assert np.array_equal(column, tables[table][key])


def test_an_interrupted_write_leaves_the_part_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*paths: Path) -> None:
        raise KeyboardInterrupt

    path = part_path(tmp_path, "0")
    kept = save_part(path, {"t": keyed(1)})
    monkeypatch.setattr("os.replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        save_part(path, {"t": keyed(2)})
    assert StoredParts([path], [kept])[0]["t"][KEY].tolist() == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_takes_no_more_is_an_error_of_the_system(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save_part(part_path(tmp_path, "0"), {"t": keyed(*range(5000))})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 5, 40, 400, -1])
def test_a_missing_or_cut_part_is_an_error_that_names_it(tmp_path: Path, size: int) -> None:
    parts = saved(tmp_path, [{"t": keyed(*range(1000))}])
    path = part_path(tmp_path, "0")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BlockError, match=r"0\.safetensors: damaged.*remove it and run again"):
        parts[0]
    path.unlink()
    with pytest.raises(BlockError, match=r"0\.safetensors: damaged or missing"):
        parts[0]


def test_a_part_that_is_cut_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    (part,) = saved(tmp_path, [{"t": keyed(*range(9000))}])
    path = part_path(tmp_path, "0")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(BlockError, match="cut short"):
        part["t"][KEY], part["t"]["value"]


def read_all(path: Path, kept: Kept) -> dict[str, Any]:
    part = StoredParts([path], [kept])[0]
    return {t: {c: rows[c].tolist() for c in rows} for t, rows in part.items()}


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    path = part_path(tmp_path, "0")
    table = {KEY: np.arange(40, dtype=np.uint64), "pair": np.ones((40, 2), np.uint16)}
    kept = save_part(path, {"t": table, "none": {"c": np.zeros(0)}})
    whole = path.read_bytes()
    expected = read_all(path, kept)
    unnoticed = []
    for bit in range(0, 8 * len(whole), 7):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_all(path, kept)
        except BlockError:
            continue
        if found != expected:
            unnoticed.append(bit)
    assert unnoticed == []


def test_a_flipped_bit_is_noticed_by_the_ranges_that_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_files, "STRETCH", 80)
    (part,) = saved(tmp_path, [{"t": {KEY: np.arange(100, dtype=np.uint64)}}])
    path = part_path(tmp_path, "0")
    begin = PartFile(path).columns[f"t/{KEY}"].begin
    content = bytearray(path.read_bytes())
    content[begin + 8 * 25] ^= 64
    path.write_bytes(content)
    assert part["t"].read(KEY, 0, 20).tolist() == list(range(20))
    assert part["t"].read(KEY, 30, 100).tolist() == list(range(30, 100))
    for low, high in [(25, 26), (20, 21), (0, 100), (29, 40)]:
        with pytest.raises(BlockError, match="checksum"):
            part["t"].read(KEY, low, high)

"""Headers of model files: read, and extended without touching the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save

from pipeline.errors import ModelError
from pipeline.model_header import extend_header, read_header, with_header

TENSORS = {
    "half": np.arange(7, dtype=np.float16),
    "single": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "counts": np.arange(5, dtype=np.int64),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(TENSORS, {"card": '{"name": "ä"}', "format": "one"}))
    return path


def test_the_library_reads_what_was_added_and_the_same_weights(file: Path) -> None:
    weights = file.read_bytes()[8 + int.from_bytes(file.read_bytes()[:8], "little") :]
    extend_header(file, {"learned_from": "x" * 1001, "format": "two"})
    with safe_open(file, "np") as opened:
        assert opened.metadata() == {
            "card": '{"name": "ä"}',
            "format": "two",
            "learned_from": "x" * 1001,
        }
    assert file.read_bytes().endswith(weights)
    assert int.from_bytes(file.read_bytes()[:8], "little") % 8 == 0
    for name, array in load(file.read_bytes()).items():
        assert array.dtype == TENSORS[name].dtype
        assert array.tobytes() == TENSORS[name].tobytes()
    assert read_header(file)["learned_from"] == "x" * 1001
    assert list(file.parent.iterdir()) == [file]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """The library writes the keys of a header in any order."""
    metadata = {name: name for name in "abcdefgh"}
    made = {with_header(save(TENSORS, metadata), {"i": "i"}, tmp_path) for _ in range(10)}
    assert len(made) == 1


def test_a_file_without_metadata_gets_some(file: Path) -> None:
    file.write_bytes(save(TENSORS))
    assert read_header(file) == {}
    extend_header(file, {"a": "b"})
    assert read_header(file) == {"a": "b"}


@pytest.mark.parametrize(
    "content", [b"", b"123", b"\xff" * 40, b"\x02" + b"\0" * 7 + b"[]", b"\x64" + b"\0" * 7 + b"{}"]
)
def test_what_is_no_model_file_is_refused(file: Path, content: bytes) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:30] if content == b"123" else content)
    before = file.read_bytes()
    with pytest.raises(ModelError, match=r"model\.safetensors: not a model file"):
        read_header(file)
    with pytest.raises(ModelError, match=r"model\.safetensors: not a model file"):
        extend_header(file, {"a": "b"})
    assert file.read_bytes() == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for act in (read_header, lambda path: extend_header(path, {})):
        with pytest.raises(ModelError, match=r"gone\.safetensors: cannot be read"):
            act(tmp_path / "gone.safetensors")

"""Forest files: what is written is read, and nothing else is."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from pipeline.errors import ModelError
from pipeline.forests import Forest, load_forest, predict, save_forest
from pipeline.forests.files import MAX_BYTES
from pipeline.forests.model import ARRAYS, MAX_DEPTH

NAMES = ("x", "y")


def chain(depth):
    """A tree whose every right child splits again: 2 * depth + 1 nodes."""
    nodes = 2 * depth + 1
    inner = np.arange(0, nodes - 1, 2)
    left = np.full(nodes, -1, np.int32)
    right = left.copy()
    left[inner], right[inner] = inner + 1, inner + 2
    return {
        "children_left": left,
        "children_right": right,
        "feature": np.where(left < 0, -1, 0).astype(np.int16),
        "threshold": np.arange(nodes, dtype=np.float32),
        "value": np.linspace(0, 1, nodes, dtype=np.float32),
        "tree_offsets": np.array([0, nodes], np.int32),
    }


@pytest.fixture
def arrays():
    return chain(2)


def forest_of(arrays, **metadata):
    return Forest(**arrays, feature_names=NAMES, metadata=metadata)


def written(path, arrays, header=None):
    header = header if header is not None else {"feature_names": list(NAMES), "metadata": {}}
    save_file(arrays, path, metadata={"forest": json.dumps(header)})
    return path


def test_a_forest_survives_its_file(tmp_path, arrays):
    forest = forest_of(arrays, data="isbi", error=0.125)
    path = tmp_path / "forest.safetensors"
    save_forest(path, forest)
    loaded = load_forest(path)
    assert loaded.feature_names == NAMES
    assert loaded.metadata == {"data": "isbi", "error": 0.125}
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), arrays[name])
    save_forest(tmp_path / "again", loaded)
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


def test_a_file_without_calibration_loads_as_before(tmp_path, arrays):
    loaded = load_forest(written(tmp_path / "old.safetensors", arrays))
    assert loaded.calibration_x.shape == loaded.calibration_y.shape == (0,)
    rows = np.linspace(-1, 5, 20, dtype=np.float32).reshape(10, 2)
    np.testing.assert_array_equal(
        predict(loaded, rows, NAMES), predict(forest_of(arrays), rows, NAMES)
    )


def knots(x=(0, 0.5, 1), y=(0.1, 0.2, 0.9), dtype=np.float32):
    return {"calibration_x": np.array(x, dtype), "calibration_y": np.array(y, dtype)}


def test_a_calibration_survives_its_file_and_is_applied(tmp_path, arrays):
    forest = Forest(**arrays, **knots(), feature_names=NAMES)
    save_forest(tmp_path / "f.safetensors", forest)
    loaded = load_forest(tmp_path / "f.safetensors")
    for name, values in knots().items():
        np.testing.assert_array_equal(getattr(loaded, name), values)
    rows = np.array([[-1, 0], [9, 0]], np.float32)  # leaves 1 and 4: votes 0.25 and 1
    assert predict(forest_of(arrays), rows, NAMES).tolist() == [0.25, 1]
    assert predict(loaded, rows, NAMES) == pytest.approx([0.15, 0.9])


CALIBRATIONS = {
    "falling y": (knots(y=(0.1, 0.9, 0.2)), "calibration_y falls"),
    "equal x": (knots(x=(0, 0.5, 0.5)), "does not rise"),
    "falling x": (knots(x=(0, 0.6, 0.5)), "does not rise"),
    "x beyond 1": (knots(x=(0, 0.5, 1.5)), "calibration_x reaches outside"),
    "y below 0": (knots(y=(-0.1, 0.5, 1)), "calibration_y reaches outside"),
    "y NaN": (knots(y=(0.1, np.nan, 1)), "calibration_y reaches outside"),
    "x NaN": (knots(x=(0.1, np.nan, 1)), "calibration_x reaches outside"),
    "lengths differ": (knots(y=(0.1, 0.9)), "3 x and 2 y"),
    "one knot": (knots(x=(0.5,), y=(0.5,)), "1 x and 1 y"),
    "two dimensions": (knots(x=((0, 1),), y=((0, 1),)), "one-dimensional"),
    "double": (knots(dtype=np.float64), "stored as F64"),
    "y missing": ({"calibration_x": knots()["calibration_x"]}, "not a forest"),
}


@pytest.mark.parametrize(("extra", "message"), CALIBRATIONS.values(), ids=CALIBRATIONS.keys())
def test_a_malformed_calibration_is_refused(tmp_path, arrays, extra, message):
    path = written(tmp_path / "bad.safetensors", {**arrays, **extra})
    with pytest.raises(ModelError, match=message):
        load_forest(path)


def changed(name, index, value):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


def retyped(name, dtype):
    def change(arrays):
        arrays[name] = arrays[name].astype(dtype)

    return change


TAMPERED = {
    "child before its parent": (changed("children_left", 2, 0), "does not come after"),
    "child that is its parent": (changed("children_right", 2, 2), "does not come after"),
    "child out of range": (changed("children_right", 2, 5), "does not come after"),
    "child far out of range": (changed("children_left", 0, 2**31 - 1), "does not come after"),
    "negative child": (changed("children_left", 0, -7), "does not come after"),
    "two parents": (changed("children_left", 0, 3), "none or of several"),
    "leaf with a child": (changed("children_left", 1, 4), "leaf has children"),
    "feature too high": (changed("feature", 0, 2), "reach 2, but there are 2 names"),
    "feature below -1": (changed("feature", 0, -2), "feature numbers"),
    "value above 1": (changed("value", 0, 1.5), "outside 0..1"),
    "value NaN": (changed("value", 4, np.nan), "outside 0..1"),
    "threshold NaN": (changed("threshold", 0, np.nan), "not finite"),
    "threshold infinite": (changed("threshold", 0, -np.inf), "not finite"),
    "offsets beyond": (changed("tree_offsets", 1, 6), "tree_offsets"),
    "offsets not from 0": (changed("tree_offsets", 0, 1), "tree_offsets"),
    "no tree": (lambda a: a.update(tree_offsets=np.zeros(1, np.int32)), "tree_offsets"),
    "wide children": (retyped("children_left", np.int64), "stored as I64"),
    "double threshold": (retyped("threshold", np.float64), "stored as F64"),
    "short value": (lambda a: a.update(value=a["value"][:3]), "value has 3 nodes"),
    "single feature": (lambda a: a.update(feature=np.array(0, np.int16)), "feature has 1"),
    "flat value": (lambda a: a.update(value=a["value"][:, None]), "one-dimensional"),
    "array missing": (lambda a: a.pop("value"), "not a forest"),
    "array too many": (lambda a: a.update(more=np.zeros(1)), "not a forest"),
}


@pytest.mark.parametrize(("change", "message"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_forest_is_refused_by_name(tmp_path, arrays, change, message):
    change(arrays)
    path = written(tmp_path / "bad.safetensors", arrays)
    with pytest.raises(ModelError, match=message) as error:
        load_forest(path)
    assert str(path) in str(error.value)


def test_a_child_in_another_tree_is_refused(arrays):
    double = {name: np.concatenate([array, array]) for name, array in arrays.items()}
    double["tree_offsets"] = np.array([0, 5, 10], np.int32)
    for name in ("children_left", "children_right"):
        double[name] = np.where(double[name] < 0, -1, double[name] + np.repeat([0, 5], 5))
        double[name] = double[name].astype(np.int32)
    assert forest_of(double).trees == 2
    double["children_left"][2] = 8
    with pytest.raises(ModelError, match="within its tree"):
        forest_of(double)


def test_a_tree_may_be_as_deep_as_the_limit_and_no_deeper():
    assert forest_of(chain(MAX_DEPTH)).depth == MAX_DEPTH
    with pytest.raises(ModelError, match="deeper"):
        forest_of(chain(MAX_DEPTH + 1))


HEADERS = {
    "none": (None, "lacks"),
    "list": ([1], "lacks"),
    "names no list": ({"feature_names": "xy", "metadata": {}}, "list of names"),
    "names no text": ({"feature_names": [1, 2], "metadata": {}}, "list of names"),
    "names repeat": ({"feature_names": ["x", "x"], "metadata": {}}, "repeat"),
    "metadata no mapping": ({"feature_names": ["x", "y"], "metadata": 3}, "mapping"),
}


@pytest.mark.parametrize(("header", "message"), HEADERS.values(), ids=HEADERS.keys())
def test_a_malformed_description_is_refused(tmp_path, arrays, header, message):
    path = tmp_path / "bad.safetensors"
    save_file(arrays, path, metadata={"forest": json.dumps(header)})
    with pytest.raises(ModelError, match=message):
        load_forest(path)


@pytest.mark.parametrize("text", ["{", "[" * 200_000])
def test_a_description_that_is_not_json_is_refused(tmp_path, arrays, text):
    path = tmp_path / "bad.safetensors"
    save_file(arrays, path, metadata={"forest": text})
    with pytest.raises(ModelError, match="not JSON"):
        load_forest(path)


def test_a_file_without_description_is_refused(tmp_path, arrays):
    path = tmp_path / "bad.safetensors"
    save_file(arrays, path)
    with pytest.raises(ModelError, match="lacks"):
        load_forest(path)


def test_a_missing_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.safetensors"):
        load_forest(tmp_path / "nowhere.safetensors")


def test_a_folder_is_a_model_error(tmp_path):
    with pytest.raises(ModelError):
        load_forest(tmp_path)


def test_a_forest_beyond_the_size_limit_is_neither_written_nor_read(tmp_path, arrays):
    path = tmp_path / "big.safetensors"
    with pytest.raises(ModelError, match="use fewer trees"):
        save_forest(path, forest_of(arrays, note="x" * MAX_BYTES))
    assert not path.exists()
    path.write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(ModelError, match="limit"):
        load_forest(path)


GOOD = save(
    {**chain(2), **knots()},
    metadata={"forest": json.dumps({"feature_names": NAMES, "metadata": {}})},
)
HEADER_END = 8 + struct.unpack("<Q", GOOD[:8])[0]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, HEADER_END - 1, HEADER_END, len(GOOD) - 1])
def test_a_truncated_file_is_refused(tmp_path, length):
    path = tmp_path / "short.safetensors"
    path.write_bytes(GOOD[:length])
    with pytest.raises(ModelError, match=r"short\.safetensors"):
        load_forest(path)


@settings(max_examples=150, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6
    )
)
def test_any_bytes_either_load_as_a_sound_forest_or_are_refused(tmp_path_factory, edits):
    content = bytearray(GOOD)
    for place, value in edits:
        content[place] = value
    path = tmp_path_factory.mktemp("bytes") / "forest.safetensors"
    path.write_bytes(content)
    try:
        forest = load_forest(path)
    except ModelError:
        return
    rows = np.linspace(-9, 9, 10 * len(forest.feature_names), dtype=np.float32)
    p_cut = predict(forest, rows.reshape(10, -1), forest.feature_names)
    assert ((p_cut >= 0) & (p_cut <= 1)).all()

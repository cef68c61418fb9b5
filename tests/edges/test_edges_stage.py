"""The edges stage, with and without a forest."""

import numpy as np
import pytest

from pipeline.contract import ROWS, Resources, VolumeInfo
from pipeline.edges import STAGE, stage
from pipeline.edges.stage import EdgesConfig
from pipeline.errors import ConfigError, InputError, ModelError
from pipeline.features.config import FeaturesConfig
from pipeline.features.stage import edge_names
from pipeline.forests import fit_forest, load_forest, predict, save_forest
from pipeline.held import HeldInputs, HeldRows
from pipeline.tables import row_tasks

FLAT = VolumeInfo((30, 512, 512), (50.0, 4.0, 4.0), "uint8")
CUBIC = VolumeInfo((30, 512, 512), (8.0, 8.0, 8.0), "uint8")
NAMES = ["length", "boundary/mean"]
FEATURES = np.array([[3, 0.25], [500, 1], [7, 0]], np.float32)


def run(config, models=None, features=FEATURES, names=NAMES, across=(False, True, False)):
    """P(cut) of all tasks of the one step."""
    edges = {"features": features, "across_sections": np.array(across[: len(features)], bool)}
    attributes = {"edges/features": {"names": names, "units": [""] * len(names)}}
    inputs = HeldInputs({"edges": edges, "attributes": attributes})
    (step,) = STAGE.steps
    resources = Resources(FLAT, models or {})
    tasks = range(row_tasks(step.rows(inputs, config, resources)))
    written = [step.compute(task, inputs, config, resources)["edges"] for task in tasks]
    return np.concatenate([one["p_cut"] for one in written])


@pytest.fixture
def forest_file(tmp_path):
    rng = np.random.default_rng(0)
    features = rng.random((200, 2)).astype(np.float32)
    forest, _ = fit_forest(
        features, features[:, 1] > 0.5, NAMES, trees=100, max_depth=3, min_leaf=2, seed=0, threads=1
    )
    save_forest(tmp_path / "edges.safetensors", forest)
    return tmp_path / "edges.safetensors"


def test_without_a_forest_the_boundary_mean_is_the_probability():
    p_cut = run(EdgesConfig(forest="none"))
    assert p_cut.dtype == np.float32
    assert p_cut.tolist() == [0.25, 1.0, 0.0]
    assert STAGE.opens(EdgesConfig(forest="none"), "cpu") == {}
    assert STAGE.files(EdgesConfig(forest="none")) == []


def test_the_default_boundary_feature_is_one_that_the_features_stage_writes():
    assert EdgesConfig().boundary_feature in edge_names(FeaturesConfig(mode="2d"))


def test_with_a_forest_the_forest_decides(forest_file):
    config = EdgesConfig(forest=str(forest_file))
    p_cut = run(config, STAGE.opens(config, "cpu"))
    np.testing.assert_array_equal(p_cut, predict(load_forest(forest_file), FEATURES, NAMES))
    assert p_cut[1] > 0.7
    assert p_cut[2] < 0.3
    assert STAGE.files(config) == [str(forest_file)]


def test_a_forest_on_other_features_is_refused(forest_file):
    config = EdgesConfig(forest=str(forest_file))
    with pytest.raises(ModelError, match=r"not there: length$"):
        run(config, STAGE.opens(config, "cpu"), names=["contact", "boundary/mean"])


def test_a_missing_boundary_feature_is_named():
    with pytest.raises(ConfigError, match=r"boundary/median.*length, boundary/mean"):
        run(EdgesConfig(forest="none", boundary_feature="boundary/median"))


def test_a_feature_beyond_0_1_is_no_probability():
    with pytest.raises(InputError, match=r"length lies outside 0\.\.1"):
        run(EdgesConfig(forest="none", boundary_feature="length"))


def test_a_volume_without_edges_works():
    assert run(EdgesConfig(forest="none"), features=np.zeros((0, 2), np.float32)).shape == (0,)


@pytest.mark.parametrize(("volume", "name"), [(FLAT, "anisotropic"), (CUBIC, "isotropic")])
def test_auto_takes_the_forest_for_the_anisotropy(volume, name):
    assert EdgesConfig().resolved(volume).forest == f"edges-{name}"
    assert EdgesConfig(forest="none").resolved(volume).forest == "none"


def test_an_unknown_forest_is_an_error_before_anything_runs():
    with pytest.raises(ModelError, match="no-such-forest"):
        STAGE.opens(EdgesConfig(forest="no-such-forest"), "cpu")
    with pytest.raises(ModelError, match="no-such-forest"):
        STAGE.files(EdgesConfig(forest="no-such-forest"))


@pytest.fixture
def across_file(tmp_path):
    """A forest that decides by length, and the other way round."""
    rng = np.random.default_rng(1)
    features = (rng.random((200, 1)) * 1000).astype(np.float32)
    forest, _ = fit_forest(
        features,
        features[:, 0] < 400,
        ["length"],
        trees=5,
        max_depth=3,
        min_leaf=2,
        seed=0,
        threads=1,
    )
    save_forest(tmp_path / "across.safetensors", forest)
    return tmp_path / "across.safetensors"


def test_edges_across_sections_take_their_own_forest(forest_file, across_file):
    config = EdgesConfig(forest=str(forest_file), forest_across=str(across_file))
    models = STAGE.opens(config, "cpu")
    assert STAGE.files(config) == [str(forest_file), str(across_file)]
    within = run(EdgesConfig(forest=str(forest_file)), STAGE.opens(config, "cpu"))
    p_cut = run(config, models)
    assert p_cut[[0, 2]].tolist() == within[[0, 2]].tolist()
    assert within[1] > 0.75  # its boundary is strong
    assert p_cut[1] < 0.25  # it is long
    none_across = run(config, models, across=(False,) * 3)
    assert none_across.tolist() == within.tolist()


def test_a_forest_for_edges_across_sections_alone_is_refused(across_file):
    config = EdgesConfig(forest="none", forest_across=str(across_file))
    for ask in (
        lambda: STAGE.files(config),
        lambda: STAGE.opens(config, "cpu"),
        lambda: run(config),
    ):
        with pytest.raises(ConfigError, match=r"forest_across.*edges\.forest is none"):
            ask()


def test_a_forest_that_was_not_opened_is_named(forest_file, across_file):
    config = EdgesConfig(forest=str(forest_file), forest_across=str(across_file))
    models = STAGE.opens(EdgesConfig(forest=str(forest_file)), "cpu")
    with pytest.raises(ConfigError, match=r"forest_across.*was not opened"):
        run(config, models)


def test_threads_do_not_change_the_probabilities(forest_file):
    config = EdgesConfig(forest=str(forest_file))
    models = STAGE.opens(config, "cpu")
    rows = np.random.default_rng(3).random((40_000, 2)).astype(np.float32)
    edges = {"features": rows, "across_sections": np.zeros(len(rows), bool)}
    inputs = HeldInputs({"edges": edges, "attributes": {"edges/features": {"names": NAMES}}})
    (step,) = STAGE.steps
    one, three = (
        step.compute(0, inputs, config, Resources(FLAT, models, threads)) for threads in (1, 3)
    )
    np.testing.assert_array_equal(one["edges"]["p_cut"], three["edges"]["p_cut"])


def test_tasks_and_stretches_give_what_all_edges_at_once_give(
    forest_file, across_file, monkeypatch
):
    rng = np.random.default_rng(4)
    features = np.stack(
        [rng.integers(1, 900, ROWS + 5000), rng.random(ROWS + 5000)], axis=1
    ).astype(np.float32)
    across = rng.random(len(features)) < 0.3
    config = EdgesConfig(forest=str(forest_file), forest_across=str(across_file))
    models = STAGE.opens(config, "cpu")
    expected = np.where(
        across,
        predict(load_forest(across_file), features, NAMES),
        predict(load_forest(forest_file), features, NAMES),
    )
    monkeypatch.setattr(stage, "STRETCH_BYTES", 2 * 4 * 20_000)
    assert stage.stretch_rows(len(NAMES)) == 16384
    np.testing.assert_array_equal(run(config, models, features, across=across), expected)


def test_a_task_asks_for_no_more_features_at_a_time_than_a_stretch_holds(monkeypatch):
    asked = []

    class Watched(HeldRows):
        def read(self, column, begin, end):
            asked.append((column, begin, end))
            return super().read(column, begin, end)

    edges = Watched({"features": np.full((ROWS + 3, 2), 0.5, np.float32)})
    attributes = {"edges/features": {"names": NAMES}}
    monkeypatch.setattr(stage, "STRETCH_BYTES", 2 * 4 * ROWS // 2)
    (step,) = STAGE.steps
    inputs = HeldInputs({"edges": edges, "attributes": attributes})
    for task in (0, 1):
        step.compute(task, inputs, EdgesConfig(forest="none"), Resources(FLAT))
    half = ROWS // 2
    assert asked == [
        ("features", 0, half),
        ("features", half, ROWS),
        ("features", ROWS, ROWS + 3),
    ]

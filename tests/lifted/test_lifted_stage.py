"""The lifted stage, with and without a second forest."""

import numpy as np
import pytest

from pipeline.contract import Resources, VolumeInfo
from pipeline.errors import ConfigError, ModelError
from pipeline.features.config import FeaturesConfig
from pipeline.features.stage import node_names
from pipeline.forests import fit_forest, save_forest
from pipeline.lifted import STAGE
from pipeline.lifted.config import LiftedConfig
from pipeline.lifted.problem import feature_units
from workflows.in_memory import run_stage

FLAT = VolumeInfo((10, 100, 100), (50.0, 4.0, 4.0), "uint8")
CUBIC = VolumeInfo((10, 100, 100), (8.0, 8.0, 8.0), "uint8")


def run(config, models=None, nodes=4):
    uv = np.stack([np.arange(nodes - 1), np.arange(1, nodes)], axis=1).astype(np.uint64)
    inputs = {
        "nodes": {
            "id": np.arange(1, nodes + 1, dtype=np.uint64),
            "size_voxels": np.full(nodes, 9, np.uint64),
            "centre": np.zeros((nodes, 3)),
        },
        "edges": {
            "uv": uv,
            "p_cut": np.linspace(0.1, 0.9, len(uv), dtype=np.float32),
            "length_voxels": np.ones(len(uv), np.uint64),
        },
        "overlaps": {
            "uv": np.array([[0, 2]], np.uint64)[: nodes // 3],
            "voxels": np.array([3], np.uint64)[: nodes // 3],
        },
        "attributes": {},
    }
    return run_stage(STAGE, inputs, config, Resources(FLAT, models or {}))["lifted"]


def config(**changes):
    return LiftedConfig(region_features=(), **changes)


@pytest.fixture
def forest_file(tmp_path):
    """A forest that cuts where the highest P(cut) on the path is above a half."""
    features = np.random.default_rng(0).random((500, 1)).astype(np.float32)
    forest, _ = fit_forest(
        features,
        features[:, 0] > 0.5,
        ["paths/highest"],
        trees=30,
        max_depth=8,
        min_leaf=1,
        seed=0,
        threads=1,
    )
    save_forest(tmp_path / "lifted.safetensors", forest)
    return str(tmp_path / "lifted.safetensors")


def test_without_a_forest_there_are_no_lifted_edges():
    table = run(config(forest="none"))
    assert table["uv"].shape == (0, 2)
    assert table["p_cut"].shape == (0,)
    assert table["features"].shape == (0, len(feature_units(config())))
    assert STAGE.opens(config(forest="none"), "cpu") == {}
    assert STAGE.files(config(forest="none")) == []


def test_with_a_forest_every_pair_gets_its_probability(forest_file):
    chosen = config(forest=forest_file, max_distance=3)
    table = run(chosen, STAGE.opens(chosen, "cpu"))  # P(cut) of the chain: .1 .5 .9
    assert table["uv"].tolist() == [[0, 2], [0, 3], [1, 3]]
    assert table["p_cut"].dtype == np.float32
    assert table["p_cut"][0] < table["p_cut"][1:].min()
    overlap = table["features"][:, list(feature_units(chosen)).index("geometry/overlap_max")]
    np.testing.assert_allclose(overlap, [3 / 9, 0, 0], rtol=1e-6)
    assert STAGE.files(chosen) == [forest_file]


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_volume_without_pairs_works(forest_file, nodes):
    chosen = config(forest=forest_file)
    assert run(chosen, STAGE.opens(chosen, "cpu"), nodes=nodes)["uv"].shape == (0, 2)


def test_a_forest_on_other_features_is_refused(forest_file):
    chosen = LiftedConfig(forest=forest_file)
    models = STAGE.opens(chosen, "cpu")
    with pytest.raises(ConfigError, match="raw/mean"):  # these nodes have no features
        run(chosen, models)


def test_a_forest_that_is_not_packaged_is_a_model_error():
    with pytest.raises(ModelError, match="no-such-forest"):
        STAGE.opens(config(forest="no-such-forest"), "cpu")


@pytest.mark.parametrize(
    ("volume", "name", "distance"), [(FLAT, "anisotropic", 3), (CUBIC, "isotropic", 2)]
)
def test_auto_is_decided_by_the_anisotropy(volume, name, distance):
    resolved = LiftedConfig().resolved(volume)
    assert (resolved.forest, resolved.max_distance) == (f"lifted-{name}", distance)
    kept = LiftedConfig(forest="none", max_distance=5).resolved(volume)
    assert (kept.forest, kept.max_distance) == ("none", 5)


@pytest.mark.parametrize(
    "chosen",
    [{"linkage_exponents": (0.1, 0.5, 0.1000001)}, {"region_features": ("raw/mean", "raw/mean")}],
)
def test_columns_of_the_same_name_are_refused(chosen):
    with pytest.raises(ValueError, match="repeats"):
        LiftedConfig(**chosen)


def test_default_region_features_are_ones_that_the_features_stage_writes():
    assert set(LiftedConfig().region_features) <= set(node_names(FeaturesConfig(mode="2d")))


def test_attributes_name_every_column():
    named = STAGE.attributes(config(), Resources(FLAT))["lifted/features"]
    assert (
        len(named["names"])
        == len(named["units"])
        == run(config(forest="none"))["features"].shape[1]
    )

"""Features of lifted edges, known by hand."""

import numpy as np
import pytest

from pipeline.contract import VolumeInfo
from pipeline.errors import ConfigError, InputError
from pipeline.lifted.config import LiftedConfig
from pipeline.lifted.problem import compute_lifted_problem

VOLUME = VolumeInfo((10, 100, 100), (50.0, 4.0, 4.0), "uint8")
CONFIG = LiftedConfig(
    forest="none",
    max_distance=2,
    region_features=("grey",),
    linkage_thresholds=(0.3, 0.5, 0.7, 0.9),
    greedy_priors=(0.1, 0.9),
)


def chain_tables():
    """Superpixels 0 - 1 - 2, from section 5 down to section 3."""
    nodes = {
        "size_voxels": np.array([100, 7, 40], np.uint64),
        "centre": np.array([[5.0, 10, 10], [4, 10, 10], [3, 13, 14]]),
        "features": np.array([[9, 0.75], [9, 0.0], [9, 0.5]], np.float32),
    }
    edges = {
        "uv": np.array([[0, 1], [1, 2]], np.uint64),
        "p_cut": np.array([0.2, 0.6], np.float32),
        "length_voxels": np.array([30, 10], np.uint64),
        "across_sections": np.array([True, True]),
    }
    return nodes, edges


def solved(config=CONFIG, **changes):
    nodes, edges = chain_tables()
    nodes |= {name: value for name, value in changes.items() if name in nodes}
    edges |= {name: value for name, value in changes.items() if name in edges}
    problem = compute_lifted_problem(nodes, edges, ["other", "grey"], config, VOLUME)
    assert len(problem.names) == problem.features.shape[1]
    return problem


def value(problem, name, row=0):
    return problem.features[row, problem.names.index(name)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("path/steps", 2),
        ("path/number", 1),
        ("path/cost", -np.log(0.8 * 0.4)),
        ("path/highest", 0.6),
        ("path/bottleneck", 0.6),
        ("linkage/apart", 0.5),  # joined where the threshold is above .6: at .7 and .9
        ("greedy/apart", 0.5),  # .6 attracts at prior .1, repels at .9
        ("size/min", 40),
        ("size/max", 100),
        ("centre/distance", np.sqrt(100**2 + 12**2 + 16**2)),
        ("centre/sections", 2),  # not 2 ** 64 - 2
        ("regions/grey/difference", 0.25),
        ("regions/grey/min", 0.5),
        ("regions/grey/max", 0.75),
    ],
)
def test_features_of_a_chain_are_known_by_hand(name, expected):
    problem = solved()
    assert problem.uv.tolist() == [[0, 2]]
    assert problem.uv.dtype == np.uint64
    assert value(problem, name) == pytest.approx(expected, rel=1e-5)


def test_every_feature_has_a_hand_known_value_above():
    assert len(solved().names) == 14


@pytest.mark.parametrize("integers", [np.uint32, np.uint64])
def test_sections_between_superpixels_do_not_wrap_around(integers):
    centre = np.array([[5, 1, 1], [4, 1, 1], [7, 1, 1]], integers)
    assert value(solved(centre=centre), "centre/sections") == 2
    assert value(solved(centre=centre[::-1]), "centre/sections") == 2


def test_the_bottleneck_sees_ways_beyond_the_distance():
    nodes, _ = chain_tables()
    nodes = {name: np.concatenate([column, column]) for name, column in nodes.items()}
    edges = {  # 0 - 1 - 2 is bad, 0 - 3 - 4 - 5 - 2 is good
        "uv": np.array([[0, 1], [0, 3], [1, 2], [2, 5], [3, 4], [4, 5]], np.uint64),
        "p_cut": np.array([0.9, 0.1, 0.9, 0.1, 0.1, 0.1], np.float32),
        "length_voxels": np.ones(6, np.uint64),
    }
    problem = compute_lifted_problem(nodes, edges, ["other", "grey"], CONFIG, VOLUME)
    row = problem.uv.tolist().index([0, 2])
    assert value(problem, "path/highest", row) == np.float32(0.9)
    assert value(problem, "path/bottleneck", row) == np.float32(0.1)


def test_linkage_weighs_edges_by_their_length():
    nodes, edges = chain_tables()
    nodes = {name: np.concatenate([column, column[:1]]) for name, column in nodes.items()}
    edges = {  # 0 and 1 join first; then 2 hangs on both with .2 and .8
        "uv": np.array([[0, 1], [0, 2], [1, 2], [2, 3]], np.uint64),
        "p_cut": np.array([0.01, 0.2, 0.8, 0.01], np.float32),
        "length_voxels": np.array([9, 30, 10, 1], np.uint64),
    }
    config = CONFIG.model_copy(update={"linkage_thresholds": (0.34, 0.36)})  # mean is .35
    problem = compute_lifted_problem(nodes, edges, ["other", "grey"], config, VOLUME)
    assert value(problem, "linkage/apart", problem.uv.tolist().index([0, 3])) == 0.5


def test_a_missing_region_feature_is_named():
    config = CONFIG.model_copy(update={"region_features": ("grey", "white")})
    with pytest.raises(ConfigError, match=r"white: .*other, grey"):
        solved(config)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_a_probability_that_is_none_is_refused(bad):
    with pytest.raises(InputError, match="P\\(cut\\)"):
        solved(p_cut=np.array([0.5, bad], np.float32))


def test_certain_cuts_have_finite_features():
    assert np.isfinite(solved(p_cut=np.array([1, 1], np.float32)).features).all()


def test_inputs_stay_as_they_were():
    nodes, edges = chain_tables()
    compute_lifted_problem(nodes, edges, ["other", "grey"], CONFIG, VOLUME)
    for table, fresh in zip((nodes, edges), chain_tables(), strict=True):
        for name, column in table.items():
            np.testing.assert_array_equal(column, fresh[name])

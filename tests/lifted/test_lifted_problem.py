"""Features of lifted edges, known by hand."""

import numpy as np
import pytest

from pipeline.contract import VolumeInfo
from pipeline.errors import ConfigError, InputError
from pipeline.lifted.config import FAMILIES, LiftedConfig
from pipeline.lifted.problem import compute_lifted_problem, feature_units

VOLUME = VolumeInfo((10, 100, 100), (50.0, 4.0, 4.0), "uint8")
CUBIC = VolumeInfo((10, 100, 100), (8.0, 8.0, 8.0), "uint8")
CONFIG = LiftedConfig(
    forest="none",
    max_distance=2,
    region_features=("grey",),
    linkage_exponents=(0.0, 0.5),
    greedy_priors=(0.1, 0.9),
)
OVERLAPS = {"uv": np.array([[0, 1], [0, 2]], np.uint64), "voxels": np.array([3, 10], np.uint64)}


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


def solved(config=CONFIG, overlaps=OVERLAPS, volume=VOLUME, **changes):
    nodes, edges = chain_tables()
    nodes |= {name: value for name, value in changes.items() if name in nodes}
    edges |= {name: value for name, value in changes.items() if name in edges}
    problem = compute_lifted_problem(nodes, edges, ["other", "grey"], config, volume, overlaps)
    assert problem.features.shape == (len(problem.uv), len(problem.names))
    return problem


def value(problem, name, row=0):
    return problem.features[row, problem.names.index(name)]


KNOWN = {
    "paths/cost": -np.log(0.8 * 0.4),
    "paths/steps": 2,
    "paths/number": 1,
    "paths/highest": 0.6,
    "paths/mean": 0.4,
    "paths/bottleneck": 0.6,
    "clustering/greedy_apart": 0.5,  # .6 attracts at prior .1, repels at .9
    "clustering/linkage_mean": 0.6,
    "clustering/linkage_std": 0.0,
    "clustering/linkage_0": 0.6,
    "clustering/linkage_0.5": 0.6,
    "regions/grey/difference": 0.25,
    "regions/grey/min": 0.5,
    "regions/grey/max": 0.75,
    "regions/grey/sum": 1.25,
    "geometry/steps": 2,
    "geometry/distance": np.sqrt(100**2 + 12**2 + 16**2),
    "geometry/in_plane": 20,
    "geometry/sections": 2,  # not 2 ** 64 - 2
    "geometry/size_min": 40,
    "geometry/size_max": 100,
    "geometry/size_ratio": 0.4,
    "geometry/overlap_min": 0.1,
    "geometry/overlap_max": 0.25,
    "geometry/overlap_union": 10 / 130,
}


@pytest.mark.parametrize("name", KNOWN)
def test_features_of_a_chain_are_known_by_hand(name):
    problem = solved()
    assert problem.uv.tolist() == [[0, 2]]
    assert problem.uv.dtype == np.uint64
    assert value(problem, name) == pytest.approx(KNOWN[name], rel=1e-5, abs=1e-7)


def test_every_feature_has_a_hand_known_value_above():
    assert solved().names == tuple(KNOWN)


@pytest.mark.parametrize("families", [("paths",), ("geometry", "clustering"), FAMILIES[::-1]])
def test_families_switch_exactly_their_columns(families):
    problem = solved(CONFIG.model_copy(update={"families": families}))
    assert problem.names == tuple(n for n in KNOWN if n.split("/")[0] in families)
    for name in problem.names:
        assert value(problem, name) == pytest.approx(KNOWN[name], rel=1e-5, abs=1e-7)


def test_without_the_family_regions_no_region_feature_must_exist():
    config = CONFIG.model_copy(update={"families": ("paths",), "region_features": ("white",)})
    assert solved(config).uv.tolist() == [[0, 2]]


@pytest.mark.parametrize("integers", [np.uint32, np.uint64])
def test_sections_between_superpixels_do_not_wrap_around(integers):
    centre = np.array([[5, 1, 1], [4, 1, 1], [7, 1, 1]], integers)
    assert value(solved(centre=centre), "geometry/sections") == 2
    assert value(solved(centre=centre[::-1]), "geometry/sections") == 2


@pytest.mark.parametrize("volume", [VOLUME, CUBIC])
def test_without_overlaps_theirs_are_0(volume):
    problem = solved(overlaps=None, volume=volume)
    overlaps = [name for name in problem.names if "overlap" in name]
    assert [value(problem, name) for name in overlaps] == [0, 0, 0]
    assert value(problem, "geometry/distance") > 0


def test_overlaps_of_other_pairs_are_not_taken():
    others = {"uv": np.array([[0, 1], [1, 2]], np.uint64), "voxels": np.array([3, 10], np.uint64)}
    assert value(solved(overlaps=others), "geometry/overlap_max") == 0


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
    assert value(problem, "paths/highest", row) == np.float32(0.9)
    assert value(problem, "paths/bottleneck", row) == np.float32(0.1)


def test_linkage_weighs_edges_by_their_length():
    nodes, _ = chain_tables()
    nodes = {name: np.concatenate([column, column[:1]]) for name, column in nodes.items()}
    edges = {  # 0 and 1 join first; then 2 hangs on both with .2 and .8; 3 hangs on 2
        "uv": np.array([[0, 1], [0, 2], [1, 2], [2, 3]], np.uint64),
        "p_cut": np.array([0.01, 0.2, 0.8, 0.01], np.float32),
        "length_voxels": np.array([9, 30, 10, 1], np.uint64),
    }
    problem = compute_lifted_problem(nodes, edges, ["other", "grey"], CONFIG, VOLUME)
    row = problem.uv.tolist().index([0, 3])
    assert value(problem, "clustering/linkage_0", row) == pytest.approx(0.35)


def grid_problem(threads=1, rename=None, **changes):
    """Three sections of 12 x 12 superpixels with random P(cut)."""
    rng = np.random.default_rng(0)
    index = np.arange(3 * 12 * 12).reshape(3, 12, 12)
    uv = np.concatenate(
        [np.stack([np.moveaxis(index, axis, 0)[:-1].ravel(),
                   np.moveaxis(index, axis, 0)[1:].ravel()], 1) for axis in range(3)]
    )  # fmt: skip
    n = index.size
    overlaps = np.stack([index[0].ravel(), index[2].ravel()], 1)
    centre = np.argwhere(index >= 0) * np.array([1.0, 9, 9]) + rng.random((n, 3))
    size, grey = rng.integers(5, 99, n), rng.random((n, 2))
    p_cut, length = rng.random(len(uv)), rng.integers(1, 30, len(uv))
    name = np.arange(n) if rename is None else rename
    back = np.argsort(name)
    return compute_lifted_problem(
        {"size_voxels": size[back], "centre": centre[back],
         "features": grey[back].astype(np.float32)},
        {"uv": np.sort(name[uv], axis=1).astype(np.uint64), "p_cut": p_cut.astype(np.float32),
         "length_voxels": length},
        ["other", "grey"],
        CONFIG.model_copy(update={"max_distance": 3, "max_partners": 20} | changes),
        VOLUME,
        {"uv": np.sort(name[overlaps], axis=1), "voxels": np.full(len(overlaps), 4)},
        threads=threads,
    )  # fmt: skip


def test_the_number_of_threads_changes_nothing():
    one, three = grid_problem(), grid_problem(threads=3)
    assert len(one.uv) > 2000
    np.testing.assert_array_equal(three.uv, one.uv)
    np.testing.assert_array_equal(three.features, one.features)


def test_the_numbering_of_superpixels_changes_only_names():
    rename = np.random.default_rng(1).permutation(3 * 12 * 12)
    plain, other = grid_problem(), grid_problem(rename=rename)
    uv = np.sort(rename[plain.uv.astype(int)], axis=1)
    order = np.lexsort((uv[:, 1], uv[:, 0]))
    np.testing.assert_array_equal(uv[order], other.uv)
    np.testing.assert_allclose(plain.features[order], other.features, rtol=1e-5, atol=1e-6)


def test_features_obey_their_order():
    """No path beats the bottleneck; the highest on a path is at least its mean."""
    problem = grid_problem()
    column = dict(zip(problem.names, problem.features.T, strict=True))
    assert (column["paths/bottleneck"] <= column["paths/highest"]).all()
    assert (column["paths/mean"] <= column["paths/highest"] + 1e-6).all()
    assert (column["paths/bottleneck"] <= column["clustering/linkage_0"] + 1e-6).all()
    assert (column["geometry/steps"] <= column["paths/steps"]).all()
    assert (column["geometry/in_plane"] <= column["geometry/distance"] + 1e-4).all()
    assert (column["geometry/overlap_max"] > 0).sum() == 144  # all pairs two sections apart


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_graph_without_edges_has_no_lifted_edges(n):
    nodes = {name: column[:n] for name, column in chain_tables()[0].items()}
    edges = {name: column[:0] for name, column in chain_tables()[1].items()}
    problem = compute_lifted_problem(nodes, edges, ["other", "grey"], CONFIG, VOLUME)
    assert problem.features.shape == (0, len(KNOWN))


def test_unconnected_parts_have_no_lifted_edge_between_them():
    nodes, edges = chain_tables()
    nodes = {name: np.concatenate([column, column]) for name, column in nodes.items()}
    edges = {name: np.concatenate([column, column]) for name, column in edges.items()}
    edges["uv"] = edges["uv"] + np.array([[0], [0], [3], [3]], np.uint64)
    overlaps = {"uv": np.array([[0, 3], [0, 5]], np.uint64), "voxels": np.array([9, 9])}
    problem = compute_lifted_problem(nodes, edges, ["other", "grey"], CONFIG, VOLUME, overlaps)
    assert problem.uv.tolist() == [[0, 2], [3, 5]]
    np.testing.assert_array_equal(problem.features[0], problem.features[1])


@pytest.mark.parametrize("families", [(family,) for family in FAMILIES])
def test_a_hub_of_50_000_leaves_is_bounded_in_every_family(families):
    """Each leaf touches the hub and the next two leaves; work that squares would not end."""
    leaves = 50_000
    ring = [np.stack([np.arange(1, leaves + 1 - by), np.arange(1 + by, leaves + 1)], 1)
            for by in (1, 2)]  # fmt: skip
    uv = np.concatenate([np.stack([np.zeros(leaves, int), np.arange(1, leaves + 1)], 1), *ring])
    rng = np.random.default_rng(0)
    problem = compute_lifted_problem(
        {"size_voxels": np.ones(leaves + 1, int), "centre": rng.random((leaves + 1, 3)),
         "features": np.zeros((leaves + 1, 2), np.float32)},
        {"uv": uv, "p_cut": rng.integers(0, 9, len(uv)).astype(np.float32) / 10,
         "length_voxels": np.ones(len(uv))},
        ["other", "grey"],
        CONFIG.model_copy(update={"families": families}),
        VOLUME,
    )  # fmt: skip
    assert len(problem.uv) == (leaves - 3) + (leaves - 4)  # three and four leaves on, two steps
    assert np.isfinite(problem.features).all()


def test_the_units_are_named_for_every_column():
    units = feature_units(CONFIG)
    assert tuple(units) == tuple(KNOWN)
    assert units["paths/cost"] == "nats"
    assert units["geometry/distance"] == "nm"


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
    overlaps = {name: column.copy() for name, column in OVERLAPS.items()}
    compute_lifted_problem(nodes, edges, ["other", "grey"], CONFIG, VOLUME, overlaps)
    tables = zip((nodes, edges, overlaps), (*chain_tables(), OVERLAPS), strict=True)
    for table, fresh in tables:
        for name, column in table.items():
            np.testing.assert_array_equal(column, fresh[name])

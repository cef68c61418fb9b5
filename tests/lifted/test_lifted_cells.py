"""Lifted edges by cells of the volume, against the whole graph in one problem."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

import pipeline.lifted.steps
import pipeline.subgraphs
import pipeline.tables
from pipeline.contract import Resources, VolumeInfo
from pipeline.forests import fit_forest, predict
from pipeline.held import HeldInputs
from pipeline.lifted import STAGE
from pipeline.lifted.config import LiftedConfig
from pipeline.lifted.problem import compute_lifted_problem, feature_units
from pipeline.tables import row_tasks

VOLUME = VolumeInfo((6, 90, 120), (40.0, 4.0, 4.0), "uint8")
NAMES = ["other", "grey"]
EVERYTHING_NM = 1e6
LONGEST_NM = 60.0
CONFIG = LiftedConfig(
    forest="forest.safetensors",
    max_distance=2,
    max_partners=12,
    region_features=("grey",),
    superpixels_per_cell=40,
)
LOCAL = ("paths/cost", "paths/number", "paths/highest", "regions/grey/sum", "geometry/overlap_max")


def forest():
    """Looks at a local and at a global feature."""
    rng = np.random.default_rng(0)
    features = rng.random((600, 2)).astype(np.float32)
    columns = ["paths/highest", "clustering/linkage_0.3"]
    cut = features.sum(axis=1) > 1
    return fit_forest(features, cut, columns, trees=20, max_depth=6, min_leaf=1, seed=0, threads=1)[
        0
    ]


def random_tables(nodes=300, seed=0):
    """Superpixels anywhere, neighbours up to ``LONGEST_NM`` apart."""
    rng = np.random.default_rng(seed)
    flat = np.sort(rng.choice(np.prod(VOLUME.shape), nodes, replace=False))
    centre = np.stack(np.unravel_index(flat, VOLUME.shape), axis=1).astype(np.float64)
    tree = cKDTree(centre * VOLUME.voxel_size_nm)
    uv = tree.query_pairs(LONGEST_NM, output_type="ndarray").astype(np.uint64)
    uv = uv[np.lexsort((uv[:, 1], uv[:, 0]))]
    far = rng.integers(nodes, size=(nodes, 2)).astype(np.uint64)
    far = np.unique(np.sort(far[far[:, 0] != far[:, 1]], axis=1), axis=0)
    return {
        "nodes": {
            "id": flat.astype(np.uint64) + np.uint64(1),
            "size_voxels": rng.integers(1, 500, nodes).astype(np.uint64),
            "centre": centre,
            "features": rng.random((nodes, 2)).astype(np.float32),
        },
        "edges": {
            "uv": uv,
            "p_cut": rng.random(len(uv)).astype(np.float32),
            "length_voxels": rng.integers(1, 90, len(uv)).astype(np.uint64),
        },
        "overlaps": {"uv": far, "voxels": rng.integers(1, 50, len(far)).astype(np.uint64)},
        "attributes": {"nodes/features": {"names": NAMES}},
    }


def run_steps(tables, config, order=lambda tasks: tasks):
    """The table ``lifted``; tasks of every step in any order."""
    resources = Resources(VOLUME, {"forest": forest()})
    kept = {}
    for step in STAGE.after:
        inputs = HeldInputs(tables, kept)
        if step.tasks is not None:
            tasks = range(step.tasks(inputs, config, resources))
        else:
            tasks = range(row_tasks(step.rows(inputs, config, resources)))
        done = {t: step.compute(t, inputs, config, resources) for t in order(list(tasks))}
        kept[step.name] = [done[task] for task in tasks]
    parts = [part["lifted"] for part in kept["lifted"]]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def reference(tables, config):
    """The whole graph as one problem."""
    problem = compute_lifted_problem(
        tables["nodes"], tables["edges"], NAMES, config, VOLUME, tables["overlaps"]
    )
    p_cut = predict(forest(), problem.features, problem.names)
    return {"uv": problem.uv, "features": problem.features, "p_cut": p_cut}


def assert_equal(found, expected):
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column, err_msg=name)
        assert found[name].dtype == column.dtype


def changed(**parameters):
    return CONFIG.model_copy(update=parameters)


def test_one_cell_is_the_whole_graph_in_one_problem():
    tables = random_tables()
    expected = reference(tables, CONFIG)
    assert len(expected["uv"]) > 1000
    assert_equal(run_steps(tables, changed(superpixels_per_cell=10**6, context_nm=0)), expected)


@pytest.mark.parametrize("per_cell", [8, 150])
def test_cells_that_see_everything_find_what_one_cell_finds(per_cell):
    tables = random_tables()
    config = changed(superpixels_per_cell=per_cell, context_nm=EVERYTHING_NM)
    assert_equal(run_steps(tables, config), reference(tables, config))


def test_pairs_and_local_features_are_exact_where_the_context_is_four_steps():
    tables = random_tables()
    config = changed(context_nm=4 * LONGEST_NM)
    found, expected = run_steps(tables, config), reference(tables, config)
    np.testing.assert_array_equal(found["uv"], expected["uv"])
    for name in LOCAL:
        column = list(feature_units(config)).index(name)
        np.testing.assert_array_equal(found["features"][:, column], expected["features"][:, column])


def test_neither_stretches_nor_rows_of_a_task_nor_their_order_matter(monkeypatch):
    tables = random_tables()
    config = changed(context_nm=100)
    expected = run_steps(tables, config)
    monkeypatch.setattr(pipeline.subgraphs, "STRETCH", 100)
    monkeypatch.setattr(pipeline.tables, "ROWS", 7)
    monkeypatch.setattr(pipeline.lifted.steps, "ROWS", 7)
    assert_equal(run_steps(tables, config, order=lambda tasks: tasks[::-1]), expected)


@pytest.mark.parametrize(
    ("context_nm", "expected"),
    [(0, []), (150, [[0, 2]]), (250, [[0, 2], [1, 3]])],
)
def test_a_cell_sees_no_further_than_its_context(context_nm, expected):
    """A chain along x; two cells that meet at x = 60, nodes at x = 10, 50, 90, 110."""
    x = np.array([10, 50, 90, 110])
    uv = np.array([[0, 1], [1, 2], [2, 3]], np.uint64)
    tables = {
        "nodes": {
            "id": x.astype(np.uint64) + np.uint64(1),
            "size_voxels": np.full(4, 9, np.uint64),
            "centre": np.stack([x * 0, x * 0, x], axis=1).astype(np.float64),
        },
        "edges": {
            "uv": uv,
            "p_cut": np.full(3, 0.5, np.float32),
            "length_voxels": np.ones(3, np.uint64),
        },
        "overlaps": {"uv": np.zeros((0, 2), np.uint64), "voxels": np.zeros(0, np.uint64)},
        "attributes": {},
    }
    config = changed(superpixels_per_cell=2, region_features=(), context_nm=context_nm)
    assert run_steps(tables, config)["uv"].tolist() == expected


def test_no_superpixels_are_no_lifted_edges():
    tables = random_tables()
    none = {
        name: {column: values[:0] for column, values in tables[name].items()}
        for name in ("nodes", "edges", "overlaps")
    }
    table = run_steps({**none, "attributes": tables["attributes"]}, CONFIG)
    assert table["features"].shape == (0, len(feature_units(CONFIG)))
    assert [table[name].dtype for name in ("uv", "features", "p_cut")] == [
        np.uint64,
        np.float32,
        np.float32,
    ]


def test_memory_of_a_cell_does_not_grow_with_the_volume():
    def needed(sections, nodes, edges):
        volume = VolumeInfo((sections, 4096, 4096), (40.0, 4.0, 4.0), "uint8")
        tables = {
            "nodes": {"id": np.zeros(nodes, np.uint8)},
            "edges": {"p_cut": np.zeros(edges, np.uint8)},
        }
        step = next(step for step in STAGE.after if step.name == "cells")
        return step.memory(HeldInputs(tables), LiftedConfig(), Resources(volume))

    assert needed(3200, 1_600_000, 9_600_000) <= needed(1600, 800_000, 4_800_000) < 3 << 30

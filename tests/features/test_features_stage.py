"""Features of edges and nodes: known by hand, and of blocks against the whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipeline.contract import Resources, VolumeInfo
from pipeline.features import STAGE
from pipeline.features import parts as parts_module
from pipeline.features.config import FeaturesConfig
from pipeline.graph import STAGE as GRAPH
from pipeline.graph.stage import GraphConfig
from pipeline.grid import blocks, whole

FLAT_NM = (40.0, 4.0, 4.0)
CUBIC_NM = (8.0, 8.0, 8.0)
CONFIG = FeaturesConfig(sigmas_voxels=(0.8, 1.2))
INTENSITY = {"low": np.array([100.0]), "high": np.array([900.0])}


def graph_of(superpixels, resources):
    config, block = GraphConfig(), whole(superpixels.shape)
    part = GRAPH.compute(block, {"superpixels": superpixels}, config, resources)
    return GRAPH.merge([part], {}, config, resources)


def volume_of(rng, shape, flat):
    """Raw, boundary map, superpixels; some voxels masked."""
    points = rng.uniform(0, shape, (60, 3)) * ([4, 1, 1] if flat else [1, 1, 1])
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    near = cKDTree(points).query(voxels * ([4, 1, 1] if flat else [1, 1, 1]))[1]
    ids = near + (1000 * np.arange(shape[0])[:, None, None] if flat else 0)
    superpixels = np.where(near % 7 == 0, 0, ids * 1_000_003 + 5).astype(np.uint64)
    return {
        "raw": rng.integers(0, 1024, shape, dtype=np.uint16),
        "boundaries": rng.integers(0, 256, shape, dtype=np.uint8),
        "superpixels": superpixels,
    }


def run(arrays, resources, block_shape, rng=None, config=CONFIG):
    tables = graph_of(arrays["superpixels"], resources)
    shape = resources.volume.shape
    parts = []
    for block in blocks(shape, block_shape, STAGE.halo(config, resources)):
        crop = {name: array[block.read.slices] for name, array in arrays.items()}
        parts.append(
            STAGE.compute(block, {**crop, "intensity": INTENSITY, **tables}, config, resources)
        )
    if rng is not None:
        rng.shuffle(parts)
    return STAGE.merge(parts, tables, config, resources), tables


def columns(table, result, resources, config=CONFIG):
    names = STAGE.attributes(config, resources)[f"{table}/features"]["names"]
    return dict(zip(names, result[table]["features"].T, strict=True))


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])
def test_blocks_in_any_order_give_the_features_of_the_whole(voxel_size, monkeypatch):
    monkeypatch.setattr(parts_module, "ROWS_AT_ONCE", 50)  # several rounds of the merge
    rng = np.random.default_rng(0)
    shape = (13, 26, 23)
    resources = Resources(VolumeInfo(shape, voxel_size, "uint16"))
    arrays = volume_of(rng, shape, voxel_size == FLAT_NM)
    before = {name: array.copy() for name, array in arrays.items()}
    expected, tables = run(arrays, resources, shape)
    found, _ = run(arrays, resources, (5, 9, 10), rng)
    for table in ("edges", "nodes"):
        assert np.isfinite(expected[table]["features"]).all()
        assert np.array_equal(found[table]["features"], expected[table]["features"])
    assert len(expected["edges"]["features"]) == len(tables["edges"]["uv"]) > 100
    assert len(expected["nodes"]["features"]) == len(tables["nodes"]["id"]) > 40
    for name, array in arrays.items():
        assert np.array_equal(array, before[name]), name


def small_volume():
    """Three superpixels: two side by side in section 0, one in section 1."""
    superpixels = np.array([[[11, 11, 22, 22]] * 2, [[33] * 4] * 2], np.uint64)
    raw = np.where(superpixels == 11, 100, np.where(superpixels == 22, 900, 500))
    boundaries = np.where(superpixels == 22, 255, 51).astype(np.uint8)
    resources = Resources(VolumeInfo(superpixels.shape, FLAT_NM, "uint16"))
    arrays = {
        "raw": raw.astype(np.uint16),
        "boundaries": boundaries,
        "superpixels": superpixels,
    }
    result, tables = run(arrays, resources, superpixels.shape)
    return columns("edges", result, resources), columns("nodes", result, resources), tables


def test_appearance_of_a_small_volume_known_by_hand():
    edges, _, tables = small_volume()
    assert tables["edges"]["uv"].tolist() == [[0, 1], [0, 2], [1, 2]]
    half = 128 / 255  # 0.5 as uint8
    assert edges["raw/mean"] == pytest.approx([0.5, half / 2, (1 + half) / 2])
    assert edges["boundary/max"] == pytest.approx([0.6, 0.2, 0.6])
    assert edges["boundary/q50"] == pytest.approx([0.6, 0.2, 0.6])
    assert edges["raw/std"].tolist() == [0, 0, 0]


def test_regions_of_a_small_volume_known_by_hand():
    edges, nodes, _ = small_volume()
    assert nodes["raw/mean"] == pytest.approx([0, 1, 128 / 255])
    assert nodes["boundary/mean"] == pytest.approx([0.2, 1, 0.2])
    assert nodes["log_size"] == pytest.approx(np.log([4, 4, 8]))
    assert edges["regions/raw/mean/min"] == pytest.approx([0, 0, 128 / 255])
    assert edges["regions/raw/mean/max"] == pytest.approx([1, 128 / 255, 1])
    assert edges["regions/boundary/mean/difference"] == pytest.approx([0.8, 0, 0.8])


def test_contact_of_a_small_volume_known_by_hand():
    edges, _, _ = small_volume()
    assert edges["contact/log_length"] == pytest.approx(np.log([2, 4, 4]))
    assert edges["contact/across_sections"].tolist() == [0, 1, 1]
    assert edges["contact/overlap_of_smaller"].tolist() == [0, 1, 1]
    assert edges["contact/overlap_of_union"] == pytest.approx([0, 4 / 8, 4 / 8])
    assert edges["contact/length_to_smaller"] == pytest.approx([1, 2, 2])
    assert edges["contact/length_to_larger"] == pytest.approx([1, np.sqrt(2), np.sqrt(2)])
    assert edges["contact/degree_min"].tolist() == [2, 2, 2]
    assert edges["contact/centre_distance_z"].tolist() == [0, 40, 40]
    assert edges["contact/centre_distance_yx"] == pytest.approx([8, 4, 4])


def test_edge_samples_are_means_across_every_face():
    rng = np.random.default_rng(7)
    shape = (3, 5, 6)
    resources = Resources(VolumeInfo(shape, CUBIC_NM, "uint16"))
    arrays = volume_of(rng, shape, False)
    arrays["superpixels"] = rng.integers(0, 4, shape).astype(np.uint64)
    result, tables = run(arrays, resources, (2, 2, 3))
    found = columns("edges", result, resources)
    ids, labels = tables["nodes"]["id"], arrays["superpixels"]
    values = arrays["boundaries"].astype(float) / 255
    for row, (u, v) in enumerate(ids[tables["edges"]["uv"]]):
        samples = []
        for axis in range(3):
            a, b = (np.moveaxis(labels, axis, 0)[s] for s in (slice(None, -1), slice(1, None)))
            p, q = (np.moveaxis(values, axis, 0)[s] for s in (slice(None, -1), slice(1, None)))
            here = ((a == u) & (b == v)) | ((a == v) & (b == u))
            samples.append((p[here] + q[here]) / 2)
        slow = np.concatenate(samples)
        assert tables["edges"]["length_voxels"][row] == len(slow)
        assert found["boundary/mean"][row] == pytest.approx(slow.mean(), rel=1e-5)
        assert found["boundary/std"][row] == pytest.approx(slow.std(), rel=1e-4, abs=1e-6)
        assert found["boundary/min"][row] == pytest.approx(slow.min())


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])
def test_every_column_has_one_name_and_one_unit(voxel_size):
    resources = Resources(VolumeInfo((4, 8, 8), voxel_size, "uint16"))
    rng = np.random.default_rng(2)
    result, _ = run(volume_of(rng, (4, 8, 8), False), resources, (4, 8, 8))
    for table in ("edges", "nodes"):
        about = STAGE.attributes(CONFIG, resources)[f"{table}/features"]
        width = result[table]["features"].shape[1]
        assert len(set(about["names"])) == len(about["names"]) == len(about["units"]) == width
        assert result[table]["features"].dtype == np.float32


def test_a_constant_volume_has_finite_features():
    shape = (3, 6, 6)
    superpixels = np.ones(shape, np.uint64)
    superpixels[:, :, 3:] = 2
    arrays = {
        "raw": np.full(shape, 5, np.uint16),
        "boundaries": np.zeros(shape, np.uint8),
        "superpixels": superpixels,
    }
    resources = Resources(VolumeInfo(shape, CUBIC_NM, "uint16"))
    result, _ = run(arrays, resources, shape)
    assert np.isfinite(result["edges"]["features"]).all()
    assert np.isfinite(result["nodes"]["features"]).all()


@pytest.mark.parametrize("value", [0, 4])
def test_a_volume_without_edges_gives_empty_features(value):
    shape = (2, 5, 5)
    arrays = {
        "raw": np.full(shape, 500, np.uint16),
        "boundaries": np.zeros(shape, np.uint8),
        "superpixels": np.full(shape, value, np.uint64),
    }
    resources = Resources(VolumeInfo(shape, FLAT_NM, "uint16"))
    result, _ = run(arrays, resources, (1, 3, 3))
    names = STAGE.attributes(CONFIG, resources)["edges/features"]["names"]
    assert result["edges"]["features"].shape == (0, len(names))
    assert len(result["nodes"]["features"]) == (value > 0)


def test_halo_is_the_largest_filter_and_one_face():
    config = FeaturesConfig(sigmas_voxels=(1.0, 2.0))
    flat = STAGE.halo(config, Resources(VolumeInfo((9, 9, 9), FLAT_NM, "uint8")))
    assert flat.below == (0, 7, 7)
    assert flat.above == (1, 8, 8)
    cubic = STAGE.halo(config, Resources(VolumeInfo((9, 9, 9), CUBIC_NM, "uint8")))
    assert cubic.below == (7, 7, 7)

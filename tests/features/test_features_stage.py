"""Features of edges and nodes: known by hand, and of blocks against the whole."""

from __future__ import annotations

import numpy as np
import pytest
from defective_sections import corrected, slow_steps
from feature_steps import (
    CONFIG,
    CUBIC_NM,
    FLAT_NM,
    columns,
    finished,
    graph_of,
    parts_of,
    run,
    small_tasks,
    volume_of,
)
from pydantic import ValidationError

from pipeline import held
from pipeline.contract import KEY, Resources, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.errors import ConfigError
from pipeline.features import STAGE
from pipeline.features.config import FAMILIES, FeaturesConfig
from pipeline.held import HeldRows


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])
def test_blocks_in_any_order_and_small_tasks_give_the_features_of_the_whole(voxel_size):
    rng = np.random.default_rng(0)
    shape = (13, 26, 23)
    resources = Resources(VolumeInfo(shape, voxel_size, "uint16"))
    arrays = volume_of(rng, shape, voxel_size == FLAT_NM)
    before = {name: array.copy() for name, array in arrays.items()}
    expected, tables = run(arrays, resources, shape)
    for block_shape in ((5, 9, 10), (1, 26, 7), (13, 4, 23)):
        with small_tasks(rows=64, rows_at_once=25, half_edges=100):
            found, _ = run(arrays, resources, block_shape, rng)
        for table in ("edges", "nodes"):
            assert np.isfinite(expected[table]["features"]).all()
            assert np.array_equal(found[table]["features"], expected[table]["features"])
    assert len(expected["edges"]["features"]) == len(tables["edges"]["uv"]) > 100
    assert len(expected["nodes"]["features"]) == len(tables["nodes"]["id"]) > 40
    for name, array in arrays.items():
        assert np.array_equal(array, before[name]), name


DEFECTS = {
    "gap on a border of blocks": {"bad": [5]},
    "double gap and bad ends": {"bad": [0, 6, 7, 12]},
    "slips": {"slips": {4: (3, -2), 5: (-4, 6)}},
    "slip in a gap": {"bad": [4, 5], "slips": {4: (3, 0), 5: (0, -9)}},
}


@pytest.mark.parametrize("defects", DEFECTS.values(), ids=DEFECTS)
@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])
def test_blocks_give_the_features_of_the_whole_where_sections_have_defects(voxel_size, defects):
    rng, shape = np.random.default_rng(1), (13, 22, 21)
    corrections = corrected(13, **defects, low=100, high=900)
    resources = Resources(VolumeInfo(shape, voxel_size, "uint16"), corrections=corrections)
    arrays = volume_of(rng, shape, voxel_size == FLAT_NM)
    expected, tables = run(arrays, resources, shape)
    for block_shape in ((5, 9, 10), (1, 22, 7)):
        found, _ = run(arrays, resources, block_shape, rng)
        for table in ("edges", "nodes"):
            assert np.array_equal(found[table]["features"], expected[table]["features"])
    assert len(tables["edges"]["uv"]) > 100


def test_grey_values_of_a_bridged_section_are_those_of_its_source_and_the_map_is_its_own():
    rng, shape = np.random.default_rng(1), (6, 14, 15)
    arrays = volume_of(rng, shape, True)
    bridged = {**arrays, "raw": arrays["raw"].copy()}
    bridged["raw"][3] = bridged["raw"][2]
    black = {**arrays, "raw": arrays["raw"].copy()}
    black["raw"][3] = 0
    for voxel_size in (FLAT_NM, CUBIC_NM):
        corrections = corrected(6, bad=[3], low=100, high=900)
        resources = Resources(VolumeInfo(shape, voxel_size, "uint16"), corrections=corrections)
        found, tables = run(black, resources, shape)
        same, _ = run(bridged, resources, shape)
        for table in ("edges", "nodes"):
            assert np.array_equal(found[table]["features"], same[table]["features"])
        nodes, name = columns("nodes", found, resources), "boundary/mean"
        for row, node in enumerate(tables["nodes"]["id"]):
            mean = arrays["boundaries"][arrays["superpixels"] == node].mean() / 255
            assert nodes[name][row] == pytest.approx(mean, rel=1e-5)


def test_every_section_is_seen_in_its_own_range():
    shape = (4, 14, 15)
    arrays = volume_of(np.random.default_rng(1), shape, True)
    drifting = {
        **arrays,
        "raw": arrays["raw"] + (100 * np.arange(4, dtype=np.uint16))[:, None, None],
    }
    low = 100.0 + 100 * np.arange(4)
    none = corrected(4)
    drift = Corrections(low, low + 800, none.source, none.place)
    volume = VolumeInfo(shape, FLAT_NM, "uint16")
    expected, _ = run(arrays, Resources(volume), shape)
    found, _ = run(drifting, Resources(volume, corrections=drift), shape)
    for table in ("edges", "nodes"):
        assert np.array_equal(found[table]["features"], expected[table]["features"])


def test_a_task_reads_ranges_of_tables_and_of_what_blocks_kept(monkeypatch):
    rows, shape = 32, (13, 26, 23)

    class Ranged(HeldRows):
        def read(self, column, begin, end):
            longest = min(end, self.count) - begin
            assert column == KEY or longest <= 2 * rows, column
            return super().read(column, begin, end)

    resources = Resources(VolumeInfo(shape, FLAT_NM, "uint16"))
    arrays = volume_of(np.random.default_rng(0), shape, True)
    graph = graph_of(arrays["superpixels"], resources)
    parts = parts_of(arrays, resources, (13, 26, 12))
    assert len(graph["edges"]["uv"]) > 6 * rows < len(parts[0]["edges"]["key"])
    monkeypatch.setattr(held, "HeldRows", Ranged)
    with small_tasks(rows, rows_at_once=rows, half_edges=rows):
        tables = finished(STAGE, graph, parts, CONFIG, resources)
    assert len(tables["edges"]["features"]) == len(graph["edges"]["uv"])


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


def test_shape_of_a_small_volume_known_by_hand():
    edges, _, _ = small_volume()
    assert edges["shape/log_length"] == pytest.approx(np.log([2, 4, 4]))
    assert edges["shape/log_extent"] == pytest.approx(np.log([8, 8, 8]))
    assert edges["shape/length_to_smaller"] == pytest.approx([1, 2, 2])
    assert edges["shape/length_to_larger"] == pytest.approx([1, np.sqrt(2), np.sqrt(2)])
    assert edges["shape/size_ratio"] == pytest.approx([1, 0.5, 0.5])
    assert edges["shape/surface_share_min"] == pytest.approx([1, 0.5, 0.5])
    assert edges["shape/surface_share_max"] == pytest.approx([1, 1, 1])
    assert edges["shape/longest_share_min"] == pytest.approx([1, 1, 1])
    assert edges["shape/to_centre_min"] == pytest.approx([4, 20, 20])
    assert edges["shape/to_centre_max"] == pytest.approx([4, np.hypot(20, 4), np.hypot(20, 4)])
    assert edges["shape/cosine"] == pytest.approx([-1, *[-20 / np.hypot(20, 4)] * 2])
    assert edges["shape/centre_distance_z"].tolist() == [0, 40, 40]
    assert edges["shape/centre_distance_yx"] == pytest.approx([8, 4, 4])


def test_topology_of_a_small_volume_known_by_hand():
    edges, _, _ = small_volume()
    assert edges["topology/across_sections"].tolist() == [0, 1, 1]
    assert edges["topology/overlap_of_smaller"].tolist() == [0, 1, 1]
    assert edges["topology/overlap_of_union"] == pytest.approx([0, 4 / 8, 4 / 8])
    assert edges["topology/degree_min"].tolist() == [2, 2, 2]
    assert edges["topology/common_neighbours"].tolist() == [1, 1, 1]
    assert edges["topology/common_share"].tolist() == [1, 1, 1]


def test_moments_of_superpixels_known_by_hand():
    _, nodes, _ = small_volume()
    # bodies of 2 x 2, 2 x 2 and 2 x 4 voxels of 4 nm: a side of s has a variance of s^2 / 12
    assert nodes["log_radius_major"] == pytest.approx(np.log([8, 8, 16]) - np.log(12) / 2)
    assert nodes["log_radius_minor"] == pytest.approx(np.log([8, 8, 8]) - np.log(12) / 2)
    assert nodes["elongation"] == pytest.approx([0, 0, 0.5], abs=1e-6)


def test_region_columns_are_combined_four_ways():
    edges, nodes, tables = small_volume()
    u, v = (nodes["log_size"][i] for i in tables["edges"]["uv"].T)
    assert edges["regions/log_size/min"] == pytest.approx(np.minimum(u, v))
    assert edges["regions/log_size/max"] == pytest.approx(np.maximum(u, v))
    assert edges["regions/log_size/sum"] == pytest.approx(u + v)
    assert edges["regions/log_size/difference"] == pytest.approx(abs(u - v))


def features_of(superpixels, voxel_size, config=CONFIG):
    """Columns of edges of superpixels in a noisy volume."""
    rng = np.random.default_rng(4)
    superpixels = superpixels.astype(np.uint64)
    arrays = {
        "raw": rng.integers(0, 1024, superpixels.shape, dtype=np.uint16),
        "boundaries": rng.integers(0, 256, superpixels.shape, dtype=np.uint8),
        "superpixels": superpixels,
    }
    resources = Resources(VolumeInfo(superpixels.shape, voxel_size, "uint16"))
    result, tables = run(arrays, resources, superpixels.shape, config=config)
    return columns("edges", result, resources, config), tables


def two_sides(inside):
    """Superpixel 2 where ``inside`` (Y, X), else 1."""
    return np.where(inside, 2, 1)[None]


def test_a_straight_contact_is_told_from_one_with_a_right_angle():
    y, x = np.mgrid[:24, :24]
    straight, _ = features_of(two_sides(y >= 12), FLAT_NM)
    right, _ = features_of(two_sides((y >= 12) & (x >= 12)), FLAT_NM)
    assert straight["shape/minor_to_major"] == [0]
    assert straight["shape/extent_to_length"] == pytest.approx(1)
    assert straight["shape/log_extent"] == pytest.approx(np.log(24 * 4))
    assert straight["shape/fill"] == pytest.approx(1)
    # two legs of 12 faces: along the diagonal the variance is four times that across it
    legs = np.array([*((11.5, 12 + i) for i in range(12)), *((12 + i, 11.5) for i in range(12))])
    minor, major = np.linalg.eigvalsh(np.cov(legs.T, ddof=0))
    assert right["shape/minor_to_major"] == pytest.approx(np.sqrt(minor / (major + 1 / 12)))
    assert 0.4 < right["shape/minor_to_major"][0] < 0.6
    assert right["shape/extent_to_length"] == pytest.approx(np.sqrt(12 * major + 1) / 24)
    assert right["shape/fill"][0] < 0.5


def test_a_straight_contact_is_straight_at_any_angle():
    y, x = np.mgrid[:40, :40]
    for slope in (0.3, 1.0, 2.5):
        oblique, _ = features_of(two_sides(y >= slope * x + 3), FLAT_NM)
        assert oblique["shape/minor_to_major"][0] < 0.05
        assert 0.7 < oblique["shape/extent_to_length"][0] < 1


def test_a_plane_is_told_from_a_fold_in_3d():
    z, y, _ = np.mgrid[:10, :12, :12]
    plane, _ = features_of(np.where(z >= 5, 2, 1), CUBIC_NM)
    fold, _ = features_of(np.where((z >= 5) & (y >= 6), 2, 1), CUBIC_NM)
    assert plane["shape/minor_to_major"] == [0]
    assert plane["shape/middle_to_major"] == pytest.approx(np.sqrt(143 / 144))
    assert plane["shape/fill"] == pytest.approx(1)
    assert plane["shape/extent_to_length"] == pytest.approx(1)
    assert plane["shape/across_share"] == [1]
    assert fold["shape/minor_to_major"][0] > 0.2
    assert fold["shape/across_share"] == pytest.approx(6 / 11)


def test_physical_lengths_follow_the_voxel_size():
    y = np.mgrid[:12, :20][0]
    fine, _ = features_of(two_sides(y >= 6), (40.0, 4.0, 4.0))
    coarse, _ = features_of(two_sides(y >= 6), (80.0, 8.0, 8.0))
    for name in ("shape/log_extent", "regions/log_radius_major/min"):
        assert coarse[name] - fine[name] == pytest.approx(np.log(2), rel=1e-5)
    for name in ("shape/to_centre_max", "shape/centre_distance_yx"):
        assert coarse[name] == pytest.approx(2 * fine[name])
    for name in ("shape/fill", "shape/extent_to_length", "shape/to_centre_in_radii_max"):
        assert coarse[name] == pytest.approx(fine[name], rel=1e-5)


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])
@pytest.mark.parametrize("density", [0.4, 1.0])
def test_single_voxels_one_face_contacts_and_masked_neighbours_have_finite_features(
    voxel_size, density
):
    rng = np.random.default_rng(3)
    ids = np.arange(1, 4 * 7 * 6 + 1).reshape(4, 7, 6)
    found, tables = features_of(np.where(rng.random(ids.shape) < density, ids, 0), voxel_size)
    assert len(tables["edges"]["uv"]) > 10
    assert (tables["edges"]["length_voxels"] == 1).all()
    for name, column in found.items():
        assert np.isfinite(column).all(), name


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_left_out_takes_its_columns_and_no_others(voxel_size, family):
    arrays = volume_of(np.random.default_rng(1), (5, 14, 13), voxel_size == FLAT_NM)
    resources = Resources(VolumeInfo((5, 14, 13), voxel_size, "uint16"))
    rest = tuple(f for f in FAMILIES if f != family)
    without = FeaturesConfig(sigmas_voxels=(0.8,), families=rest)
    alone = FeaturesConfig(sigmas_voxels=(0.8,), families=(family,))
    full = FeaturesConfig(sigmas_voxels=(0.8,))
    found = {}
    for name, config in (("full", full), ("without", without), ("alone", alone)):
        result, _ = run(arrays, resources, (5, 14, 13), config=config)
        found[name] = columns("edges", result, resources, config)
        found[name, "nodes"] = columns("nodes", result, resources, config)
    own = {n for n in found["full"] if n.split("/")[0].split("_")[0] == family}
    assert own
    assert list(found["without"]) == [n for n in found["full"] if n not in own]
    assert list(found["alone"]) == [n for n in found["full"] if n in own]
    for name in ("without", "alone"):
        for column, values in found[name].items():
            assert np.array_equal(values, found["full"][column]), column
        for column, values in found[name, "nodes"].items():
            assert np.array_equal(values, found["full", "nodes"][column]), column


def test_a_family_named_twice_and_an_unknown_one_are_refused():
    with pytest.raises(ValidationError, match="named more than once: shape"):
        FeaturesConfig(families=("shape", "raw", "shape"))
    with pytest.raises(ValidationError, match="families"):
        FeaturesConfig(families=("contact",))
    with pytest.raises(ConfigError, match="must be resolved"):
        assert FeaturesConfig().flat


def test_the_order_of_the_families_does_not_matter():
    resources = Resources(VolumeInfo((4, 8, 8), FLAT_NM, "uint16"))
    some, same = (
        FeaturesConfig(families=("shape", "raw")),
        FeaturesConfig(families=("raw", "shape")),
    )
    assert STAGE.attributes(some, resources) == STAGE.attributes(same, resources)


@pytest.mark.parametrize("defects", [{}, {"bad": [1]}, {"slips": {1: (2, -1), 2: (0, 3)}}])
def test_edge_samples_are_means_across_every_face(defects):
    rng = np.random.default_rng(7)
    shape = (3, 5, 6)
    corrections = corrected(3, **defects)
    resources = Resources(VolumeInfo(shape, CUBIC_NM, "uint16"), corrections=corrections)
    arrays = volume_of(rng, shape, False)
    arrays["superpixels"] = rng.integers(0, 4, shape).astype(np.uint64)
    result, tables = run(arrays, resources, (2, 2, 3))
    found = columns("edges", result, resources)
    ids, labels = tables["nodes"]["id"], arrays["superpixels"]
    values = arrays["boundaries"].astype(float) / 255
    steps = slow_steps(corrections)
    steps += [(z, step) for z in range(3) for step in ((0, 1, 0), (0, 0, 1))]
    for row, (u, v) in enumerate(ids[tables["edges"]["uv"]]):
        slow = []
        for z, (dz, dy, dx) in steps:
            for y, x in np.ndindex(shape[1:]):
                upper = z + dz, y + dy, x + dx
                inside = 0 <= upper[1] < shape[1] and 0 <= upper[2] < shape[2]
                if inside and {labels[z, y, x], labels[upper]} == {u, v}:
                    slow.append((values[z, y, x] + values[upper]) / 2)
        slow = np.array(slow)
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
    # 3 sigma, the voxel beside it, and twice the structure tensor's 1.5 sigma
    assert flat.below == (0, 13, 13)
    assert flat.above == (1, 14, 14)
    cubic = STAGE.halo(config, Resources(VolumeInfo((9, 9, 9), CUBIC_NM, "uint8")))
    assert cubic.below == (13, 13, 13)


def test_the_halo_grows_where_sections_are_bridged_and_where_the_stack_slips():
    config = FeaturesConfig(sigmas_voxels=(1.0, 2.0))
    volume = VolumeInfo((9, 9, 9), FLAT_NM, "uint8")
    bad = corrected(9, bad=[3, 4], slips={6: (-5, 7)})
    halo = STAGE.halo(config, Resources(volume, corrections=bad))
    assert halo.below == (1, 13 + 5, 13)
    assert halo.above == (3 + 1, 14, 13 + 7)


def test_without_appearance_nothing_but_the_faces_needs_a_halo():
    config = FeaturesConfig(families=("regions", "shape", "topology"))
    halo = STAGE.halo(config, Resources(VolumeInfo((9, 9, 9), CUBIC_NM, "uint8")))
    assert (halo.below, halo.above) == ((0, 0, 0), (1, 1, 1))

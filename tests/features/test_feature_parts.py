"""Parts of blocks: threads and chosen families do not change what is measured."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contract import Resources, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.features.channels import channel_names
from pipeline.features.config import FeaturesConfig
from pipeline.features.parts import measured_parts
from pipeline.grid import whole

SHAPE = (4, 20, 30)
FLAT_NM, CUBIC_NM = (40.0, 4.0, 4.0), (8.0, 8.0, 8.0)


def measured(voxel_size, threads=1, **parameters):
    rng = np.random.default_rng(0)
    superpixels = np.kron(rng.integers(0, 9, (4, 4, 5)), np.ones((1, 5, 6), int))
    inputs = {
        "raw": rng.integers(0, 1000, SHAPE, dtype=np.uint16),
        "boundaries": rng.integers(0, 256, SHAPE, dtype=np.uint8),
        "superpixels": superpixels.astype(np.uint64),
    }
    config = FeaturesConfig(sigmas_voxels=(0.8, 1.2), **parameters)
    volume, corrections = VolumeInfo(SHAPE, voxel_size, "uint16"), Corrections.none(4, 100, 900)
    resources = Resources(volume, {}, threads, corrections)
    names = channel_names(config.resolved(resources.volume))
    return measured_parts(whole(SHAPE), inputs, config, resources), names


@pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])
@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_change_the_parts(voxel_size, threads):
    one, _ = measured(voxel_size)
    several, _ = measured(voxel_size, threads)
    for table, columns in one.items():
        for name, column in columns.items():
            assert np.array_equal(several[table][name], column), (table, name)


@pytest.mark.parametrize("source", ["raw", "boundary"])
def test_one_family_alone_is_measured_as_among_all(source):
    everything, names = measured(FLAT_NM)
    alone, some = measured(FLAT_NM, families=(source,))
    places = [names.index(name) for name in some]
    assert some
    for column in ("sums", "low", "high", "histogram"):
        expected = everything["edges"][column][:, places]
        assert np.array_equal(alone["edges"][column], expected)
    for name, column in everything["nodes"].items():
        assert np.array_equal(alone["nodes"][name], column), name


def test_without_appearance_edges_keep_their_number_of_samples():
    everything, _ = measured(CUBIC_NM)
    none, names = measured(CUBIC_NM, families=("regions",))
    assert names == []
    assert np.array_equal(none["edges"]["count"], everything["edges"]["count"])
    assert none["edges"]["sums"].shape == (len(none["edges"]["key"]), 0, 4)


def test_samples_are_counted_once_in_every_channel():
    part, _ = measured(FLAT_NM)
    for table in ("edges", "nodes"):
        counts = part[table]["histogram"].sum(2, dtype=np.int64)
        assert (counts == part[table]["count"].astype(np.int64)[:, None]).all()
        assert 0 not in part[table]["key"]


def test_every_block_keeps_the_same_columns_and_dtypes_whatever_it_holds():
    volume = VolumeInfo((2, 300, 300), FLAT_NM, "uint8")
    flat = Resources(volume, corrections=Corrections.none(2, 0, 9))
    config = FeaturesConfig(sigmas_voxels=(0.8,), families=("raw",))
    kept = []
    for superpixels in (np.zeros, np.ones):  # all masked; one with more voxels than uint16 holds
        inputs = {
            "raw": np.ones(flat.volume.shape, np.uint8),
            "boundaries": np.ones(flat.volume.shape, np.uint8),
            "superpixels": superpixels(flat.volume.shape, np.uint64),
        }
        part = measured_parts(whole(flat.volume.shape), inputs, config, flat)
        kept.append(
            {(t, n): (c.dtype, c.shape[1:]) for t, table in part.items() for n, c in table.items()}
        )
    assert kept[0] == kept[1]
    assert part["nodes"]["key"].tolist() == [1, 1, 1]
    assert part["nodes"]["histogram"].sum(0, dtype=np.int64).max(1).tolist() == [180_000] * 2

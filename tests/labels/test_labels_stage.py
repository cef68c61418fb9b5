"""Superpixels painted with their neurons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline import tables
from pipeline.contract import ROWS, Halo, Resources, VolumeInfo
from pipeline.errors import OutputError
from pipeline.grid import blocks, whole
from pipeline.held import HeldInputs, held
from pipeline.labels import STAGE, stage
from pipeline.labels.stage import LabelsConfig, neurons_of_superpixels, paint

IDS = np.array([3, 2**40, 2**63 + 5], np.uint64)
NEURON = np.array([2, 1, 2], np.uint64)


def painted(superpixels, ids=IDS, neuron=NEURON):
    nodes = held({"id": ids, "neuron": neuron})
    return paint(superpixels, lambda found: neurons_of_superpixels(nodes, found))


def run(superpixels, nodes, min_size_voxels, block_shape=None):
    """The steps before the blocks, then all blocks."""
    config = LabelsConfig(min_size_voxels=min_size_voxels)
    shape = superpixels.shape
    resources = Resources(VolumeInfo(shape, (1.0, 1.0, 1.0), "uint8"))
    kept = {}
    for step in STAGE.before:
        inputs = HeldInputs({"nodes": nodes}, kept)
        tasks = range(step.tasks(inputs, config, resources))
        kept[step.name] = [step.compute(task, inputs, config, resources) for task in tasks]
    result = np.full(shape, 99, np.uint64)
    halo = Halo.symmetric(1, 1, 1)
    for block in blocks(shape, block_shape, halo) if block_shape else [whole(shape)]:
        known = {"superpixels": superpixels[block.read.slices], "nodes": nodes}
        outputs = STAGE.compute(block, HeldInputs(known, kept), config, resources)
        result[block.write.slices] = outputs["neurons"]
    return result


def large_enough(neuron, size_voxels, min_size_voxels):
    """Slow reference: neurons of at least a size, numbered consecutively in their old order."""
    total = {}
    for name, size in zip(neuron.tolist(), size_voxels.tolist(), strict=True):
        total[name] = total.get(name, 0) + size
    stay = sorted(name for name in total if name and total[name] >= min_size_voxels)
    number = {name: place for place, name in enumerate(stay, 1)}
    return np.array([number.get(name, 0) for name in neuron.tolist()], np.uint64)


def test_every_id_becomes_its_neuron_and_0_stays_0():
    superpixels = np.array([[[0, 3, 3], [2**40, 2**63 + 5, 0]]], np.uint64)
    neurons = painted(superpixels)
    assert neurons.dtype == np.uint64
    assert neurons.tolist() == [[[0, 2, 2], [1, 2, 0]]]


@given(arrays(np.int8, st.tuples(*[st.integers(0, 4)] * 3), elements=st.integers(0, 3)))
def test_painting_equals_a_dictionary(index):
    superpixels = np.append(np.zeros(1, np.uint64), IDS)[index.astype(int)]
    lookup = {0: 0} | dict(zip(IDS.tolist(), NEURON.tolist(), strict=True))
    expected = [lookup[value] for value in superpixels.ravel().tolist()]
    assert painted(superpixels).ravel().tolist() == expected
    assert painted(superpixels).shape == superpixels.shape


@pytest.mark.parametrize("stray", [1, 4, 2**64 - 1])
@pytest.mark.parametrize("min_size_voxels", [0, 2])
def test_a_superpixel_without_node_is_named(stray, min_size_voxels):
    nodes = {"id": IDS, "neuron": NEURON, "size_voxels": np.ones(3, np.uint64)}
    with pytest.raises(OutputError, match=f"superpixel {stray} .* 3 nodes"):
        run(np.array([[[3, stray]]], np.uint64), nodes, min_size_voxels)


@pytest.mark.parametrize("min_size_voxels", [0, 5])
def test_a_volume_of_background_needs_no_nodes(min_size_voxels):
    none = np.zeros(0, np.uint64)
    nodes = {"id": none, "neuron": none, "size_voxels": none}
    assert not run(np.zeros((2, 3, 4), np.uint64), nodes, min_size_voxels).any()


def test_small_neurons_are_dropped_by_their_size_in_the_whole_volume():
    ids = np.array([1, 2, 3, 4, 5, 6], np.uint64)
    neuron = np.array([1, 2, 1, 3, 2, 0], np.uint64)
    size = np.array([5, 4, 5, 9, 4, 100], np.uint64)  # neurons of 10, 8 and 9 voxels
    nodes = {"id": ids, "neuron": neuron, "size_voxels": size}
    superpixels = ids.reshape(1, 2, 3)
    expected = {
        0: [1, 2, 1, 3, 2, 0],
        1: [1, 2, 1, 3, 2, 0],
        9: [1, 0, 1, 2, 0, 0],
        10: [1, 0, 1, 0, 0, 0],
        11: [0, 0, 0, 0, 0, 0],
    }
    for minimum, neurons in expected.items():
        assert run(superpixels, nodes, minimum).ravel().tolist() == neurons, minimum


def test_without_a_smallest_size_nothing_runs_before_the_blocks():
    inputs = HeldInputs({"nodes": {"id": IDS, "neuron": NEURON}}, {"sizes": []})
    resources = Resources(VolumeInfo((4, 9, 7), (1.0, 1.0, 1.0), "uint8"))
    assert [s.tasks(inputs, LabelsConfig(), resources) for s in STAGE.before] == [0, 0]


@pytest.mark.parametrize("rows", [1, 3, 7, ROWS])
@pytest.mark.parametrize("minimum", [1, 20, 60, 100_000])
def test_ranges_of_nodes_and_neurons_give_the_slow_reference(monkeypatch, rows, minimum):
    monkeypatch.setattr(tables, "ROWS", rows)
    monkeypatch.setattr(stage, "ROWS", rows)
    monkeypatch.setattr("pipeline.contract.ROWS", rows)
    rng = np.random.default_rng(0)
    ids = np.sort(rng.choice(2**50, 40, replace=False)).astype(np.uint64) + np.uint64(1)
    neuron = np.concatenate([np.arange(15), rng.integers(0, 15, 25)]).astype(np.uint64)
    size = rng.integers(1, 30, 40).astype(np.uint64)
    superpixels = np.append(ids, np.uint64(0))[rng.integers(0, 41, (4, 9, 7))]
    found = run(superpixels, {"id": ids, "neuron": neuron, "size_voxels": size}, minimum)
    lookup = dict(zip(ids.tolist(), large_enough(neuron, size, minimum).tolist(), strict=True))
    lookup[0] = 0
    assert found.ravel().tolist() == [lookup[one] for one in superpixels.ravel().tolist()]


def test_blocks_give_what_the_whole_volume_gives():
    rng = np.random.default_rng(0)
    superpixels = np.append(np.zeros(1, np.uint64), IDS)[rng.integers(0, 4, (4, 9, 7))]
    sizes = np.array([(superpixels == i).sum() for i in IDS], np.uint64)
    nodes = {"id": IDS, "neuron": NEURON, "size_voxels": sizes}
    minimum = int(sizes[1]) + 1
    expected = run(superpixels, nodes, minimum)
    assert set(np.unique(expected)) == {0, 1}
    assert ((expected == 0) == np.isin(superpixels, [0, IDS[1]])).all()
    np.testing.assert_array_equal(run(superpixels, nodes, minimum, (2, 4, 4)), expected)

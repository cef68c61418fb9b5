"""Superpixels painted with their neurons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.contract import Halo, Resources, VolumeInfo
from pipeline.errors import OutputError
from pipeline.grid import blocks, whole
from pipeline.labels import STAGE
from pipeline.labels.stage import LabelsConfig, drop_small, paint

IDS = np.array([3, 2**40, 2**63 + 5], np.uint64)
NEURON = np.array([2, 1, 2], np.uint64)


def test_every_id_becomes_its_neuron_and_0_stays_0():
    superpixels = np.array([[[0, 3, 3], [2**40, 2**63 + 5, 0]]], np.uint64)
    neurons = paint(superpixels, IDS, NEURON)
    assert neurons.dtype == np.uint64
    assert neurons.tolist() == [[[0, 2, 2], [1, 2, 0]]]


@given(arrays(np.int8, st.tuples(*[st.integers(0, 4)] * 3), elements=st.integers(0, 3)))
def test_painting_equals_a_dictionary(index):
    superpixels = np.append(np.zeros(1, np.uint64), IDS)[index.astype(int)]
    lookup = {0: 0} | dict(zip(IDS.tolist(), NEURON.tolist(), strict=True))
    expected = [lookup[value] for value in superpixels.ravel().tolist()]
    assert paint(superpixels, IDS, NEURON).ravel().tolist() == expected
    assert paint(superpixels, IDS, NEURON).shape == superpixels.shape


@pytest.mark.parametrize("stray", [1, 4, 2**64 - 1])
def test_a_superpixel_without_node_is_named(stray):
    with pytest.raises(OutputError, match=f"superpixel {stray} .* 3 nodes"):
        paint(np.array([[[3, stray]]], np.uint64), IDS, NEURON)


def test_a_volume_of_background_needs_no_nodes():
    none = np.zeros(0, np.uint64)
    assert not paint(np.zeros((2, 3, 4), np.uint64), none, none).any()


def test_small_neurons_are_dropped_by_their_size_in_the_whole_volume():
    neuron = np.array([1, 2, 1, 3, 2], np.uint64)
    size = np.array([5, 4, 5, 9, 4], np.uint64)  # neurons of 10, 8 and 9 voxels
    assert drop_small(neuron, size, 0).tolist() == [1, 2, 1, 3, 2]
    assert drop_small(neuron, size, 9).tolist() == [1, 0, 1, 2, 0]
    assert drop_small(neuron, size, 10).tolist() == [1, 0, 1, 0, 0]
    assert drop_small(neuron, size, 11).tolist() == [0, 0, 0, 0, 0]


def test_background_nodes_stay_background_and_take_no_number():
    neuron = np.array([0, 4, 2], np.uint64)
    assert drop_small(neuron, np.array([100, 1, 1], np.uint64), 0).tolist() == [0, 2, 1]


def test_blocks_give_what_the_whole_volume_gives():
    rng = np.random.default_rng(0)
    superpixels = np.append(np.zeros(1, np.uint64), IDS)[rng.integers(0, 4, (4, 9, 7))]
    sizes = np.array([(superpixels == i).sum() for i in IDS], np.uint64)
    nodes = {"id": IDS, "neuron": NEURON, "size_voxels": sizes}
    config = LabelsConfig(min_size_voxels=int(sizes[1]) + 1)
    resources = Resources(VolumeInfo((4, 9, 7), (1.0, 1.0, 1.0), "uint8"))

    def run(block):
        inputs = {"superpixels": superpixels[block.read.slices], "nodes": nodes}
        return STAGE.compute(block, inputs, config, resources)["neurons"]

    expected = run(whole((4, 9, 7)))
    assert set(np.unique(expected)) == {0, 1}
    assert ((expected == 0) == np.isin(superpixels, [0, IDS[1]])).all()
    for block in blocks((4, 9, 7), (2, 4, 4), Halo.symmetric(1, 1, 1)):
        np.testing.assert_array_equal(run(block), expected[block.write.slices])

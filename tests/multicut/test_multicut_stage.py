"""The multicut stage: tables in, neurons out."""

import numpy as np
import pytest

from pipeline.contract import Resources, VolumeInfo
from pipeline.errors import InputError
from pipeline.grid import whole
from pipeline.multicut import STAGE
from pipeline.multicut.stage import MulticutConfig

VOLUME = VolumeInfo((4, 9, 9), (50.0, 4.0, 4.0), "uint8")
EVEN = MulticutConfig(beta=0.5, lifted_weight=0.5)


def run(p_cut, lifted_p_cut=None, config=None, length=300):
    """A chain of superpixels across sections, with one lifted edge from end to end."""
    n = len(p_cut) + 1
    lifted = lifted_p_cut is not None
    inputs = {
        "nodes": {"id": np.arange(10, 10 + n, dtype=np.uint64)},
        "edges": {
            "uv": np.stack([np.arange(n - 1), np.arange(1, n)], axis=1).astype(np.uint64),
            "p_cut": np.array(p_cut, np.float32),
            "across_sections": np.ones(n - 1, bool),
            "length_voxels": np.full(n - 1, length, np.uint64),
        },
        "lifted": {
            "uv": np.array([[0, n - 1]][: int(lifted)], np.uint64).reshape(-1, 2),
            "p_cut": np.array([lifted_p_cut][: int(lifted)], np.float32),
        },
    }
    return STAGE.compute(
        whole(VOLUME.shape), inputs, config or MulticutConfig(), Resources(VOLUME)
    )["nodes"]


def test_neurons_are_numbered_from_1_by_their_first_superpixel():
    nodes = run([0.1, 0.9, 0.1])
    assert nodes["neuron"].dtype == np.uint64
    assert nodes["neuron"].tolist() == [1, 1, 2, 2]
    assert nodes["multicut"].tolist() == [1, 1, 2, 2]


def test_a_lifted_edge_changes_neurons_but_not_the_plain_multicut():
    nodes = run([0.1, 0.45, 0.1], 0.99, EVEN)
    assert nodes["neuron"].tolist() == [1, 1, 2, 2]
    assert nodes["multicut"].tolist() == [1, 1, 1, 1]


def test_lifted_weight_0_is_the_plain_multicut():
    nodes = run([0.1, 0.45, 0.1], 0.99, MulticutConfig(beta=0.5, lifted_weight=0))
    assert nodes["neuron"].tolist() == [1, 1, 1, 1]


def test_a_higher_prior_of_cuts_splits_more():
    assert run([0.4, 0.1], config=MulticutConfig(beta=0.5))["neuron"].tolist() == [1, 1, 1]
    assert run([0.4, 0.1], config=MulticutConfig(beta=0.7))["neuron"].tolist() == [1, 2, 2]


def test_long_contacts_across_flat_sections_outweigh_lifted_edges():
    assert run([0.1, 0.45, 0.1], 0.99, EVEN, length=30_000)["neuron"].tolist() == [1, 1, 1, 1]


def test_a_volume_of_one_superpixel_is_one_neuron():
    assert run([])["neuron"].tolist() == [1]


def test_a_missing_probability_is_named():
    with pytest.raises(InputError, match=r"P\(cut\) of edge 1 is nan"):
        run([0.1, np.nan])

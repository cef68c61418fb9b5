"""Probabilities to costs."""

import numpy as np
import pytest

from pipeline.contract import VolumeInfo
from pipeline.errors import ConfigError, InputError
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.costs import edge_costs, lifted_costs, lifted_scale, signed_costs

LOG3 = np.log(3)
EDGES = {
    "p_cut": np.array([0.25, 0.25, 0.75, 0.75], np.float32),
    "across_sections": np.array([False, True, True, False]),
    "length_voxels": np.array([60, 150, 10**9, 15], np.uint64),
}


def test_low_probability_attracts_and_a_half_is_neutral():
    costs = signed_costs(np.float32([0.25, 0.5, 0.75]), 0.5, "edge")
    np.testing.assert_allclose(costs, [LOG3, 0, -LOG3], atol=1e-12)


def test_a_higher_prior_of_cuts_repels():
    np.testing.assert_allclose(signed_costs(np.float32([0.5]), 0.75, "edge"), [-LOG3])


def test_certainty_is_finite_and_symmetric():
    costs = signed_costs(np.float32([0, 1]), 0.5, "edge")
    np.testing.assert_allclose(costs, [np.log(999), -np.log(999)])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.01, 1.01])
def test_a_value_that_is_no_probability_is_named(bad):
    with pytest.raises(InputError, match=r"P\(cut\) of lifted edge 2 is"):
        signed_costs(np.float32([0, 1, bad]), 0.5, "lifted edge")


@pytest.mark.parametrize(
    ("scheme", "factors"),
    [
        ("none", [1, 1, 1, 1]),
        ("across", [1, 0.5, 16, 1]),
        ("within", [2, 1, 1, 0.5]),
        ("all", [2, 0.5, 16, 0.5]),
    ],
)
def test_length_weights_follow_the_scheme_and_are_bounded(scheme, factors):
    costs = edge_costs(EDGES, MulticutConfig(length_weighting=scheme, beta=0.5, weight_across=1))
    np.testing.assert_allclose(costs, np.array([1, 1, -1, -1]) * LOG3 * factors)


def test_edges_across_sections_have_their_own_weight():
    costs = edge_costs(EDGES, MulticutConfig(length_weighting="none", beta=0.5, weight_across=3))
    np.testing.assert_allclose(costs, np.array([1, 3, -3, -1]) * LOG3)


def test_one_longer_contact_does_not_change_the_other_costs():
    config = MulticutConfig(length_weighting="all", beta=0.5, weight_across=1)
    longer = EDGES | {"length_voxels": np.array([60, 150, 7, 15], np.uint64)}
    kept = [0, 1, 3]
    np.testing.assert_array_equal(edge_costs(EDGES, config)[kept], edge_costs(longer, config)[kept])


def test_lifted_costs_weigh_together_a_share_of_the_regular_ones():
    lifted = {"p_cut": np.full(40, 0.25, np.float32)}
    costs = lifted_costs(lifted, 10, MulticutConfig(lifted_weight=0.5, beta_lifted=0.5))
    assert costs.sum() == pytest.approx(0.5 * 10 * LOG3)
    assert lifted_scale(10, 1, 0.5) == 0.5
    assert lifted_scale(0, 0, 0.5) == 0


@pytest.mark.parametrize(("z", "scheme"), [(50.0, "all"), (4.0, "none")])
def test_auto_is_decided_by_the_anisotropy(z, scheme):
    volume = VolumeInfo((9, 9, 9), (z, 4.0, 4.0), "uint8")
    assert MulticutConfig().resolved(volume).length_weighting == scheme
    assert MulticutConfig(length_weighting="all").resolved(volume).length_weighting == "all"
    with pytest.raises(ConfigError, match="resolved"):
        edge_costs(EDGES, MulticutConfig())

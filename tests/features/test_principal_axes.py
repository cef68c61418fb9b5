"""Variances along principal axes, against turned boxes and numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features.principal_axes import principal_variances, with_voxel_extent

UNIT = (1.0, 1.0, 1.0)


def moments_of(positions):
    covariance = np.cov(np.asarray(positions, float).T, ddof=0)
    return covariance[np.triu_indices(3)][None]


def test_a_box_of_voxels_has_the_variances_of_its_sides():
    box = np.argwhere(np.ones((2, 6, 3)))
    solid = with_voxel_extent(moments_of(box))
    found = principal_variances(solid, (5.0, 1.0, 2.0), flat=False)
    assert found[0] == pytest.approx([10**2 / 12, 6**2 / 12, 6**2 / 12])
    in_section = principal_variances(solid, (5.0, 1.0, 2.0), flat=True)
    assert in_section[0] == pytest.approx([6**2 / 12, 6**2 / 12])


def test_one_voxel_has_the_extent_of_a_voxel():
    solid = with_voxel_extent(np.zeros((1, 6)))
    assert np.sqrt(12 * principal_variances(solid, (40.0, 4.0, 4.0), flat=False)[0]) == (
        pytest.approx([40, 4, 4])
    )


@pytest.mark.parametrize("step", [(0, 1, 1), (0, 2, -1), (0, 0, 1)])
def test_positions_on_a_line_have_no_variance_beside_it(step):
    line = np.arange(9)[:, None] * np.array(step)
    for flat in (True, False):
        found = principal_variances(moments_of(line), UNIT, flat)[0]
        assert found[0] == pytest.approx(np.dot(step, step) * 80 / 12)
        assert found[1:] == pytest.approx(0, abs=1e-6)
        assert (found >= 0).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
def test_random_bodies_match_eigenvalues_in_nanometres(seed, count):
    rng = np.random.default_rng(seed)
    size = np.array([30.0, 6.0, 5.0])
    positions = rng.integers(0, 20, (count, 3))
    for flat, axes in ((False, [0, 1, 2]), (True, [1, 2])):
        slow = np.linalg.eigvalsh(np.cov((positions * size)[:, axes].T, ddof=0))[::-1]
        found = principal_variances(moments_of(positions), tuple(size), flat)[0]
        assert found == pytest.approx(slow, rel=1e-7, abs=1e-7)

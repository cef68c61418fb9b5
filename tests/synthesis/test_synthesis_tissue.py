from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.synthesis.connected import connected_neurons
from pipeline.synthesis.packing import TubesConfig, drifting_tubes
from pipeline.synthesis.power_diagram import power_diagram
from pipeline.synthesis.random_fields import SmoothField, smooth_basis


def pixel_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return y, x


def test_border_of_two_equal_discs_is_the_bisector() -> None:
    y, x = pixel_grid(5, 21)
    centres = np.array([[2.0, 4.0], [2.0, 14.0]])
    cut = power_diagram(y, x, centres, np.array([3.0, 3.0]), np.array([0, 1]))
    assert np.array_equal(cut.disc, (x > 9).astype(int))
    near = np.abs(x - 9) < 6
    np.testing.assert_allclose(cut.border_nm[near], np.abs(x - 9)[near], atol=1e-4)
    assert (cut.border_nm[~near] > 5.9).all()


def test_a_larger_disc_pushes_the_border_away() -> None:
    y, x = pixel_grid(3, 21)
    centres = np.array([[1.0, 4.0], [1.0, 14.0]])
    cut = power_diagram(y, x, centres, np.array([5.0, 3.0]), np.array([0, 1]))
    # Equal powers where (x - 4)^2 - 25 = (x - 14)^2 - 9, so x = 9.8.
    near = np.abs(x - 9.8) < 6
    np.testing.assert_allclose(cut.border_nm[near], np.abs(x - 9.8)[near], atol=1e-4)


def test_no_border_between_discs_of_one_neuron() -> None:
    y, x = pixel_grid(5, 21)
    centres = np.array([[2.0, 4.0], [2.0, 14.0]])
    cut = power_diagram(y, x, centres, np.array([3.0, 3.0]), np.array([7, 7]))
    assert np.isinf(cut.border_nm).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_power_diagram_agrees_with_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = pixel_grid(24, 31)
    centres = rng.uniform(0, 30, (9, 2))
    radii = np.full(9, rng.uniform(2, 4))
    neuron = rng.integers(0, 6, 9)
    cut = power_diagram(y, x, centres, radii, neuron)
    power = (y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2
    seen = np.take_along_axis(power, cut.disc[..., None], axis=2)[..., 0]
    # Discs are looked for within a reach; what they own inside it must be the nearest.
    close = power.min(axis=2) < (1.4 * radii[0] + 2 * radii[0]) ** 2 / 2
    np.testing.assert_allclose(seen[close], power.min(axis=2)[close], atol=1e-2)


def test_discs_hardly_overlap_and_fill_most_of_the_plane() -> None:
    config = TubesConfig()
    depths = np.arange(0, 500, 25.0)
    tubes = drifting_tubes(depths, (600.0, 600.0), np.random.default_rng(0), config)
    for centres, radii in zip(tubes.centres_nm, tubes.radii_nm, strict=True):
        apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))
        overlap = radii[:, None] + radii[None] - apart
        np.fill_diagonal(overlap, 0)
        assert np.percentile(overlap.max(axis=1), 95) < 0.35 * config.median_radius_nm
    side = 600 + 4 * config.largest_radius_nm
    assert 0.65 < np.pi * (tubes.radii_nm[0] ** 2).sum() / side**2 < 0.85


def test_still_tubes_stay_where_they_are() -> None:
    config = TubesConfig.model_validate({"slope": 0, "varicosity": 0})
    depths = np.arange(0, 400, 50.0)
    tubes = drifting_tubes(depths, (400.0, 400.0), np.random.default_rng(3), config)
    moved = np.linalg.norm(tubes.centres_nm[-1] - tubes.centres_nm[0], axis=1)
    assert np.median(moved) < 5


def test_smooth_basis_gives_unit_variance() -> None:
    basis = smooth_basis(np.linspace(0, 100, 57), 7.0)
    np.testing.assert_allclose((basis**2).sum(axis=1), 1, rtol=1e-5)


def test_smooth_field_agrees_near_and_differs_far() -> None:
    line = np.arange(400, dtype=float)
    field = SmoothField((np.arange(3.0), line, line), (1.0, 10.0, 10.0), np.random.default_rng(0))
    section = field.section(1)
    assert section.shape == (400, 400)
    assert abs(section.std() - 1) < 0.15
    assert np.corrcoef(section[:, :-2].ravel(), section[:, 2:].ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(section[:, :-80].ravel(), section[:, 80:].ravel())[0, 1]) < 0.15


def test_separate_parts_of_a_cell_become_separate_neurons() -> None:
    cells = np.array([[[4, 4, 9, 4, 4]], [[4, 4, 9, 4, 4]]])
    expected = np.array([[[1, 1, 2, 3, 3]], [[1, 1, 2, 3, 3]]])
    assert np.array_equal(connected_neurons(cells, 2), expected)


def test_a_speck_goes_to_the_neighbour_it_touches_most() -> None:
    cells = np.array([[[1, 1, 1, 2], [1, 1, 7, 2], [1, 1, 1, 2]]])
    expected = np.array([[[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2]]])
    assert np.array_equal(connected_neurons(cells, 2), expected)


def test_specks_of_specks_are_absorbed_together() -> None:
    cells = np.array([[[5, 6, 8, 1, 1, 1, 1]]])
    assert np.array_equal(connected_neurons(cells, 4), np.ones_like(cells))


def test_a_volume_of_one_speck_keeps_it() -> None:
    assert connected_neurons(np.zeros((1, 1, 1), np.int64), 10).tolist() == [[[1]]]

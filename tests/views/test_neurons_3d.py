from __future__ import annotations

import numpy as np
import pytest

from pipeline.views import neurons_3d
from pipeline.views.colours import colours_of
from pipeline.views.neurons_3d import Surface, large_neurons, render, surface_of


def ball(shape: tuple[int, int, int], steps: np.ndarray, radius: float) -> np.ndarray:
    grid = np.indices(shape) * steps[:, None, None, None]
    middle = (np.array(shape) - 1)[:, None, None, None] / 2 * steps[:, None, None, None]
    return np.sqrt(((grid - middle) ** 2).sum(axis=0)) <= radius


def square(neuron: int, z: float, up: float) -> Surface:
    """A horizontal square of side 100 nm that is seen from above when ``up`` is -1."""
    row, column = np.divmod(np.arange(41 * 41), 41)
    corners = np.stack([np.full(41 * 41, z), 2.5 * row, 2.5 * column], axis=1)
    first = np.flatnonzero((row < 40) & (column < 40))
    faces = np.concatenate(
        [np.stack([first + k for k in t], axis=1) for t in ([0, 1, 41], [1, 41, 42])]
    )
    return Surface(neuron, corners, faces, np.tile([up, 0.0, 0.0], (41 * 41, 1)))


@pytest.fixture(autouse=True)
def _small_renderings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neurons_3d, "PIXELS", 200)


VIEW = np.array([-20.0, -120.0]), np.array([160.0, 120.0])


def test_chooses_by_size_and_passes_over_giants_and_background() -> None:
    labels = np.zeros(1000, np.uint64)
    labels[:300], labels[300:350], labels[350:440], labels[440:450] = 5, 2, 9, 2**63
    assert large_neurons(labels.reshape(10, 10, 10)) == [9, 2, 2**63]
    assert large_neurons(labels.reshape(10, 10, 10), most=1) == [9]


def test_a_giant_is_shown_when_there_is_nothing_else() -> None:
    assert large_neurons(np.ones((2, 2, 2), np.uint64)) == [1]
    assert large_neurons(np.zeros((2, 2, 2), np.uint64)) == []


def test_surface_of_a_ball_has_its_radius_and_outward_normals() -> None:
    steps = np.array([20.0, 5.0, 5.0])
    mask = ball((17, 61, 61), steps, 120.0)
    surface = surface_of(mask, 3, steps, 6.0)
    middle = np.array([(n - 1) / 2 + 0.5 for n in mask.shape]) * steps
    arms = surface.vertices_nm - middle
    distance = np.linalg.norm(arms, axis=1)
    assert abs(distance.mean() - 120) < 6
    outward = (arms / distance[:, None] * surface.normals).sum(axis=1)
    assert np.percentile(outward, 2) > 0.7


def test_a_single_voxel_has_a_surface() -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    assert len(surface_of(mask, 1, np.array([50.0, 4.0, 4.0]), 4.0).faces) > 0


def test_the_upper_of_two_squares_hides_the_lower() -> None:
    both = render([square(1, 0.0, -1.0), square(2, 1.0, -1.0)], *VIEW)
    upper = render([square(1, 0.0, -1.0)], *VIEW)
    seen = upper[..., 3] == 255
    assert seen.any()
    hue = colours_of(np.array([1]))[0].astype(float)
    inner = both[..., :3][seen].astype(float).mean(axis=0)
    assert np.corrcoef(inner, hue)[0, 1] > 0.95


def test_order_of_neurons_does_not_matter() -> None:
    squares = [square(1, 0.0, -1.0), square(2, 30.0, -1.0)]
    assert np.array_equal(render(squares, *VIEW), render(squares[::-1], *VIEW))


def test_what_faces_away_is_not_drawn() -> None:
    assert render([square(1, 0.0, 1.0)], *VIEW)[..., 3].max() == 0
    assert render([square(1, 0.0, -1.0)], *VIEW)[..., 3].max() == 255


def test_a_square_is_drawn_without_holes() -> None:
    opacity = render([square(1, 0.0, -1.0)], *VIEW)[..., 3]
    for row in opacity[opacity.max(axis=1) == 255]:
        full = np.flatnonzero(row == 255)
        assert len(full) == full[-1] - full[0] + 1

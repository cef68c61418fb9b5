from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.training.augmentation import AugmentationConfig, sampling_grid
from pipeline.training.elastic import control_point_field, simard_deviation, simard_field


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference_field(side: int, alpha: float, sigma: float, seed: int) -> np.ndarray:
    """Simard et al. 2003 word by word, away from the borders of the noise."""
    margin = int(4 * sigma)
    noise = np.random.default_rng(seed).uniform(-1, 1, (side + 2 * margin,) * 2)
    smooth = alpha * ndimage.gaussian_filter(noise, sigma)
    return smooth[margin:-margin, margin:-margin]


def lag_correlation(fields: np.ndarray, lag: int) -> float:
    """Between displacements so many pixels apart, over the variance."""
    return float((fields[..., lag:] * fields[..., :-lag]).mean() / (fields**2).mean())


@pytest.mark.parametrize(("alpha", "sigma"), [(60.0, 3.0), (250.0, 9.0)])
def test_the_field_has_deviation_and_correlation_of_simards(alpha: float, sigma: float) -> None:
    side = 96
    expected = np.stack([reference_field(side, alpha, sigma, s) for s in range(30)])
    found = torch.cat([simard_field(side, 1, alpha, sigma, seeded(s)) for s in range(30)]).numpy()
    assert found.shape == (60, side, side)
    assert float(expected.std()) == pytest.approx(simard_deviation(alpha, sigma), rel=0.1)
    assert float(found.std()) == pytest.approx(simard_deviation(alpha, sigma), rel=0.1)
    for lag in (int(sigma), int(2 * sigma)):
        # The correlation of two samples of a Gaussian-smoothed noise, exp(-d² / (4 sigma²)).
        analytic = np.exp(-(lag**2) / (4 * sigma**2))
        assert lag_correlation(expected, lag) == pytest.approx(analytic, abs=0.08)
        assert lag_correlation(found, lag) == pytest.approx(analytic, abs=0.08)


def test_neighbouring_pixels_move_alike() -> None:
    field = simard_field(128, 1, 2500, 50, seeded(0))
    assert float(field.diff(dim=-1).abs().max()) < 1.0
    assert float(field.diff(dim=-2).abs().max()) < 1.0


@pytest.mark.parametrize("points", [2, 3])
def test_finer_fields_hold_the_coarser_one(points: int) -> None:
    one = simard_field(40, 1, 300, 12, seeded(1))
    finer = simard_field(40, points, 300, 12, seeded(1))
    assert finer.shape == (2, 40 * points, 40 * points)
    mean = torch.nn.functional.avg_pool2d(finer, points)
    assert float((mean - one).abs().max()) < 0.15 * float(one.std())


def test_control_points_lie_at_their_spacing() -> None:
    field = control_point_field(33, 1, 2.0, 16, seeded(2))
    noise = 2 * torch.randn(1, 2, 5, 5, generator=seeded(2))[0]
    # Corners of the crop are corners of the lattice of control points.
    torch.testing.assert_close(field[:, 0, 0], noise[:, 0, 0])
    torch.testing.assert_close(field[:, -1, -1], noise[:, -1, -1])


def test_simards_field_takes_the_place_of_the_control_points() -> None:
    still = {"scale": (1.0, 1.0), "rotation_degrees": 0.0, "overhang": 0.0}
    one, other = (
        sampling_grid(
            32, 32, 32,
            AugmentationConfig(elastic_alpha=40, elastic_sigma=4, elastic_pixels=e, **still),  # type: ignore[arg-type]
            seeded(3),
        )
        for e in (0, 9)
    )  # fmt: skip
    assert torch.equal(one, other)

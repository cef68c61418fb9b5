from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.boundaries.predict import ORIENTATIONS, orient
from pipeline.training.augmentation import AugmentationConfig, finer, sampling_grid, warp

STILL = AugmentationConfig(
    scale=(1.0, 1.0), rotation_degrees=0, elastic_pixels=0, contrast=0, brightness=0, gamma=0,
    noise=0, blur_sigma=0, defect_probability=0, overhang=0,
)  # fmt: skip
TURNED = STILL.model_copy(update={"quarter_turns": True})


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def warped(section: Tensor, config: AugmentationConfig, seed: int) -> Tensor:
    grid = sampling_grid(len(section), *section.shape, config, seeded(seed))
    return warp(section, section, torch.ones_like(section), grid)[0]


def orientation_of(section: Tensor, found: Tensor) -> int:
    same = [torch.allclose(orient(section, *o), found, atol=1e-4) for o in ORIENTATIONS]
    assert sum(same) == 1
    return same.index(True)


def test_quarter_turns_and_flips_give_the_8_orientations_and_no_other() -> None:
    section = torch.rand(16, 16, generator=seeded(0))
    seen = [orientation_of(section, warped(section, TURNED, seed)) for seed in range(60)]
    assert set(seen) == set(range(8))


def test_without_quarter_turns_there_is_the_flip_alone() -> None:
    section = torch.rand(16, 16, generator=seeded(0))
    seen = {orientation_of(section, warped(section, STILL, seed)) for seed in range(30)}
    assert {ORIENTATIONS[i] for i in seen} == {(0, False), (0, True)}


def test_a_crop_as_large_as_the_section_leaves_it_only_by_the_overhang() -> None:
    loose = STILL.model_copy(update={"overhang": 0.1})
    far = []
    for config in (STILL, loose):
        grids = [sampling_grid(40, 40, 40, config, seeded(s)) for s in range(40)]
        # In pixels beyond the centres of the outermost ones.
        far.append(max(float(g.abs().max()) * 20 - 19.5 for g in grids))
    assert far[0] == pytest.approx(0, abs=1e-4)
    assert 2 < far[1] <= 4.0


@pytest.mark.parametrize("covered", [(2.0, 2.0), (2.0, 1.0), (0.5, 0.5), (3.0, 1.5)])
def test_a_pixel_is_the_mean_of_the_voxels_that_it_covers(covered: tuple[float, float]) -> None:
    y, x = torch.meshgrid(torch.arange(120.0), torch.arange(120.0), indexing="ij")
    ramp = (0.2 * y + 0.5 * x) / 120
    for seed in range(4):
        grid = sampling_grid(32, 120, 120, STILL, seeded(seed), covered=covered)
        found = warp(ramp, ramp, torch.ones_like(ramp), grid, points=finer(covered))[0]
        assert found.shape == (32, 32)
        # A ramp's mean is its value at the centre, so its slope tells the pixel's size.
        down, across = found.diff(dim=0), found.diff(dim=1)
        torch.testing.assert_close(down, torch.full_like(down, 0.2 * covered[0] / 120))
        torch.testing.assert_close(across.abs(), torch.full_like(across, 0.5 * covered[1] / 120))


def test_coarse_pixels_do_not_alias() -> None:
    stripes = (torch.arange(96) % 2).float().repeat(96, 1)
    grid = sampling_grid(24, 96, 96, STILL, seeded(0), covered=(4.0, 4.0))
    found = warp(stripes, stripes, torch.ones_like(stripes), grid, points=finer((4.0, 4.0)))[0]
    torch.testing.assert_close(found, torch.full_like(found, 0.5), atol=0.01, rtol=0)

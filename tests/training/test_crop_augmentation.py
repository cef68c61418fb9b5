from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from pipeline.training.augmentation import AugmentationConfig, grey_values, sampling_grid, warp

STILL = AugmentationConfig(
    scale=(1.0, 1.0), rotation_degrees=0, elastic_pixels=0, contrast=0, brightness=0, gamma=0,
    noise=0, blur_sigma=0, defect_probability=0,
)  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return 0.5 + 0.45 * torch.sin(y / 9.0) * torch.cos(x / 13.0 + y / 30.0)


@given(
    seed=st.integers(0, 10_000),
    crop=st.sampled_from([32, 64, 128]),
    height=st.integers(4, 150),
    width=st.integers(4, 150),
)
@settings(max_examples=40, deadline=None)
def test_crops_have_their_size_and_stay_within_0_and_1(
    seed: int, crop: int, height: int, width: int
) -> None:
    config, generator = AugmentationConfig(defect_probability=0.5), seeded(seed)
    raw = torch.rand(height, width, generator=generator)
    target = (raw > 0.5).float()
    grid = sampling_grid(crop, height, width, config, generator)
    crops = warp(raw, target, torch.ones(height, width), grid)
    grey = grey_values(crops[0], config, generator)
    for tensor in (*crops, grey):
        assert tensor.shape == (crop, crop)
        assert tensor.dtype == torch.float32
        assert 0 <= float(tensor.min()) <= float(tensor.max()) <= 1
    assert bool((crops[2] == 1).all())


@pytest.mark.parametrize("seed", range(8))
def test_raw_and_target_are_warped_together(seed: int) -> None:
    generator = seeded(seed)
    raw = smooth(200, 180)
    target = (raw > 0.5).float()
    grid = sampling_grid(64, 200, 180, AugmentationConfig(), generator)
    warped, warped_target, _ = warp(raw, target, torch.ones_like(raw), grid)
    clear = (warped - 0.5).abs() > 0.08  # away from the threshold, where the target is soft
    assert float(clear.float().mean()) > 0.4
    expected = (warped > 0.5).float()[clear]
    torch.testing.assert_close(warped_target[clear], expected, atol=1e-3, rtol=0)


def test_without_change_a_crop_is_a_piece_of_the_section_or_of_its_mirror_image() -> None:
    raw = torch.from_numpy(np.random.default_rng(0).random((32, 32), np.float32))
    # A section below the crop's size is centred, and no sub-pixel shift remains.
    for seed in range(6):
        grid = sampling_grid(40, 32, 32, STILL, seeded(seed))
        warped, _, _ = warp(raw, raw, torch.ones_like(raw), grid)
        expected = raw.flip(1) if seed in mirrored() else raw
        torch.testing.assert_close(warped[4:36, 4:36], expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(warped[:, :4], warped[:, 4:8].flip(1), atol=1e-4, rtol=0)


def mirrored() -> set[int]:
    """Seeds whose second number is below 1/2 (after scale and angle comes the flip)."""
    return {seed for seed in range(6) if float(torch.rand(3, generator=seeded(seed))[2]) < 0.5}


def test_both_mirror_images_occur() -> None:
    assert 0 < len(mirrored()) < 6


def test_magnification_spreads_the_section() -> None:
    config = STILL.model_copy(update={"scale": (2.0, 2.0)})
    grid = sampling_grid(32, 101, 101, config, seeded())
    step = (grid[0, 0, 1, 0] - grid[0, 0, 0, 0]).abs() * 101 / 2
    assert float(step) == pytest.approx(0.5, abs=1e-4)


def test_rotation_keeps_distances() -> None:
    config = STILL.model_copy(update={"rotation_degrees": 180.0})
    grids = [sampling_grid(32, 100, 100, config, seeded(s))[0] * 50 for s in range(5)]
    for grid in grids:
        assert float((grid[0, 1] - grid[0, 0]).norm()) == pytest.approx(1, abs=1e-3)
        assert float((grid[1, 0] - grid[0, 0]).norm()) == pytest.approx(1, abs=1e-3)
    directions = torch.stack([g[0, 1] - g[0, 0] for g in grids])
    assert len(torch.unique(directions.round(decimals=2), dim=0)) == 5


def test_elastic_displacement_is_smooth_and_of_the_configured_size() -> None:
    config = STILL.model_copy(update={"elastic_pixels": 4.0, "elastic_spacing": 16})
    straight = sampling_grid(128, 128, 128, STILL, seeded(3))[0] * 64
    bent = sampling_grid(128, 128, 128, config, seeded(3))[0] * 64
    # Both may differ in the random centre, not in more than a shift of equal size.
    shift = bent - straight
    shift = shift - shift.mean(dim=(0, 1))
    assert 1 < float(shift.std()) < 8
    assert float((shift[1:] - shift[:-1]).abs().max()) < 2.5


def test_a_pixel_that_something_unknown_took_part_in_is_unknown() -> None:
    raw = torch.zeros(64, 64)
    known = torch.ones(64, 64)
    known[:, 20:40] = 0
    for seed in range(5):
        grid = sampling_grid(64, 64, 64, AugmentationConfig(), seeded(seed))
        _, soft, warped = warp(raw, 1 - known, known, grid)
        assert 0 < float(warped.mean()) < 1
        assert float((soft * warped).max()) <= 0.0101


def test_known_and_unknown_have_no_values_between() -> None:
    known = (torch.rand(64, 64, generator=seeded()) > 0.1).float()
    grid = sampling_grid(32, 64, 64, AugmentationConfig(), seeded(1))
    warped = warp(known, known, known, grid)[2]
    assert set(warped.unique().tolist()) <= {0.0, 1.0}


def test_without_change_grey_values_stay() -> None:
    raw = torch.rand(32, 32, generator=seeded())
    torch.testing.assert_close(grey_values(raw, STILL, seeded(1)), raw)


@pytest.mark.parametrize(
    ("key", "value"),
    [("contrast", 0.5), ("brightness", 0.3), ("gamma", 1.0), ("noise", 0.2), ("blur_sigma", 4.0),
     ("defect_probability", 1.0)],
)  # fmt: skip
def test_each_kind_of_change_changes_grey_values(key: str, value: float) -> None:
    raw = torch.rand(32, 32, generator=seeded())
    before = raw.clone()
    config = STILL.model_copy(update={key: value})
    changed = [not torch.allclose(grey_values(raw, config, seeded(s)), raw) for s in range(8)]
    assert any(changed)
    assert torch.equal(raw, before)


def test_blur_keeps_the_mean_and_takes_contrast() -> None:
    raw = torch.rand(64, 64, generator=seeded())
    config = STILL.model_copy(update={"blur_sigma": 3.0})
    blurred = [grey_values(raw, config, seeded(s)) for s in range(8)]
    changed = [b for b in blurred if not torch.equal(b, raw)]
    assert changed
    for image in changed:
        assert float(image.mean()) == pytest.approx(float(raw.mean()), abs=0.02)
        assert float(image.std()) < 0.7 * float(raw.std())


def test_augmentation_is_decided_by_the_generator_alone() -> None:
    def once(seed: int) -> Tensor:
        generator = seeded(seed)
        raw, config = smooth(80, 90), AugmentationConfig(defect_probability=1)
        grid = sampling_grid(32, 80, 90, config, generator)
        return grey_values(warp(raw, raw, raw, grid)[0], config, generator)

    torch.manual_seed(1)
    first = once(5)
    torch.manual_seed(2)
    assert torch.equal(once(5), first)
    assert not torch.equal(once(6), first)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0, 1)}, {"scale": (-1, 1)}, {"noise": 1}, {"blur_sigma": 99}, {"zoom": 1}],
    ids=str,
)  # fmt: skip
def test_impossible_augmentation_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AugmentationConfig.model_validate(wrong)

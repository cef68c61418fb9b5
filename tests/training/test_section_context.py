"""Crops of a section with its neighbours, for networks that see several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.boundaries.networks.hybrid_u_net import HybridUNetConfig
from pipeline.training.augmentation import AugmentationConfig, grey_values, sampling_grid, warp
from pipeline.training.config import TrainingConfig
from pipeline.training.crops import draw
from pipeline.training.section_defects import (
    SectionDefects,
    displaced_sections,
    with_missing_section,
)
from pipeline.training.volumes import TrainingVolume, neighbours

STILL = AugmentationConfig(
    scale=(1.0, 1.0), rotation_degrees=0, elastic_pixels=0, contrast=0, brightness=0, gamma=0,
    noise=0, blur_sigma=0, defect_probability=0, missing_probability=0, misaligned_probability=0,
)  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config_of(context: int, **changes: Any) -> TrainingConfig:
    return TrainingConfig(
        network=HybridUNetConfig(context_sections=context, width=8, depth=2),
        batch=3,
        crop=32,
        augmentation=STILL,
        **changes,
    )


def numbered(shape: tuple[int, int, int] = (9, 40, 40), **how: Any) -> TrainingVolume:
    """Grey values and targets tell the number of a section along z: value = (z + 1) / 10."""
    raw = np.broadcast_to((np.arange(shape[0]).reshape(-1, 1, 1) + 1) / 10, shape)
    return TrainingVolume("numbered", raw.astype(np.float32), np.zeros(shape, np.uint8), **how)


@given(
    places=st.sets(st.integers(0, 30), min_size=1).map(sorted),
    context=st.integers(0, 4),
    data=st.data(),
)
def test_neighbours_are_where_they_should_be_or_mirrored_or_nearer(
    places: list[int], context: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(places) - 1))
    found = neighbours(np.array(places), place, context)
    assert len(found) == 2 * context + 1
    assert found[context] == place
    for offset in range(-context, context + 1):
        z = places[found[context + offset]] - places[place]
        if places[place] + offset in places:
            assert z == offset
        elif places[place] - offset in places:
            assert z == -offset
        else:
            assert abs(z) < abs(offset)


def test_crops_hold_the_neighbours_in_their_order_or_from_below() -> None:
    seen = set()
    for step in range(8):
        raw, target, known = draw([numbered()], config_of(2), step)
        assert raw.shape == (3, 5, 32, 32)
        assert target.shape == known.shape == (3, 32, 32)
        for crop in raw:
            z = (crop.mean((1, 2)) * 10).round() - 1
            assert float(crop.std((1, 2)).max()) < 1e-5
            steps = z.diff()
            middle = int(z[2])
            if 2 <= middle <= 6:
                assert steps.tolist() in ([1] * 4, [-1] * 4)
                seen.add(int(steps[0]))
            elif middle == 0:
                assert z.tolist() == [2, 1, 0, 1, 2]
    assert seen == {1, -1}


def test_sections_that_stand_alone_are_their_own_neighbours() -> None:
    raw, _, _ = draw([numbered(separate=True)], config_of(1), 0)
    for crop in raw:
        torch.testing.assert_close(crop[0], crop[1])
        torch.testing.assert_close(crop[2], crop[1])


def test_sections_with_a_gap_between_are_no_neighbours() -> None:
    volume = numbered((3, 40, 40), z=np.array([4, 7, 8]))
    section = volume.section(0, 0, 1).raw
    assert [round(float(s.mean()) * 10) - 1 for s in section] == [0, 0, 0]
    section = volume.section(0, 1, 1).raw
    assert [round(float(s.mean()) * 10) - 1 for s in section] == [2, 1, 2]


def test_planes_along_z_have_neighbours_of_their_own_kind() -> None:
    raw = np.broadcast_to(np.arange(40, dtype=np.float32) / 40, (40, 40, 40)).copy()
    volume = TrainingVolume("x ramp", raw, np.zeros(raw.shape, np.uint8), isotropic=True)
    section = volume.section(2, 7, 1).raw
    assert [round(float(s.mean()) * 40) for s in section] == [6, 7, 8]


def test_without_neighbours_no_defect_is_drawn() -> None:
    often = SectionDefects(missing_probability=1, misaligned_probability=1)
    generator = seeded(4)
    before = generator.get_state()
    alone = torch.rand(1, 8, 8)
    assert displaced_sections(1, often, generator) is None
    assert with_missing_section(alone, often, generator) is alone
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("count", [3, 5, 7])
def test_displaced_sections_slipped_alone_or_moved_together(count: int) -> None:
    config = SectionDefects(misaligned_probability=1, misaligned_pixels=5)
    middle, kinds = count // 2, set()
    for seed in range(60):
        shifts = displaced_sections(count, config, seeded(seed))
        assert shifts is not None
        assert float(shifts.abs().max()) <= 5
        moved = shifts.any(1)
        assert not moved[middle]
        assert moved.any()
        assert len({tuple(s) for s in shifts[moved].tolist()}) == 1
        below, above = moved[:middle], moved[middle + 1 :]
        assert not (below.any() and above.any())
        from_the_end = bool(moved[0] if below.any() else moved[-1])
        kinds.add((int(moved.sum()), from_the_end))
    assert {n for n, _ in kinds} == set(range(1, middle + 1))


def test_a_missing_section_is_black_or_its_neighbour_and_never_the_middle_one() -> None:
    config = SectionDefects(missing_probability=1)
    stack = torch.arange(1, 6).float()[:, None, None].expand(5, 4, 4) / 10
    seen = set()
    for seed in range(80):
        found = with_missing_section(stack, config, seeded(seed))[:, 0, 0] * 10
        changed = (found.round() != torch.arange(1, 6)).nonzero().flatten().tolist()
        assert len(changed) == 1
        seen.add((changed[0], round(float(found[changed[0]]))))
    assert seen == {(0, 0), (0, 2), (1, 0), (1, 3), (3, 0), (3, 3), (4, 0), (4, 4)}
    assert stack[0, 0, 0] == pytest.approx(0.1)


def test_a_displaced_section_is_read_from_where_it_lies() -> None:
    x = torch.arange(120.0).expand(120, 120) / 200
    stack, target = torch.stack((x, x, x)), (x > 0.3).float()
    grid = sampling_grid(32, 120, 120, STILL, seeded(0), near=(60, 60))
    shifts = torch.tensor([[0.0, 0.0], [0.0, 0.0], [4.0, -3.0]])
    plain = warp(stack, target, torch.ones_like(x), grid)
    moved = warp(stack, target, torch.ones_like(x), grid, shifts)
    assert torch.equal(moved[0][:2], plain[0][:2])
    torch.testing.assert_close(moved[0][2], plain[0][2] + 0.02)
    assert torch.equal(moved[1], plain[1])
    assert torch.equal(moved[2], plain[2])


def test_all_sections_of_a_crop_change_their_grey_values_alike() -> None:
    config = STILL.model_copy(update={"contrast": 0.5, "brightness": 0.3, "gamma": 1.0})
    section = torch.rand(16, 16, generator=seeded(1))
    found = grey_values(torch.stack((section, section, section)), config, seeded(2))
    assert not torch.allclose(found[0], section)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_stripe_lies_in_one_section_alone() -> None:
    config = STILL.model_copy(update={"defect_probability": 1.0})
    stack = torch.full((5, 40, 40), 0.5)
    places = set()
    for seed in range(30):
        found = grey_values(stack, config, seeded(seed))
        changed = (found - 0.5).abs().amax((1, 2)) > 0.05
        assert int(changed.sum()) <= 1
        places |= set(changed.nonzero().flatten().tolist())
    assert places == set(range(5))
    assert bool((stack == 0.5).all())

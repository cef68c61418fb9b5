from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.boundaries.networks.rc_spcnet import RCSPCNetConfig
from pipeline.boundaries.networks.u_net import UNetConfig
from pipeline.errors import ConfigError
from pipeline.training.config import TrainingConfig
from pipeline.training.targets import IGNORE
from pipeline.training.validation import split, validated, whole_section, whole_sections
from pipeline.training.volumes import TrainingVolume

CONFIG = TrainingConfig(
    network=RCSPCNetConfig(stem=8, widths=(8, 16), units=(1,) * 6), crop=32, loss="mse",
    boundary_weight=1,
)  # fmt: skip


def grid(shape: tuple[int, int, int] = (10, 48, 40), **how: Any) -> TrainingVolume:
    """Black lines round bright squares, by section; black is boundary."""
    _, y, x = np.indices(shape)
    membrane = (y % 12 < 3) | (x % 10 < 2)
    raw = np.where(membrane, 0.0, 1.0).astype(np.float32)
    return TrainingVolume("grid", raw, membrane.astype(np.uint8), **how)


class Black(nn.Module):
    """Boundary where the middle section is black, as surely as ``sharpness`` says."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        boundary = self.sharpness * (0.5 - x[:, x.shape[1] // 2])
        return torch.stack((-boundary, boundary), 1)


def places(volume: TrainingVolume | None) -> list[int]:
    return [] if volume is None else volume.places.tolist()


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.3, 3), (0.04, 1), (0.15, 2), (0.9, 9)])
def test_a_share_is_the_last_sections_and_none_is_in_both_parts(share: float, count: int) -> None:
    learned, held = split(grid(), share)
    assert places(learned) == list(range(10 - count))
    assert places(held) == list(range(10 - count, 10))
    if held is not None:
        assert held.raw.shape == (count, 48, 40)


def test_a_share_is_one_of_the_annotated_sections() -> None:
    volume = grid()
    volume.target[1::2] = IGNORE
    learned, held = split(volume, 0.4)
    assert places(learned) == [0, 1, 2, 3, 4, 5]
    assert places(held) == [6, 7, 8, 9]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [((20, 23), [20, 21, 22]), ((27, 30), [27, 28, 29]), ((0, 21), [20]), ((29, 99), [29])],
)
def test_named_sections_at_either_end_are_held_out(
    sections: tuple[int, int], expected: list[int]
) -> None:
    learned, held = split(grid(z=np.arange(20, 30)), 0.5, sections)
    assert places(held) == expected
    assert places(learned) == [z for z in range(20, 30) if z not in expected]


@pytest.mark.parametrize("sections", [(3, 6), (0, 10), (30, 40), (2, 2)])
def test_named_sections_in_the_middle_or_all_or_none_are_refused(
    sections: tuple[int, int],
) -> None:
    with pytest.raises(ConfigError, match="grid: validation_sections"):
        split(grid(), 0, sections)


@pytest.mark.parametrize(("sections", "beside"), [((0, 3), 0), ((7, 10), -1)])
def test_borders_with_held_out_sections_teach_nothing_in_isotropic_volumes(
    sections: tuple[int, int], beside: int
) -> None:
    volume = replace(grid(), isotropic=True)
    before = volume.target.copy()
    learned, _ = split(volume, 0, sections)
    blank = (learned.target == IGNORE).all(axis=(1, 2))
    assert np.flatnonzero(blank).tolist() == [beside % 7]
    np.testing.assert_array_equal(volume.target, before)


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"1 annotated section is too few to hold out 0\.6"):
        split(grid((1, 48, 40)), 0.6)


def test_a_perfect_map_costs_nothing_and_scores_one() -> None:
    sections = [whole_sections(grid(), CONFIG)]
    found = validated(Black(60).eval(), sections, CONFIG, "cpu")
    assert found.loss == pytest.approx(0, abs=1e-6)
    assert found.v_rand == pytest.approx(1, abs=1e-9)


def test_loss_and_v_rand_have_known_values_where_the_map_says_nothing() -> None:
    volume = grid()
    found = validated(Black(0).eval(), [whole_sections(volume, CONFIG)], CONFIG, "cpu")
    assert found.loss == pytest.approx(0.25, abs=1e-6)
    # All is one cell: of pairs of pixels of a true cell all are together (split 1); of all
    # pairs as many share a cell as there are cells (merge = sum of squared shares).
    _, counts = np.unique(components(volume.target[0] == 0), return_counts=True)
    merge = float(((counts[1:] / counts[1:].sum()) ** 2).sum())
    expected = 2 * merge / (1 + merge)
    assert found.v_rand == pytest.approx(expected, abs=1e-6)


def components(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labels: np.ndarray = ndimage.label(mask)[0]
    return labels


def test_unknown_pixels_and_what_fills_up_to_the_stride_do_not_count() -> None:
    volume = grid((3, 45, 37))
    volume.target[:, :10] = IGNORE
    volume.raw[:, :10] = 1 - volume.raw[:, :10]
    sections = whole_sections(volume, CONFIG)
    assert sections[0].raw.shape == (1, 48, 40)
    assert sections[0].size == (45, 37)
    assert int(sections[0].known.sum()) == 35 * 37
    found = validated(Black(60).eval(), [sections], CONFIG, "cpu")
    assert found.loss == pytest.approx(0, abs=1e-6)
    assert found.v_rand == pytest.approx(1, abs=1e-9)


def test_the_loss_is_the_mean_over_sections_of_all_volumes() -> None:
    wrong = TrainingVolume("wrong", grid().raw, 1 - grid().target)
    config = CONFIG.model_copy(
        update={"validation": CONFIG.validation.model_copy(update={"sections": 2})}
    )
    volumes = [whole_sections(v, config) for v in (grid((2, 48, 40)), grid((1, 48, 40)), wrong)]
    assert [len(v) for v in volumes] == [2, 1, 2]
    found = validated(Black(60).eval(), volumes, config, "cpu")
    assert found.loss == pytest.approx(2 / 5, abs=1e-6)


def test_sections_are_taken_evenly_from_the_first_to_the_last() -> None:
    volume = grid()
    volume.raw[:] += np.arange(10, dtype=np.float32).reshape(-1, 1, 1) / 100
    volume.raw[:] = volume.raw.clip(0, 1)
    config = CONFIG.model_copy(
        update={"validation": CONFIG.validation.model_copy(update={"sections": 4})}
    )
    found = [round(float(s.raw[0, 0, 0]) * 100) for s in whole_sections(volume, config)]
    assert found == [0, 3, 6, 9]


def test_sections_are_seen_as_they_are_where_voxels_are_pixels() -> None:
    volume = grid((2, 48, 40))
    noise = np.random.default_rng(0).random(volume.raw.shape, np.float32)
    volume = TrainingVolume("noise", noise, volume.target)
    section = whole_section(volume, 1, CONFIG)
    torch.testing.assert_close(section.raw[0], torch.from_numpy(noise[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        section.target, torch.from_numpy(volume.target[1]).float(), atol=1e-4, rtol=0
    )
    assert bool((section.known == 1).all())


def test_sections_are_resampled_to_the_pixel_of_the_training() -> None:
    volume = grid((2, 64, 80), voxel_nm=(50.0, 4.0, 2.0))
    config = CONFIG.model_copy(update={"pixel_nm": 8.0})
    section = whole_section(volume, 0, config)
    assert section.size == (32, 20)
    assert section.raw.shape == (1, 32, 24)
    expected = volume.raw[0].reshape(32, 2, 20, 4).mean((1, 3))
    torch.testing.assert_close(
        section.raw[0, :, :20], torch.from_numpy(expected), atol=0.13, rtol=0
    )
    assert float(section.known[:, 20:].sum()) == 0


def test_of_a_large_section_the_part_round_what_is_known_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.training.validation.LARGEST_SIDE", 32)
    volume = grid((1, 160, 120))
    noise = np.random.default_rng(0).random(volume.raw.shape, np.float32)
    target = np.full_like(volume.target, IGNORE)
    target[0, 100:120, 110:] = volume.target[0, 100:120, 110:]
    section = whole_section(TrainingVolume("part", noise, target), 0, CONFIG)
    assert section.size == (32, 32)
    expected = torch.from_numpy(noise[0, 94:126, 88:120])
    torch.testing.assert_close(section.raw[0], expected, atol=1e-3, rtol=0)
    assert int(section.known.sum()) == 20 * 10


def test_a_pixel_size_needs_the_size_of_the_voxels() -> None:
    with pytest.raises(ConfigError, match="grid: pixel_nm needs voxel_size_nm"):
        whole_section(grid(), 0, CONFIG.model_copy(update={"pixel_nm": 8.0}))


def test_sides_are_filled_up_to_the_stride_of_the_network() -> None:
    config = TrainingConfig(network=UNetConfig(width=8, depth=4), crop=32)
    assert whole_section(grid((1, 40, 33)), 0, config).raw.shape == (1, 48, 48)


def test_of_a_large_section_the_window_with_most_known_pixels_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.training.validation.LARGEST_SIDE", 32)
    volume = grid((1, 160, 120))
    target = np.full_like(volume.target, IGNORE)
    # Between both corners, where the mean of what is known lies, nothing is.
    target[0, :20, :20] = volume.target[0, :20, :20]
    target[0, -24:, -24:] = volume.target[0, -24:, -24:]
    section = whole_section(replace(volume, target=target), 0, CONFIG)
    assert int(section.known.sum()) == 24 * 24
    torch.testing.assert_close(
        section.raw[0], torch.from_numpy(volume.raw[0, -32:, -32:]), atol=1e-4, rtol=0
    )

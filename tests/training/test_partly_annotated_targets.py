"""What is not annotated teaches nothing, and crops are drawn where something is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_array_equal

from pipeline.boundaries.networks.rc_spcnet import RCSPCNetConfig
from pipeline.training.augmentation import AugmentationConfig, sampling_grid, warp
from pipeline.training.config import TrainingConfig
from pipeline.training.crops import draw
from pipeline.training.targets import IGNORE, from_labels, from_mask, known_voxels
from pipeline.training.volumes import TrainingVolume, longest_run

X = IGNORE
CONFIG = TrainingConfig(
    network=RCSPCNetConfig(stem=8, widths=(8, 16), units=(1,) * 6), batch=4, crop=32, seed=3
)


def row(values: list[int]) -> np.ndarray:
    return np.array([[values]])


def test_no_border_is_drawn_between_known_and_unknown() -> None:
    labels = row([9, 9, 1, 1, 2, 2])
    known = row([0, 0, 1, 1, 1, 1]).astype(bool)
    assert_array_equal(from_labels(labels, isotropic=False, known=known), row([X, X, 0, 1, 1, 0]))


def test_no_border_is_drawn_against_an_unannotated_section() -> None:
    labels = np.array([1, 1, 0, 0]).reshape(4, 1, 1)
    known = np.array([1, 1, 0, 0], bool).reshape(4, 1, 1)
    assert_array_equal(from_labels(labels, isotropic=True, known=known).ravel(), [0, 0, X, X])
    assert_array_equal(from_labels(labels, isotropic=True).ravel(), [0, 1, 1, 1])


def test_zero_is_membrane_only_where_it_is_annotated() -> None:
    labels, known = row([1, 0, 0, 0, 0]), row([1, 1, 1, 0, 0]).astype(bool)
    assert_array_equal(from_labels(labels, isotropic=False, known=known), row([1, 1, 1, X, X]))


def test_unknown_pixels_of_a_mask_are_ignored_whatever_they_hold() -> None:
    mask, known = row([0, 1, 0, 1]), row([1, 1, 0, 0]).astype(bool)
    assert_array_equal(from_mask(mask, membrane_is_zero=True, known=known), row([1, 0, X, X]))
    assert_array_equal(from_mask(mask, membrane_is_zero=False, known=known), row([0, 1, X, X]))


LABELS = npst.arrays(np.uint8, (2, 4, 5), elements=st.integers(0, 3))


@given(labels=LABELS, known=npst.arrays(np.bool_, (2, 4, 5)), isotropic=st.booleans())
def test_targets_do_not_depend_on_what_unknown_voxels_hold(
    labels: np.ndarray, known: np.ndarray, isotropic: bool
) -> None:
    other = np.where(known, labels, 77)
    for zero in (True, False):
        found, again = (
            from_labels(one, isotropic=isotropic, zero_is_boundary=zero, known=known)
            for one in (labels, other)
        )
        assert_array_equal(found, again)
        assert (found[~known] == X).all()


@given(labels=LABELS, isotropic=st.booleans())
def test_where_all_is_known_nothing_changes(labels: np.ndarray, isotropic: bool) -> None:
    known = np.ones(labels.shape, bool)
    assert_array_equal(
        from_labels(labels, isotropic=isotropic, known=known),
        from_labels(labels, isotropic=isotropic),
    )


def test_a_value_and_a_mask_say_what_is_known() -> None:
    truth, mask = np.array([[[5, 0, 255, 5]]]), np.array([[[1, 9, 1, 0]]])
    known = known_voxels(truth, unlabelled=255, mask=mask)
    assert_array_equal(known, [[[True, True, False, False]]])


def test_blank_sections_are_unknown_unless_somebody_vouches_for_them() -> None:
    truth = np.zeros((3, 2, 2), np.uint8)
    truth[1, 0, 0] = 1
    assert_array_equal(known_voxels(truth).all(axis=(1, 2)), [False, True, False])
    trusted = np.array([True, False, False])
    assert_array_equal(known_voxels(truth, trusted=trusted).all(axis=(1, 2)), trusted)


def test_a_section_with_nothing_but_unlabelled_and_0_is_blank() -> None:
    truth = np.array([[[255, 0, 0]], [[255, 0, 1]]])
    known = known_voxels(truth, unlabelled=255)
    assert_array_equal(known, [[[False, False, False]], [[False, True, True]]])


def partly(shape: tuple[int, int, int], known: object, **how: bool) -> TrainingVolume:
    """Raw is 1 where the target is known, so that crops show whether they hit it."""
    target = np.full(shape, IGNORE, np.uint8)
    target[known] = 0  # type: ignore[index]
    return TrainingVolume("partly", (target == 0).astype(np.float32), target, **how)


@pytest.mark.parametrize("isotropic", [True, False])
def test_one_annotated_section_of_a_thousand_is_always_drawn(isotropic: bool) -> None:
    volume = partly((1000, 40, 40), np.s_[437], isotropic=isotropic)
    for step in range(5):
        _, _, known = draw([volume], CONFIG, step)
        assert bool((known == 1).all())


def test_an_annotated_corner_of_a_large_section_is_in_most_crops() -> None:
    volume = partly((2, 400, 400), np.s_[1, 300:340, 350:390])
    shares = torch.stack([draw([volume], CONFIG, step)[2].mean(dim=(1, 2)) for step in range(20)])
    assert float((shares > 0.1).float().mean()) > 0.9
    assert float(shares.mean()) > 0.4


def test_crops_hold_the_pixel_that_they_are_drawn_near() -> None:
    config = AugmentationConfig(elastic_pixels=0)
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        marked = torch.zeros(200, 300)
        marked[90:93, 120:123] = 1
        grid = sampling_grid(64, 200, 300, config, generator, near=(91, 121))
        assert float(warp(marked, marked, marked, grid)[0].max()) > 0.5


def test_sections_are_drawn_by_how_much_of_them_is_annotated() -> None:
    target = np.full((2, 64, 64), IGNORE, np.uint8)
    target[0, :16] = 0
    target[1, :48] = 0
    raw = np.zeros(target.shape, np.float32)
    raw[1] = 1
    still = AugmentationConfig(contrast=0, brightness=0, gamma=0, noise=0, defect_probability=0)
    config = CONFIG.model_copy(update={"batch": 400, "augmentation": still})
    seen, _, _ = draw([TrainingVolume("two", raw, target)], config, 0)
    assert float((seen.mean(dim=(1, 2, 3)) > 0.5).float().mean()) == pytest.approx(0.75, abs=0.07)


def test_planes_along_z_are_drawn_only_through_thick_annotations() -> None:
    thin = partly((100, 64, 64), np.s_[[3, 50, 97]], isotropic=True)
    thick = partly((100, 64, 64), np.s_[20:30], isotropic=True)
    whole = partly((3, 64, 64), np.s_[:], isotropic=True)
    assert thin.axes(32) == (0,)
    assert thick.axes(32) == (0, 1, 2)
    assert thick.axes(256) == (0,)
    assert whole.axes(256) == (0, 1, 2)
    assert partly((100, 64, 64), np.s_[:], isotropic=False).axes(32) == (0,)


@pytest.mark.parametrize(
    ("flags", "longest"), [([], 0), ([0], 0), ([1], 1), ([1, 1, 0, 1], 2), ([0, 1, 0, 1, 1, 1], 3)]
)
def test_longest_runs(flags: list[int], longest: int) -> None:
    assert longest_run(np.array(flags, bool)) == longest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.errors import InputError
from pipeline.evaluation import boundary_band, evaluate_labels, evaluate_map, scored_voxels

stacks = hnp.arrays(np.uint8, (2, 5, 6), elements=st.integers(0, 2))


def slow_band(truth, width):
    """Every pixel against every border pixel of its section."""
    band = np.zeros(truth.shape, bool)
    _, height, length = truth.shape
    for z, y, x in np.ndindex(truth.shape):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [(b, a) for b, a in around if 0 <= b < height and 0 <= a < length]
        if any(truth[z, b, a] != truth[z, y, x] for b, a in inside):
            for b, a in np.ndindex(height, length):
                band[z, b, a] |= (b - y) ** 2 + (a - x) ** 2 < width**2
    return band


@settings(deadline=None, max_examples=50)
@given(stacks, st.integers(0, 4))
def test_the_band_equals_a_search_of_all_border_pixels(truth, width):
    np.testing.assert_array_equal(boundary_band(truth, width), slow_band(truth, width))


def test_a_band_of_one_is_one_pixel_on_each_side():
    truth = np.repeat([[[1, 1, 1, 2, 2, 2]]], 3, axis=1)
    assert boundary_band(truth, 1)[0, 1].tolist() == [False, False, True, True, False, False]


def test_sections_have_bands_of_their_own():
    truth = np.stack([np.full((4, 4), 1), np.full((4, 4), 2)])
    assert not boundary_band(truth, 3).any()


def test_ids_band_and_mask_are_left_out_together():
    truth = np.array([[[1, 1, 1, 2, 2, 2, 3, 3, 3]]])
    mask = np.array([[[0, 1, 1, 1, 1, 1, 1, 1, 1]]])
    scored = scored_voxels(truth, ignore_ids=[3], ignore_band=1, mask=mask)
    assert scored is not None
    assert np.flatnonzero(scored).tolist() == [1, 4]
    assert scored_voxels(truth) is None


def test_ids_beyond_the_range_of_the_dtype_are_simply_not_there():
    truth = np.array([[[1, 2]]], np.uint8)
    assert scored_voxels(truth, ignore_ids=[2**63, 257]).all()
    large = np.array([[[2**63 + 1, 2**63]]], np.uint64)
    assert scored_voxels(large, ignore_ids=[2**63]).tolist() == [[[True, False]]]


def test_nothing_left_a_wrong_shape_and_a_negative_band_are_errors():
    truth = np.array([[[1, 1]]])
    with pytest.raises(InputError, match="no voxel is left"):
        scored_voxels(truth, ignore_ids=[1])
    with pytest.raises(InputError, match="mask has shape"):
        scored_voxels(truth, mask=np.ones((1, 1, 3)))
    with pytest.raises(InputError, match="-1 pixels"):
        scored_voxels(truth, ignore_band=-1)


def two_neurons():
    truth = np.zeros((2, 6, 9), np.uint64)
    truth[:, :, :4], truth[:, :, 5:] = 5, 8
    return truth


def test_an_error_outside_the_mask_counts_in_no_score():
    truth = two_neurons()
    wrong = truth.copy()
    wrong[0, :3] = 77
    scored = np.ones(truth.shape, bool)
    scored[0] = False
    scores = evaluate_labels(wrong, truth, scored=scored)
    assert (scores.volume.arand_error, scores.volume.voi_split, scores.volume.voi_merge) == (
        0,
        0,
        0,
    )
    assert [row.section for row in scores.sections] == [1]
    assert scores.section_boundary.v_rand == 1
    assert evaluate_labels(wrong, truth).volume.arand_error > 0


def test_scoring_everything_is_the_default():
    truth = two_neurons()
    wrong = np.roll(truth, 1, axis=2)
    everything = np.ones(truth.shape, bool)
    assert evaluate_labels(wrong, truth, scored=everything) == evaluate_labels(wrong, truth)
    probability = (wrong == 0) * 0.8
    assert evaluate_map(probability, truth, truth_kind="labels", scored=everything) == evaluate_map(
        probability, truth, truth_kind="labels"
    )


def test_a_map_is_scored_inside_the_mask_only():
    truth = two_neurons()
    probability = np.where(truth == 0, 1.0, 0.0)
    probability[0, 3, 4] = 0
    scored = np.ones(truth.shape, bool)
    scored[0] = False
    whole = evaluate_map(probability, truth, truth_kind="labels", thresholds=(0.5,))
    inside = evaluate_map(probability, truth, truth_kind="labels", thresholds=(0.5,), scored=scored)
    assert whole.best_v_rand.v_rand < inside.best_v_rand.v_rand == 1

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pipeline.errors import InputError
from pipeline.evaluation import score_labels, score_map, truth_sections
from pipeline.evaluation.foreground import score_section, v_info, v_rand
from pipeline.evaluation.isbi import best
from pipeline.evaluation.thinning import cell_components, cell_mask, thin

VECTORS = Path(
    os.environ.get(
        "ISBI_METRIC_VECTORS", Path(__file__).parents[1] / "data" / "isbi_metric_vectors"
    )
)
masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: hnp.arrays(np.bool_, shape)
)
sections = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 3)),
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 3)).filter(np.any),
    )
)


def reference_scores(segments, truth):
    """V_rand and V_info from a dense table with a column for every boundary pixel."""
    kept = truth > 0
    segments, truth = segments[kept].astype(int), truth[kept].astype(int)
    single = segments == 0
    segments[single] = 1000 + np.arange(single.sum())
    joint = np.zeros((truth.max() + 1, segments.max() + 1))
    np.add.at(joint, (truth, segments), 1 / truth.size)
    true, proposed = joint.sum(1), joint.sum(0)

    def bits(shares):
        return -sum(share * np.log2(share) for share in shares.ravel() if share > 0)

    rand = (joint**2).sum() / (0.5 * (proposed**2).sum() + 0.5 * (true**2).sum())
    ends = bits(proposed) + bits(true)
    info = 2 * (ends - bits(joint)) / ends if ends > 1e-12 else 1.0
    return rand, info


@settings(deadline=None)
@given(sections)
def test_scores_equal_a_dense_table(pair):
    segments, truth = pair
    expected = reference_scores(segments, truth)
    assert (v_rand(*pair).score, v_info(*pair).score) == pytest.approx(expected, abs=1e-9)


def test_v_rand_of_a_false_merge_known_by_hand():
    truth = np.array([[1, 1, 0, 2, 2]])
    score = v_rand(np.ones_like(truth), truth)
    assert (score.split, score.merge) == (1, 0.5)
    assert score.score == pytest.approx(2 / 3)


def test_v_info_of_a_false_split_known_by_hand():
    # H(T) = 1 bit, H(S) = 1.5 bits, I = 1 bit.
    truth = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2]])
    segments = np.array([[1, 1, 1, 1, 0, 2, 2, 3, 3]])
    score = v_info(segments, truth)
    assert score.split == pytest.approx(2 / 3)
    assert score.merge == pytest.approx(1)
    assert score.score == pytest.approx(2 / 2.5)


def test_every_boundary_pixel_inside_a_cell_is_a_segment_of_its_own():
    truth = np.ones((1, 4), int)
    erased = np.array([[0, 0, 5, 5]])
    singles = np.array([[1, 2, 5, 5]])
    assert v_rand(erased, truth) == v_rand(singles, truth)
    assert v_rand(erased, truth).split == pytest.approx((4 + 1 + 1) / 16)


def test_alpha_moves_the_score_between_its_sides():
    truth, merged = np.array([[1, 1, 2, 2]]), np.ones((1, 4), int)
    assert v_rand(merged, truth, alpha=1).score == v_rand(merged, truth).merge
    assert v_rand(merged, truth, alpha=0).score == v_rand(merged, truth).split
    split = np.array([[1, 2, 3, 3]])
    assert v_info(split, truth, alpha=0).score == v_info(split, truth).split
    assert v_info(split, truth, alpha=1).score == v_info(split, truth).merge


def test_one_true_segment_found_as_one_is_perfect():
    score = v_info(np.full((3, 7), 4), np.full((3, 7), 2))
    assert (score.score, score.split, score.merge) == (1, 1, 1)


def test_a_thick_membrane_is_thinned_to_its_middle():
    cell = np.array([[1, 1, 0, 0, 0, 1, 1]] * 3, bool)
    assert np.array_equal(thin(cell), [[1, 1, 1, 0, 2, 2, 2]] * 3)


def test_membrane_that_separates_nothing_disappears():
    cell = np.ones((5, 5), bool)
    cell[2, 1:3] = False
    assert np.array_equal(thin(cell), np.ones((5, 5)))


def test_an_image_without_cells_is_one_segment():
    assert np.array_equal(thin(np.zeros((2, 3), bool)), np.ones((2, 3)))


@settings(deadline=None)
@given(masks)
def test_thinning_grows_each_component_and_never_lets_two_touch(cell):
    components, segments = cell_components(cell), thin(cell)
    if cell.any():
        seen = {(int(c), int(s)) for c, s in zip(components[cell], segments[cell], strict=True)}
        assert len(seen) == len(dict(seen)) == components.max() == segments.max()
    for axis in (0, 1):
        here, beyond = np.moveaxis(segments, axis, 0)[:-1], np.moveaxis(segments, axis, 0)[1:]
        assert ((here == beyond) | (here == 0) | (beyond == 0)).all()


def test_a_line_that_is_thin_already_stays():
    cell = ~np.eye(7, 12, k=5, dtype=bool)
    cell[:, 2] = False
    assert np.array_equal(thin(cell) > 0, cell)


def test_touching_labels_get_a_line_of_one_pixel():
    labels = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 3, 3]])
    assert np.array_equal(cell_mask(labels), [[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])


def test_labels_with_zeros_between_them_lose_no_pixel():
    labels = np.array([[1, 1, 0, 2, 2], [0, 0, 0, 0, 2]])
    assert np.array_equal(cell_mask(labels), labels > 0)


@settings(deadline=None)
@given(sections)
def test_cell_pixels_that_touch_have_one_id_whatever_the_names(pair):
    labels, _ = pair
    before = labels.copy()
    cell = cell_mask(labels)
    components, count = ndimage.label(cell)
    assert all(np.unique(labels[components == i]).size == 1 for i in range(1, count + 1))
    assert np.array_equal(cell_mask(np.array([0, 30, 10, 20])[labels]), cell)
    assert np.array_equal(labels, before)


def test_true_segments_are_numbered_apart_in_each_section():
    mask = np.array([[[255, 0, 255]], [[0, 255, 255]]], np.uint8)
    assert np.array_equal(truth_sections(mask, kind="mask"), [[[1, 0, 2]], [[0, 1, 1]]])


def test_truth_kind_decides_whether_ids_separate():
    ids = np.array([[[4, 4, 4, 9, 9]]])
    assert np.array_equal(truth_sections(ids, kind="mask"), [[[1, 1, 1, 1, 1]]])
    assert np.array_equal(truth_sections(ids, kind="labels"), [[[1, 1, 0, 2, 2]]])


def test_true_cells_that_touch_by_a_corner_are_two():
    mask = np.array([[[1, 0], [0, 1]]])
    assert truth_sections(mask, kind="mask").max() == 2


def test_two_profiles_of_one_neuron_are_no_false_merge():
    neuron = np.zeros((1, 5, 9), np.uint64)
    neuron[0, :, :4], neuron[0, :, 5:] = 7, 7
    truth = truth_sections(neuron, kind="mask")
    (score,) = score_labels(neuron, truth)
    assert (score.v_rand, score.v_info) == (1, 1)
    assert v_rand(neuron[0], truth[0]).score == pytest.approx(2 / 3)


def test_sections_without_true_cells_are_not_scored():
    truth = np.array([[[0, 0, 0]], [[1, 0, 2]]])
    scores = score_labels(truth, truth)
    assert scores[0] is None
    assert scores[1].v_rand == 1
    only = score_map((truth == 0).astype(float), truth, [0.5])
    assert only[0].v_rand == 1


def test_a_pixel_is_cell_only_above_the_threshold():
    boundary = np.array([[[0.0, 0.0, 0.5, 0.0, 0.0]]])
    truth = np.array([[[1, 1, 0, 2, 2]]])
    at, below = score_map(boundary, truth, [0.5, 0.49])
    assert (at.threshold, at.v_rand) == (0.5, 1)
    assert below.v_rand == pytest.approx(2 / 3)


def test_a_byte_map_stands_for_shares_of_255():
    rng = np.random.default_rng(0)
    boundary = rng.integers(0, 256, (2, 12, 12)).astype(np.uint8)
    truth = rng.integers(0, 3, (2, 12, 12))
    rows = score_map(boundary, truth)
    assert rows == score_map(boundary / 255, truth)
    assert len({row.v_rand for row in rows}) > 3
    assert [row.threshold for row in rows] == pytest.approx(np.arange(11) / 10)


def test_a_map_averages_its_sections_and_the_best_rows_are_found():
    truth = np.array([[[1, 1, 0, 2, 2]], [[1, 1, 1, 0, 2]]])
    boundary = np.array([[[0, 0, 0.8, 0, 0]], [[0, 0, 0, 0.3, 0]]])
    rows = score_map(boundary, truth, [0.1, 0.5, 0.8])
    # Cell is 0.2 on the line of the first section, 0.7 on that of the second.
    merged = [score_section(np.ones((1, 5), int), section).v_rand for section in truth]
    assert rows[0].v_rand == pytest.approx(sum(merged) / 2)
    assert rows[1].v_rand == pytest.approx((1 + merged[1]) / 2)
    assert (rows[2].v_rand, rows[2].v_info) == (1, 1)
    assert best(rows, "v_rand") == best(rows, "v_info") == rows[2]


@pytest.mark.parametrize(
    ("boundary", "message"),
    [
        (np.full((1, 2, 2), 1.5), "1.5"),
        (np.full((1, 2, 2), np.nan), "nan"),
        (np.full((1, 2, 2), 7, np.uint16), "uint16"),
        (np.zeros((1, 2, 3)), r"\(1, 2, 3\).*\(1, 2, 2\)"),
        (np.zeros((2, 2)), "z, y, x"),
    ],
)
def test_maps_that_are_no_boundary_probability_are_refused(boundary, message):
    with pytest.raises(InputError, match=message):
        score_map(boundary, np.ones((1, 2, 2), int))


def test_truth_without_cells_or_of_unknown_kind_is_refused():
    with pytest.raises(InputError, match="no foreground"):
        truth_sections(np.zeros((1, 2, 2), int), kind="labels")
    with pytest.raises(InputError, match="membranes"):
        truth_sections(np.ones((1, 2, 2), int), kind="membranes")
    with pytest.raises(InputError, match="threshold"):
        score_map(np.zeros((1, 2, 2)), np.ones((1, 2, 2), int), [])


@pytest.mark.skipif(
    not VECTORS.is_dir(), reason="set ISBI_METRIC_VECTORS to the folder of the challenge's vectors"
)
class TestOutputOfTheChallengeProgram:
    """truth.tif, map.tif, thinned.tif, and what the challenge's own program gives for them."""

    @pytest.fixture(scope="class")
    @staticmethod
    def expected():
        return json.loads((VECTORS / "expected.json").read_text())

    @pytest.fixture(scope="class")
    @staticmethod
    def truth():
        return truth_sections(tifffile.imread(VECTORS / "truth.tif"), kind="mask")

    def test_a_thinned_proposal_scores_the_same(self, expected, truth):
        (row,) = score_map(255 - tifffile.imread(VECTORS / "thinned.tif"), truth, [0])
        (official,) = expected["thinned.tif"]
        assert row.v_rand == pytest.approx(official["v_rand"], abs=1e-6)
        assert row.v_info == pytest.approx(official["v_info"], abs=1e-6)

    def test_a_map_scores_the_same_but_for_ties_of_the_thinning(self, expected, truth):
        rows = score_map(1 - tifffile.imread(VECTORS / "map.tif").astype(np.float64), truth)
        for row, official in zip(rows, expected["map.tif"], strict=True):
            assert row.threshold == pytest.approx(official["threshold"])
            assert row.v_rand == pytest.approx(official["v_rand"], abs=5e-4)
            assert row.v_info == pytest.approx(official["v_info"], abs=5e-4)
        largest = expected["map.tif max over thresholds 0..1 step .1"]
        assert best(rows, "v_rand").v_rand == pytest.approx(largest["max_v_rand"], abs=1e-4)
        assert best(rows, "v_info").v_info == pytest.approx(largest["max_v_info"], abs=1e-4)

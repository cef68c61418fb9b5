import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.evaluation.skeletons import Skeletons, expected_run_length, nodes_inside, read_swc


def straight(*lengths):
    """One straight skeleton a number: as many edges of 10 nm along x."""
    positions, owners, edges = [], [], []
    for owner, length in enumerate(lengths):
        first = len(positions)
        positions += [(0.0, 100.0 * owner, 10.0 * n) for n in range(length + 1)]
        owners += [owner] * (length + 1)
        edges += [(first + n, first + n + 1) for n in range(length)]
    return Skeletons(np.array(positions), np.array(owners), np.array(edges))


def slow_run_length(skeletons, labels):
    """Sum over skeletons and labels, one by one."""
    edges = [
        (skeletons.skeleton[a], labels[a], labels[b],
         np.linalg.norm(skeletons.positions[a] - skeletons.positions[b]))
        for a, b in skeletons.edges
    ]  # fmt: skip
    squares = 0.0
    for owner, label in itertools.product(set(skeletons.skeleton), set(labels) - {0}):
        if len(set(skeletons.skeleton[labels == label])) == 1:
            run = sum(length for o, a, b, length in edges if o == owner and a == b == label)
            squares += run**2
    return squares / sum(edge[-1] for edge in edges)


def test_a_perfect_segmentation_reaches_the_perfect_run_length():
    found = expected_run_length(straight(3, 1), np.array([5, 5, 5, 5, 8, 8]))
    assert found.expected_nm == found.perfect_nm == (30**2 + 10**2) / 40
    assert (found.length_nm, found.correct, found.mergers) == (40, 1, 0)


def test_a_split_in_the_middle_halves_the_run_and_costs_its_edge():
    found = expected_run_length(straight(5), np.array([1, 1, 1, 2, 2, 2]))
    assert found.expected_nm == (20**2 + 20**2) / 50
    assert (found.correct, found.split, found.merged, found.omitted) == (0.8, 0.2, 0, 0)


def test_edges_in_a_merged_segment_have_no_length():
    found = expected_run_length(straight(2, 2), np.array([1, 1, 1, 3, 1, 1]))
    assert found.expected_nm == 0
    assert (found.merged, found.split, found.mergers) == (0.75, 0.25, 1)


def test_label_zero_is_no_segment_and_merges_nothing():
    found = expected_run_length(straight(3, 1), np.array([4, 4, 0, 0, 0, 0]))
    assert found.expected_nm == 10**2 / 40
    assert (found.correct, found.omitted, found.mergers) == (0.25, 0.75, 0)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=9, max_size=9),
    st.permutations(range(1, 5)),
    st.integers(0, 2**16),
)
def test_it_equals_the_slow_definition_under_any_names_and_order(labels, names, seed):
    labels = np.array(labels)
    skeletons = straight(3, 2, 1)
    found = expected_run_length(skeletons, labels)
    assert found.expected_nm == pytest.approx(slow_run_length(skeletons, labels))
    shares = (found.correct, found.split, found.merged, found.omitted)
    assert sum(shares) == pytest.approx(1)
    assert found.expected_nm <= found.perfect_nm
    order = np.random.default_rng(seed).permutation(6)
    shuffled = Skeletons(skeletons.positions, skeletons.skeleton, skeletons.edges[order, ::-1])
    renamed = expected_run_length(shuffled, np.array([0, *names])[labels])
    assert renamed.expected_nm == pytest.approx(found.expected_nm)
    assert renamed.mergers == found.mergers


@settings(deadline=None)
@given(st.lists(st.integers(1, 3), min_size=9, max_size=9), st.integers(0, 8))
def test_cutting_off_a_segment_never_makes_a_run_longer(labels, node):
    labels = np.array(labels)
    skeletons = straight(8)
    assume(len(set(labels)) > 1)
    cut = np.where(np.arange(9) >= node, labels + 10, labels)
    before, after = (expected_run_length(skeletons, ids).expected_nm for ids in (labels, cut))
    assert after <= before + 1e-9


def test_nodes_lie_in_the_nearest_voxel_and_those_outside_are_dropped():
    skeletons = Skeletons(
        np.array([[0, 0, 0], [29.0, 4.9, 8], [29.0, 5.1, 8], [70, 0, 0], [0, 0, -6]], float),
        np.zeros(5, np.int64),
        np.array([[0, 1], [1, 2], [2, 3], [3, 4]]),
    )
    inside, voxels = nodes_inside(skeletons, (2, 3, 4), (40, 10, 5))
    assert voxels.tolist() == [[0, 0, 0], [1, 0, 2], [1, 1, 2]]
    assert inside.edges.tolist() == [[0, 1], [1, 2]]
    _, later = nodes_inside(skeletons, (1, 3, 4), (40, 10, 5), (1, 0, 0))
    assert later.tolist() == [[0, 0, 2], [0, 1, 2]]


def test_swc_files_are_read_one_skeleton_each(tmp_path: Path):
    (tmp_path / "b.swc").write_text("# nm\n7 0 1 2 3 1 -1\n9 0 4 2 3 1 7\n8 0 4 6 3 1 9\n")
    (tmp_path / "a.swc").write_text("1 2 10 20 30 0.5 -1\n\n")
    skeletons = read_swc(tmp_path)
    assert skeletons.positions.tolist() == [[30, 20, 10], [3, 2, 1], [3, 2, 4], [3, 6, 4]]
    assert skeletons.skeleton.tolist() == [0, 1, 1, 1]
    assert skeletons.edges.tolist() == [[2, 1], [3, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 1 2", r"a\.swc, line 1: '1 0 1 2' is not 'node type"),
        ("1 0 1 2 3 1 -1\n2 0 x 2 3 1 1", "line 2"),
        ("1 0 nan 2 3 1 -1", "not finite"),
        ("1 0 1 2 3 1 4", "node 4 is named as a parent"),
    ],
)
def test_broken_swc_files_are_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "a.swc").write_text(text)
    with pytest.raises(InputError, match=message):
        read_swc(tmp_path)


def test_a_folder_without_skeletons_and_skeletons_without_length_are_errors(tmp_path: Path):
    with pytest.raises(InputError, match=r"no \.swc files"):
        read_swc(tmp_path)
    point = Skeletons(np.zeros((1, 3)), np.zeros(1, np.int64), np.empty((0, 2), np.int64))
    with pytest.raises(InputError, match="no length"):
        expected_run_length(point, np.array([3]))

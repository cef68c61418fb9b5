"""Kernels of the benchmarks."""

from __future__ import annotations

import numpy as np

from benchmarks.quality import moved_nodes, thresholded


def test_renamed_clusters_move_no_node() -> None:
    assert moved_nodes(np.array([1, 1, 2, 3], np.uint64), np.array([7, 7, 5, 6], np.uint64)) == 0


def test_a_split_moves_its_smaller_part() -> None:
    assert moved_nodes(np.array([1, 1, 1, 2], np.uint64), np.array([1, 1, 3, 2], np.uint64)) == 1


def test_a_merge_moves_the_smaller_cluster() -> None:
    assert moved_nodes(np.array([1, 1, 2], np.uint64), np.array([1, 1, 1], np.uint64)) == 1


def test_thresholded_map_is_split_at_its_boundary_and_filled() -> None:
    boundaries = np.zeros((2, 4, 5), np.uint8)
    boundaries[:, :, 2] = 255
    labels = thresholded(boundaries, 0.5, flat=False)
    assert (labels > 0).all()
    assert len(np.unique(labels)) == 2
    assert labels[0, 0, 0] == labels[1, 3, 1] != labels[0, 0, 4]
    before = boundaries.copy()
    thresholded(boundaries, 0.5, flat=True)
    assert (boundaries == before).all()

"""Samples against a slow scan of all faces and voxels; id 0 has none."""

from __future__ import annotations

import numpy as np
import pytest
from defective_sections import corrected, corrections_of, slow_steps
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import Halo
from pipeline.features import runs as runs_module
from pipeline.features.samples import edge_samples, node_samples
from pipeline.grid import blocks, faces_box, faces_of, whole


def patches(seed, shape=(5, 7, 9), ids=5, patch=(1, 2, 3)):
    """Superpixels of a few voxels; some masked, ids far apart."""
    coarse = np.random.default_rng(seed).integers(0, ids, shape)
    labels = np.kron(coarse, np.ones(patch, int))[: shape[0], : shape[1], : shape[2]]
    return np.where(labels > 0, labels.astype(np.uint64) * np.uint64(2**61) // 3 + 1, 0).astype(
        np.uint64
    )


def listed(samples):
    """Set of (lower, upper) flat positions by id or pair of ids."""
    found = {}
    for group, ids in enumerate(samples.ids.tolist()):
        key = tuple(np.atleast_1d(np.array(ids, np.uint64)).tolist())
        places = []
        for run in range(samples.first[group], samples.first[group + 1]):
            lower = samples.start[run] + np.arange(samples.length[run])
            places += zip(lower.tolist(), (lower + samples.step[run]).tolist(), strict=True)
        assert len(set(places)) == len(places) == samples.count[group]
        found[key] = set(places)
    return found


def slow_edges(superpixels, corrections):
    """Pair of ids -> lower and upper voxel of every face of the volume, as flat positions."""
    found, shape = {}, superpixels.shape
    steps = slow_steps(corrections)
    steps += [(z, step) for z in range(shape[0]) for step in ((0, 1, 0), (0, 0, 1))]
    for z, step in steps:
        for y, x in np.ndindex(shape[1:]):
            lower = z, y, x
            upper = z + step[0], y + step[1], x + step[2]
            if not all(0 <= n < size for n, size in zip(upper, shape, strict=True)):
                continue
            u, v = sorted([int(superpixels[lower]), int(superpixels[upper])])
            if u and u != v:
                pair = tuple(int(np.ravel_multi_index(at, shape)) for at in (lower, upper))
                found.setdefault((u, v), set()).add(pair)
    return found


def of_block(found, block):
    """The faces whose lower voxel lies in a block."""
    index = np.arange(np.prod(block.volume_shape)).reshape(block.volume_shape)
    own = set(index[block.write.slices].ravel().tolist())
    here = {pair: {face for face in faces if face[0] in own} for pair, faces in found.items()}
    return {pair: faces for pair, faces in here.items() if faces}


def in_volume(found, box, shape):
    """Flat positions in a box as those in the volume."""

    def moved(place):
        at = np.unravel_index(place, box.shape)
        return int(np.ravel_multi_index([n + b for n, b in zip(at, box.begin, strict=True)], shape))

    return {k: {(moved(a), moved(b)) for a, b in pairs} for k, pairs in found.items()}


def edges_of(block, superpixels, corrections):
    faces = faces_of(block, corrections)
    box = faces_box(block, faces)
    return edge_samples(faces, box, superpixels[box.slices]), box


@settings(max_examples=20, deadline=None)
@given(
    corrections=corrections_of(5, slip=3),
    seed=st.integers(0, 1000),
    block_shape=st.tuples(st.integers(1, 5), st.integers(3, 7), st.integers(4, 9)),
)
def test_edges_have_one_sample_per_face_of_the_block(corrections, seed, block_shape):
    superpixels = patches(seed)
    slow = slow_edges(superpixels, corrections)
    for block in blocks(superpixels.shape, block_shape):
        samples, box = edges_of(block, superpixels, corrections)
        found = in_volume(listed(samples), box, superpixels.shape)
        assert found == of_block(slow, block)
        assert samples.ids.tolist() == sorted(samples.ids.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_nodes_have_one_sample_per_voxel_of_the_block(seed):
    superpixels = patches(seed)
    index = np.arange(superpixels.size).reshape(superpixels.shape)
    for block in blocks(superpixels.shape, (3, 4, 5), Halo.symmetric(1, 2, 3)):
        samples = node_samples(block.write, block.read, superpixels[block.read.slices])
        here, places = superpixels[block.write.slices], index[block.write.slices]
        slow = {
            (int(i),): {(int(p), int(p)) for p in places[here == i]} for i in np.unique(here) if i
        }
        assert in_volume(listed(samples), block.read, superpixels.shape) == slow
        assert samples.ids.tolist() == sorted(samples.ids.tolist())


def test_masked_voxels_have_no_sample():
    superpixels = np.array([[[0, 5, 5, 0, 7, 7]]], np.uint64)
    box = whole(superpixels.shape).write
    assert len(edges_of(whole(superpixels.shape), superpixels, corrected(1))[0].ids) == 0
    assert node_samples(box, box, superpixels).ids.tolist() == [5, 7]
    nothing = np.zeros_like(superpixels)
    assert node_samples(box, box, nothing).count.tolist() == []


def test_tables_that_grow_lose_nothing():
    superpixels = np.random.default_rng(5).permutation(30 * 31 * 32).astype(np.uint64)
    superpixels = superpixels.reshape(30, 31, 32)  # 0: one masked voxel
    samples, _ = edges_of(whole(superpixels.shape), superpixels, corrected(30))
    z, y, x = superpixels.shape
    faces = (z - 1) * y * x + z * (y - 1) * x + z * y * (x - 1)
    masked = np.argwhere(superpixels == 0)[0]
    around = sum(int(m > 0) + int(m < n - 1) for m, n in zip(masked, (z, y, x), strict=True))
    assert len(samples.ids) > 2 * runs_module.FIRST_SLOTS
    assert len(samples.ids) == len(samples.start) == faces - around
    assert samples.ids.tolist() == sorted(samples.ids.tolist())
    flat = superpixels.ravel()
    ends = np.stack([flat[samples.start], flat[samples.start + samples.step]], 1)
    assert np.array_equal(np.sort(ends, 1), samples.ids)

"""Samples against a slow scan of all faces and voxels; id 0 has none."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contract import Halo
from pipeline.features import runs as runs_module
from pipeline.features.samples import edge_samples, node_samples, sampled_box
from pipeline.grid import blocks, whole

REACH = Halo(above=(1, 1, 1))


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
    for group, key in enumerate(samples.ids.reshape(len(samples.ids), -1).tolist()):
        places = []
        for run in range(samples.first[group], samples.first[group + 1]):
            lower = samples.start[run] + np.arange(samples.length[run])
            places += zip(lower.tolist(), (lower + samples.step[run]).tolist(), strict=True)
        assert len(set(places)) == len(places) == samples.count[group]
        found[tuple(key)] = set(places)
    return found


def slow_edges(block, superpixels):
    found = {}
    index = np.arange(superpixels.size).reshape(superpixels.shape)
    for z, y, x in np.ndindex(block.write.shape):
        for upper in [(z + 1, y, x), (z, y + 1, x), (z, y, x + 1)]:
            if any(u >= n for u, n in zip(upper, superpixels.shape, strict=True)):
                continue
            u, v = sorted([int(superpixels[z, y, x]), int(superpixels[upper])])
            if u and u != v:
                found.setdefault((u, v), set()).add((int(index[z, y, x]), int(index[upper])))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_edges_have_one_sample_per_face_of_the_block(seed):
    superpixels = patches(seed)
    for block in blocks(superpixels.shape, (3, 4, 5), REACH):
        crop = superpixels[sampled_box(block).slices]
        samples = edge_samples(block, crop)
        assert listed(samples) == slow_edges(block, crop)
        assert samples.ids.tolist() == sorted(samples.ids.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_nodes_have_one_sample_per_voxel_of_the_block(seed):
    superpixels = patches(seed)
    for block in blocks(superpixels.shape, (3, 4, 5), REACH):
        crop = superpixels[sampled_box(block).slices]
        samples = node_samples(block, crop)
        written = np.zeros(crop.shape, bool)
        written[tuple(slice(0, n) for n in block.write.shape)] = True
        slow = {
            (int(i),): {(int(p), int(p)) for p in np.flatnonzero((crop == i) & written)}
            for i in np.unique(crop[written])
            if i
        }
        assert listed(samples) == slow
        assert samples.ids.tolist() == sorted(samples.ids.tolist())


def test_masked_voxels_have_no_sample():
    superpixels = np.array([[[0, 5, 5, 0, 7, 7]]], np.uint64)
    block = whole(superpixels.shape)
    assert len(edge_samples(block, superpixels).ids) == 0
    assert node_samples(block, superpixels).ids.tolist() == [5, 7]
    nothing = np.zeros_like(superpixels)
    assert node_samples(block, nothing).count.tolist() == []


def test_tables_that_grow_lose_nothing():
    superpixels = np.random.default_rng(5).permutation(30 * 31 * 32).astype(np.uint64)
    superpixels = superpixels.reshape(30, 31, 32)  # 0: one masked voxel
    samples = edge_samples(whole(superpixels.shape), superpixels)
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

"""Slow, independent versions of the watershed's steps, by scipy and scikit-image."""

from __future__ import annotations

import heapq
import itertools

import numpy as np
from scipy import ndimage
from skimage.measure import label


def reference_levels(boundary, pitch, sigma, cap, levels_per_voxel):
    """Capped distance in quarters of a voxel, smoothed, in levels; before rounding."""
    distance = np.full(boundary.shape, float(cap))
    if boundary.any():
        distance = np.minimum(
            ndimage.distance_transform_edt(~boundary, sampling=pitch) / 4, distance
        )
    smooth = ndimage.gaussian_filter(distance, sigma, mode="nearest", truncate=3.0)
    return smooth * levels_per_voxel


def reference_seeds(levels, origin, cell, connectivity):
    """Plateau pieces without a higher neighbour, whole, and their first voxels."""
    structure = ndimage.generate_binary_structure(levels.ndim, connectivity)
    higher = ndimage.maximum_filter(levels, footprint=structure, mode="nearest") > levels
    parity = np.zeros(levels.shape, int)
    for axis, (start, step) in enumerate(zip(origin, cell, strict=True)):
        own = np.arange(start, start + levels.shape[axis]) // step % 2
        shape = [-1 if other == axis else 1 for other in range(levels.ndim)]
        parity = parity + (own.reshape(shape) << axis)
    keyed = np.where(levels < 0, -1, levels.astype(np.int64) * 8 + parity)
    pieces = label(keyed, background=-1, connectivity=connectivity)
    markers, first = np.zeros(levels.shape, np.int32), []
    for piece in range(1, pieces.max() + 1):
        inside = pieces == piece
        if not higher[inside].any():
            first.append(int(np.flatnonzero(inside)[0]))
            markers[inside] = len(first)
    return markers, first


def reference_flood(height, markers, mask):
    """Voxels leave a heap by height, then by age; neighbours enter in ascending order."""
    labels = np.where(mask, markers, 0)
    heap = []
    ahead = np.eye(height.ndim, dtype=int)
    steps = [*-ahead, *ahead[::-1]]

    def spread(voxel):
        for step in steps:
            other = tuple(np.add(voxel, step))
            inside = all(0 <= i < n for i, n in zip(other, height.shape, strict=True))
            if inside and mask[other] and not labels[other]:
                labels[other] = labels[voxel]
                heapq.heappush(heap, (int(height[other]), next(age), other))

    age = itertools.count()
    for seed in np.argwhere(labels):
        spread(tuple(seed))
    while heap:
        spread(heapq.heappop(heap)[2])
    return labels

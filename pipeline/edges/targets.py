"""What a forest learns from: true cut or join of pairs of superpixels.

The chance that random voxels of u and v belong to different neurons is
``d = 1 - sum_l P_u(l) P_v(l)``, with P the superpixel's fractions over true labels. Above
0.6 (``cut_above``) the pair is cut, below 0.4 (``join_below``) joined; what lies between teaches
nothing and is left out.

Where only membranes are known, the cells of one section have ids of their own, so pairs of
superpixels in different sections teach nothing either.

After Beier et al., "Multicut brings automated neurite segmentation closer to human
performance", Nature Methods 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.sparse import coo_array, csr_array

from pipeline.errors import InputError

CHUNK_PAIRS = 1 << 18


@dataclass(frozen=True, eq=False)
class Overlaps:
    """How superpixels overlap with true labels.

    Parameters
    ----------
    fractions
        (n, l) sparse float64, share of each true label among a superpixel's labelled voxels;
        rows sum to 1, or to 0 where no voxel is labelled.
    labelled
        (n,) float64, share of a superpixel's voxels that have a true label (not 0).
    """

    fractions: csr_array
    labelled: NDArray[np.float64]


def contingency(
    superpixels: NDArray[np.uint64], truth: NDArray[Any], node_ids: NDArray[np.uint64]
) -> tuple[csr_array, NDArray[Any]]:
    """Voxels that each superpixel shares with each true label.

    Parameters
    ----------
    superpixels
        (Z, Y, X) uint64, 0 = masked, left out.
    truth
        (Z, Y, X) unsigned integers, 0 = unlabelled; counted like any label.
    node_ids
        (n,) uint64, sorted; all superpixels must be among them.

    Returns
    -------
    counts
        (n, l) sparse int64.
    labels
        (l,) the sorted true labels of its columns.

    Raises
    ------
    InputError
        If the shapes differ or a superpixel is not among ``node_ids``.
    """
    if superpixels.shape != truth.shape:
        raise InputError(f"superpixels {superpixels.shape} and truth {truth.shape} differ in shape")
    inside = superpixels != 0
    found, fragment = np.unique(superpixels[inside], return_inverse=True)
    row = np.searchsorted(node_ids, found)
    known = row < len(node_ids)
    known[known] = node_ids[row[known]] == found[known]
    if not known.all():
        raise InputError(f"superpixel {found[~known][0]} is not among the {len(node_ids)} nodes")
    labels, column = np.unique(truth[inside], return_inverse=True)
    width = max(len(labels), 1)
    pair, voxels = np.unique(row[fragment] * width + column, return_counts=True)
    shape = (len(node_ids), len(labels))
    return coo_array((voxels, (pair // width, pair % width)), shape=shape).tocsr(), labels


def overlaps(
    superpixels: NDArray[np.uint64], truth: NDArray[Any], node_ids: NDArray[np.uint64]
) -> Overlaps:
    """Fractions of every superpixel over the true labels, 0 (unlabelled) left out.

    Parameters and errors are those of ``contingency``.
    """
    counts, labels = contingency(superpixels, truth, node_ids)
    total = np.asarray(counts.sum(axis=1), np.float64).ravel()
    real = counts[:, np.flatnonzero(labels != 0)].astype(np.float64).tocsr()
    inside = np.asarray(real.sum(axis=1)).ravel()
    scale = np.repeat(1 / np.maximum(inside, 1), np.diff(real.indptr))
    fractions = csr_array((real.data * scale, real.indices, real.indptr), shape=real.shape)
    return Overlaps(fractions, inside / np.maximum(total, 1))


def difference_probability(uv: NDArray[np.uint64], fractions: csr_array) -> NDArray[np.float64]:
    """``d`` of every pair: the chance that random labelled voxels of u and v differ.

    Parameters
    ----------
    uv
        (k, 2) uint64, rows of ``fractions``.
    fractions
        (n, l) sparse, rows sum to 1.

    Returns
    -------
    d
        (k,) float64, 0..1.
    """
    pairs = uv.astype(np.int64)
    same = np.zeros(len(pairs))
    for start in range(0, len(pairs), CHUNK_PAIRS):
        u, v = pairs[start : start + CHUNK_PAIRS].T
        same[start : start + CHUNK_PAIRS] = fractions[u].multiply(fractions[v]).sum(axis=1)
    return np.clip(1 - same, 0, 1)


def edge_targets(
    uv: NDArray[np.uint64],
    overlaps: Overlaps,
    *,
    min_overlap: float = 0.5,
    cut_above: float = 0.6,
    join_below: float = 0.4,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """True cut or join of regular or lifted edges, and which of them to learn from.

    Parameters
    ----------
    uv
        (k, 2) uint64, rows of the overlaps.
    overlaps
        Of all superpixels.
    min_overlap
        Share of labelled voxels, 0..1, that both superpixels need.
    cut_above, join_below
        ``d`` above which a pair is clearly cut, below which it is clearly joined, 0..1.

    Returns
    -------
    label
        (k,) uint8, 1 = cut, 0 = join.
    keep
        (k,) whether the label is clear and both superpixels are labelled enough.
    """
    d = difference_probability(uv, overlaps.fractions)
    enough = (overlaps.labelled >= min_overlap) & (overlaps.labelled > 0)
    both = enough[uv.astype(np.int64)].all(axis=1)
    return (d > 0.5).astype(np.uint8), both & ((d > cut_above) | (d < join_below))


def cells_of_sections(membranes: NDArray[np.bool_], *, min_voxels: int = 1) -> NDArray[np.uint64]:
    """Ids of the cells that membranes enclose, section by section.

    The ids of two sections are unrelated. Pixels that touch by a corner only are not connected,
    so that a membrane of one pixel's width separates also where it runs aslant.

    Parameters
    ----------
    membranes
        (Z, Y, X) bool, True = membrane.
    min_voxels
        Smaller cells become 0; holes in a membrane are no cells.

    Returns
    -------
    cells
        (Z, Y, X) uint64, 1 ... in z order; 0 = membrane.
    """
    cells = np.zeros(membranes.shape, np.uint64)
    last = 0
    for section, inside in zip(cells, ~membranes, strict=True):
        found, count = label(inside)
        large = np.bincount(found.ravel(), minlength=count + 1) >= min_voxels
        large[0] = False
        ids = np.where(large, last + np.cumsum(large), 0)
        section[...] = ids[found]
        last += int(large.sum())
    return cells


def same_section(uv: NDArray[np.uint64], box: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether both superpixels of a pair lie in one and the same section.

    Parameters
    ----------
    uv
        (k, 2) uint64, rows of ``box``.
    box
        (n, 6) int64, z0 y0 x0 z1 y1 x1 of every superpixel.

    Returns
    -------
    same
        (k,) bool.

    Raises
    ------
    InputError
        If a superpixel extends over several sections.
    """
    thick = box[:, 3] - box[:, 0] > 1
    if thick.any():
        raise InputError(
            f"{int(thick.sum())} of {len(box)} superpixels extend over several sections; "
            "membranes of single sections cannot teach them, give labels"
        )
    first, second = box[uv.astype(np.int64), 0].T
    same: NDArray[np.bool_] = first == second
    return same

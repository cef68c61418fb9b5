"""Expected run length: how far one follows a skeleton before the first error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple
from pipeline.errors import InputError


@dataclass(frozen=True)
class Skeletons:
    """Traced neurons.

    Parameters
    ----------
    positions
        (n, 3) float64, zyx, nanometres; voxel 0 has its centre at 0.
    skeleton
        (n,) int64, the skeleton that the node belongs to.
    edges
        (m, 2) int64, indices of nodes of the same skeleton.
    """

    positions: NDArray[np.float64]
    skeleton: NDArray[np.int64]
    edges: NDArray[np.int64]


@dataclass(frozen=True)
class RunLength:
    """Expected run length, and where the rest of the cable went.

    Parameters
    ----------
    expected_nm
        Mean length of the correct run in which a random point of all skeletons lies,
        nanometres; 0 for points that lie in no correct run.
    perfect_nm
        The same for a segmentation without errors: what ``expected_nm`` can reach.
    length_nm
        Of all skeletons, nanometres.
    correct, split, merged, omitted
        Shares of that length, together 1: edges whose ends lie in one segment of one
        skeleton; in two segments; in one segment that holds nodes of several skeletons; edges
        with an end in label 0.
    mergers
        Number of segments that hold nodes of several skeletons.
    """

    expected_nm: float
    perfect_nm: float
    length_nm: float
    correct: float
    split: float
    merged: float
    omitted: float
    mergers: int


def expected_run_length(skeletons: Skeletons, labels: NDArray[Any]) -> RunLength:
    """Expected run length of a segmentation.

    An edge is correct if both ends have the same label, not 0, and no other skeleton has a node
    with it. The correct edges of a skeleton with the same label are a run; the expected run
    length is the sum of squares of the lengths of runs, divided by the length of all edges.
    A split edge and every edge in a merged label have run length 0.

    Parameters
    ----------
    skeletons
        With at least one edge of positive length.
    labels
        (n,) ids at the nodes, 0 = none.

    Raises
    ------
    InputError
        If the skeletons have no length.

    References
    ----------
    Januszewski et al. 2018, Nature Methods 15:605.
    """
    first, second = skeletons.edges.T
    steps = skeletons.positions[first] - skeletons.positions[second]
    lengths = np.linalg.norm(steps, axis=1)
    whole = math.fsum(lengths.tolist())
    if not whole:
        raise InputError("the skeletons have no length within the volume: nothing to score")
    merging = _merging_labels(skeletons.skeleton, labels)
    here, there, owner = labels[first], labels[second], skeletons.skeleton[first]
    omitted = (here == 0) | (there == 0)
    split = ~omitted & (here != there)
    merged = ~omitted & ~split & np.isin(here, merging)
    correct = ~(omitted | split | merged)
    shares = [
        math.fsum(lengths[edges].tolist()) / whole for edges in (correct, split, merged, omitted)
    ]
    return RunLength(
        expected_nm=_run_length(owner[correct], here[correct], lengths[correct], whole),
        perfect_nm=_run_length(owner, np.ones_like(here), lengths, whole),
        length_nm=whole,
        correct=shares[0],
        split=shares[1],
        merged=shares[2],
        omitted=shares[3],
        mergers=merging.size,
    )


def nodes_inside(
    skeletons: Skeletons,
    shape: Triple,
    voxel_size_nm: tuple[float, float, float],
    origin: Triple = (0, 0, 0),
) -> tuple[Skeletons, NDArray[np.int64]]:
    """The nodes inside a volume, with the edges between them, and the voxels they lie in.

    Parameters
    ----------
    skeletons
        Edges with an end outside are dropped, and nothing is scored there.
    shape
        zyx, of the volume.
    voxel_size_nm
        zyx, nanometres; a node lies in the voxel whose centre is the nearest.
    origin
        zyx, voxel at which the volume begins.

    Returns
    -------
    inside, voxels
        ``voxels`` (n, 3) int64, zyx, from the volume's own first voxel.
    """
    voxels = np.floor(skeletons.positions / np.array(voxel_size_nm) + 0.5).astype(np.int64)
    voxels -= np.array(origin)
    inside = np.all((voxels >= 0) & (voxels < np.array(shape)), axis=1)
    number = np.cumsum(inside) - 1
    kept = Skeletons(
        skeletons.positions[inside],
        skeletons.skeleton[inside],
        number[skeletons.edges[inside[skeletons.edges].all(axis=1)]],
    )
    return kept, voxels[inside]


def read_swc(folder: Path) -> Skeletons:
    """Skeletons from a folder of SWC files, one a skeleton, in order of their names.

    Parameters
    ----------
    folder
        Files ``*.swc`` with lines ``node type x y z radius parent``; positions in nanometres,
        parent -1 = none; lines that begin with # are comments.

    Raises
    ------
    InputError
        If there is no such file, or a line cannot be read or names a parent that is not there.
    """
    files = sorted(folder.glob("*.swc"))
    if not files:
        raise InputError(f"{folder}: there are no .swc files")
    positions, owners, edges = [], [], []
    nodes = 0
    for owner, file in enumerate(files):
        where, links = _read_file(file)
        positions.append(where)
        owners.append(np.full(len(where), owner, np.int64))
        edges.append(links + nodes)
        nodes += len(where)
    return Skeletons(np.concatenate(positions), np.concatenate(owners), np.concatenate(edges))


def _read_file(file: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Positions zyx and edges, by row, of one SWC file."""
    rows: dict[int, int] = {}
    parents: list[int] = []
    positions: list[tuple[float, float, float]] = []
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            node, _, x, y, z, _, parent = line.split()[:7]
            rows[int(node)] = len(positions)
            parents.append(int(parent))
            positions.append((float(z), float(y), float(x)))
        except ValueError:
            raise InputError(
                f"{file}, line {number}: {line[:60]!r} is not 'node type x y z radius parent'"
            ) from None
        if not all(map(math.isfinite, positions[-1])):
            raise InputError(f"{file}, line {number}: the position {line[:60]!r} is not finite")
    lost = [parent for parent in parents if parent != -1 and parent not in rows]
    if lost:
        raise InputError(f"{file}: node {lost[0]} is named as a parent, but is not there")
    edges = [(row, rows[parent]) for row, parent in enumerate(parents) if parent != -1]
    return (
        np.array(positions, np.float64).reshape(-1, 3),
        np.array(edges, np.int64).reshape(-1, 2),
    )


def _merging_labels(skeleton: NDArray[np.int64], labels: NDArray[Any]) -> NDArray[np.uint64]:
    """Labels, not 0, at nodes of more than one skeleton, ascending."""
    pairs = np.unique(np.stack([labels.astype(np.uint64), skeleton.astype(np.uint64)]), axis=1)
    names, owners = np.unique(pairs[0], return_counts=True)
    merging: NDArray[np.uint64] = names[(owners > 1) & (names != 0)]
    return merging


def _run_length(
    skeleton: NDArray[np.int64], labels: NDArray[Any], lengths: NDArray[np.float64], whole: float
) -> float:
    """Sum of squares of the length of every (skeleton, label), over ``whole``."""
    order = np.lexsort((labels, skeleton))
    skeleton, labels, lengths = skeleton[order], labels[order], lengths[order]
    if not lengths.size:
        return 0.0
    starts = np.ones(lengths.size, bool)
    starts[1:] = (skeleton[1:] != skeleton[:-1]) | (labels[1:] != labels[:-1])
    runs = np.add.reduceat(lengths, np.flatnonzero(starts))
    return math.fsum((runs * runs).tolist()) / whole

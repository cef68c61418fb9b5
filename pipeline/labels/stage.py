"""Paint every superpixel with its neuron."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.contract import ArraySpec, Block, Inputs, Outputs, Resources, Stage, StageConfig
from pipeline.errors import OutputError


class LabelsConfig(StageConfig):
    """Which neurons are painted."""

    min_size_voxels: int = Field(
        0, ge=0, description="Neurons of fewer voxels become background; 0 = keep all."
    )


def drop_small(
    neuron: NDArray[np.uint64], size_voxels: NDArray[np.uint64], min_size_voxels: int
) -> NDArray[np.uint64]:
    """Neurons of at least a size, numbered consecutively in their old order.

    Parameters
    ----------
    neuron
        (n,) uint64, neuron of every node, 0 = background.
    size_voxels
        (n,) uint64, voxels of every node; a neuron's size is their sum over the volume.
    min_size_voxels
        Smaller neurons become 0.

    Returns
    -------
    kept
        (n,) uint64, consecutive from 1, 0 = background.
    """
    names, index = np.unique(neuron, return_inverse=True)
    total = np.zeros(len(names), np.uint64)
    np.add.at(total, index, size_voxels.astype(np.uint64))
    keep = (total >= np.uint64(min_size_voxels)) & (names != 0)
    return np.where(keep, np.cumsum(keep), 0).astype(np.uint64)[index]


def paint(
    superpixels: NDArray[np.uint64], ids: NDArray[np.uint64], neuron: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Replace every superpixel id by its neuron.

    Parameters
    ----------
    superpixels
        (Z, Y, X) uint64, 0 = masked and stays 0.
    ids
        (n,) uint64, sorted, without 0.
    neuron
        (n,) uint64, neuron of every id.

    Returns
    -------
    neurons
        (Z, Y, X) uint64, 0 = background.

    Raises
    ------
    OutputError
        If a superpixel has no node.
    """
    flat = superpixels.ravel()
    if not flat.size:
        return superpixels.copy()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    runs = np.diff(np.append(starts, flat.size))
    painted = np.repeat(_looked_up(flat[starts], ids, neuron), runs)
    return painted.reshape(superpixels.shape)


def _looked_up(
    values: NDArray[np.uint64], ids: NDArray[np.uint64], neuron: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    keys = np.concatenate([np.zeros(1, np.uint64), ids])
    row = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    unknown = np.flatnonzero(keys[row] != values)
    if len(unknown):
        raise OutputError(
            f"superpixel {values[unknown[0]]} is not among the {len(ids)} nodes of the graph: "
            "graph and superpixels are from different runs; run again with --overwrite"
        )
    return np.concatenate([np.zeros(1, np.uint64), neuron])[row]


def compute(block: Block, inputs: Inputs, config: LabelsConfig, resources: Resources) -> Outputs:
    """Neurons of one block; sizes are those in the whole volume."""
    nodes: dict[str, NDArray[Any]] = inputs["nodes"]
    neuron = drop_small(nodes["neuron"], nodes["size_voxels"], config.min_size_voxels)
    return {"neurons": paint(inputs["superpixels"][block.inner], nodes["id"], neuron)}


STAGE = Stage(
    name="labels",
    version=1,
    config=LabelsConfig,
    reads=("superpixels", "nodes"),
    writes=(ArraySpec("neurons", "uint64", "labels"),),
    compute=compute,
)

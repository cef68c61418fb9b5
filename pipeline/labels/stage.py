"""Paint every superpixel with its neuron.

Where small neurons are to become background, steps before the blocks find those that stay.

1. ``sizes``: a range of nodes each; voxels of every neuron within it.
2. ``kept``: a range of neurons each; those whose voxels add up to enough, in order.
3. Blocks: superpixel -> node -> neuron -> its place among those that stay; all by ranges.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.contract import (
    KEY,
    ROWS,
    ArraySpec,
    Block,
    Inputs,
    Outputs,
    Parts,
    Resources,
    Rows,
    Stage,
    StageConfig,
    Step,
)
from pipeline.errors import OutputError
from pipeline.tables import find, row_range, row_tasks, take


class LabelsConfig(StageConfig):
    """Which neurons are painted."""

    min_size_voxels: int = Field(
        0, ge=0, description="Neurons of fewer voxels become background; 0 = keep all."
    )
    input_geometry: bool = Field(
        True,
        description="Where a coarser pyramid level is segmented by itself, write the neurons on "
        "the input's finest grid, too.",
    )


def paint(
    superpixels: NDArray[np.uint64],
    neurons_of: Callable[[NDArray[np.uint64]], NDArray[np.uint64]],
) -> NDArray[np.uint64]:
    """Replace every superpixel id by its neuron.

    Parameters
    ----------
    superpixels
        (Z, Y, X) uint64, 0 = masked and stays 0.
    neurons_of
        (n,) uint64, sorted distinct ids without 0 -> (n,) uint64, their neurons.

    Returns
    -------
    neurons
        (Z, Y, X) uint64, 0 = background.
    """
    flat = superpixels.ravel()
    if not flat.size:
        return superpixels.copy()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    ids, run = np.unique(flat[starts], return_inverse=True)
    neurons = np.zeros(len(ids), np.uint64)
    neurons[ids != 0] = neurons_of(ids[ids != 0])
    return np.repeat(neurons[run], lengths).reshape(superpixels.shape)


def neurons_of_superpixels(nodes: Rows, ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(n,) superpixel ids -> (n,) their neurons, 0 = background.

    Raises
    ------
    OutputError
        If a superpixel has no node.
    """
    index = find(nodes, "id", ids)
    unknown = np.flatnonzero(index < 0)
    if len(unknown):
        raise OutputError(
            f"superpixel {ids[unknown[0]]} is not among the {nodes.count} nodes of the graph: "
            "graph and superpixels are from different runs; run again with --overwrite"
        )
    neurons: NDArray[np.uint64] = take(nodes, "neuron", index)
    return neurons


def places(neurons: NDArray[np.uint64], kept: Parts) -> NDArray[np.uint64]:
    """Consecutive numbers of the neurons that stay, in their old order.

    Parameters
    ----------
    neurons
        (n,) uint64.
    kept
        What step ``kept`` kept.

    Returns
    -------
    places
        (n,) uint64, 1 and on; 0 = the neuron does not stay.
    """
    before = np.concatenate([[0], np.cumsum(kept.counts("kept"))])
    found = np.zeros(len(neurons), np.uint64)
    part = (neurons // np.uint64(ROWS)).astype(np.int64)
    for number in np.unique(part[part < len(kept)]):
        here = np.flatnonzero(part == number)
        stay = kept[int(number)]["kept"][KEY]
        place = np.searchsorted(stay, neurons[here])
        is_kept = np.isin(neurons[here], stay)
        found[here] = np.where(is_kept, 1 + before[number] + place, 0)
    return found


def compute(block: Block, inputs: Inputs, config: LabelsConfig, resources: Resources) -> Outputs:
    """Neurons of one block; sizes are those in the whole volume."""
    nodes: Rows = inputs["nodes"]

    def neurons_of(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
        neurons = neurons_of_superpixels(nodes, ids)
        return places(neurons, inputs.parts("kept")) if config.min_size_voxels else neurons

    return {"neurons": paint(inputs["superpixels"][block.inner], neurons_of)}


def _sizes(task: int, inputs: Inputs, config: LabelsConfig, resources: Resources) -> Outputs:
    """Voxels of every neuron in a range of nodes."""
    nodes: Rows = inputs["nodes"]
    begin, end = row_range(task, nodes.count)
    neurons, index = np.unique(nodes.read("neuron", begin, end), return_inverse=True)
    voxels = np.zeros(len(neurons), np.uint64)
    np.add.at(voxels, index, nodes.read("size_voxels", begin, end).astype(np.uint64))
    real = neurons != 0
    return {"sizes": {KEY: neurons[real], "voxels": voxels[real]}}


def _size_tasks(inputs: Inputs, config: LabelsConfig, resources: Resources) -> int:
    nodes: Rows = inputs["nodes"]
    return row_tasks(nodes.count) if config.min_size_voxels else 0


def _kept(task: int, inputs: Inputs, config: LabelsConfig, resources: Resources) -> Outputs:
    """Neurons of a range that have enough voxels in the whole volume."""
    low, high = task * ROWS, (task + 1) * ROWS
    voxels = np.zeros(ROWS, np.uint64)
    for rows, begin, end in inputs.parts("sizes").between("sizes", low, high):
        place = rows.read(KEY, begin, end) - np.uint64(low)
        voxels[place] += rows.read("voxels", begin, end)
    enough = np.flatnonzero(voxels >= np.uint64(config.min_size_voxels))
    return {"kept": {KEY: enough.astype(np.uint64) + np.uint64(low)}}


def _kept_tasks(inputs: Inputs, config: LabelsConfig, resources: Resources) -> int:
    sizes = inputs.parts("sizes")
    return int(sizes.keys("sizes")[:, 1].max()) // ROWS + 1 if len(sizes) else 0


STAGE = Stage(
    name="labels",
    version=1,
    config=LabelsConfig,
    reads=("superpixels", "nodes"),
    arrays=(ArraySpec("neurons", "uint64", "labels", "neurons_input"),),
    compute=compute,
    before=(Step("sizes", _sizes, tasks=_size_tasks), Step("kept", _kept, tasks=_kept_tasks)),
)

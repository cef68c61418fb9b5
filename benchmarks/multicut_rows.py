"""Rows of the graph: multicut on mean boundaries, with the forest, and lifted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import Dataset
from benchmarks.mean_boundary import chosen_prior, labels_of, mean_boundary_multicut
from benchmarks.quality_rows import Row, label_row
from pipeline.config import PipelineSections
from pipeline.contract import VolumeInfo
from pipeline.evaluation.isbi import TruthKind

MULTICUT, LIFTED = "max TTA + multicut", "+ lifted multicut"


def graph_rows(
    result: Mapping[str, Any],
    truth: NDArray[Any],
    membranes: NDArray[Any] | None,
    dataset: Dataset,
    config: PipelineSections,
    *,
    kind: TruthKind = "mask",
) -> list[Row]:
    """Multicut on mean boundaries, with the forest, and lifted; each adds one thing.

    Parameters
    ----------
    result
        Of ``reconstruct_array``, all stages.
    truth, membranes, kind
        As in ``label_row``.
    dataset, config
        That the result was made of and with.
    """
    nodes = result["nodes"]
    simple = mean_boundary_multicut(
        result,
        volume_info(dataset, result["raw"]),
        config.section("multicut"),
        chosen_prior(dataset.kind),
    )
    partitions = {
        "max TTA + multicut, mean boundary": simple,
        MULTICUT: nodes["multicut"],
        LIFTED: nodes["neuron"],
    }
    return [
        label_row(title, labels_of(result, neuron), truth, membranes, kind=kind)
        for title, neuron in partitions.items()
    ]


def volume_info(dataset: Dataset, raw: NDArray[Any]) -> VolumeInfo:
    """What the stages may know of a part of a data set."""
    z, y, x = raw.shape
    return VolumeInfo((z, y, x), dataset.voxel_size_nm, raw.dtype.name)


def moved_nodes(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> int:
    """Nodes that change cluster: those outside the largest common part of matched clusters."""
    pairs, counts = np.unique(np.stack([before, after], 1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    used_before: set[int] = set()
    used_after: set[int] = set()
    kept = 0
    for index in order:
        first, second = (int(v) for v in pairs[index])
        if first not in used_before and second not in used_after:
            used_before.add(first)
            used_after.add(second)
            kept += int(counts[index])
    return len(before) - kept


def graph_sentence(result: Mapping[str, Any]) -> str:
    """Sizes of the graph, and how many superpixels the lifted edges move."""
    nodes = result["nodes"]
    moved = moved_nodes(nodes["multicut"], nodes["neuron"])
    return (
        f"{len(nodes['id'])} superpixels, {len(result['edges']['uv'])} edges, "
        f"{len(result['lifted']['uv'])} lifted edges; {moved} superpixels change neuron between "
        "multicut and lifted multicut."
    )

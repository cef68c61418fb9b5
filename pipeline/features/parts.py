"""Statistics of the edges and nodes of one block, and their sums over blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import UINT8_MAX, Block, Inputs, Outputs, Resources, Table
from pipeline.features.channels import INPUTS, channels
from pipeline.features.config import FeaturesConfig
from pipeline.features.samples import Samples, edge_samples, node_samples, sampled_box
from pipeline.features.statistics import Statistics
from pipeline.normalisation import normalise

ROWS_AT_ONCE = 1 << 14
"""Rows that the merge holds statistics of at the same time."""


def measured_parts(
    block: Block, inputs: Inputs, config: FeaturesConfig, resources: Resources
) -> Outputs:
    """Statistics of one block; see ``stage.compute``."""
    raw = normalise(inputs["raw"], inputs["intensity"])
    sources = {
        "raw": np.rint(raw * np.float32(UINT8_MAX)).astype(np.uint8),
        "boundary": inputs["boundaries"],
    }
    inner = sampled_box(block).within(block.read)
    superpixels = inputs["superpixels"][inner]
    edges = edge_samples(block, superpixels)
    nodes = node_samples(block, superpixels)
    everything = channels(sources, config, resources.volume)
    return {
        "edges": _part(edges, (channel[inner] for channel in everything)),
        "nodes": _part(nodes, (sources[name][inner] for name in INPUTS)),
    }


def _part(samples: Samples, images: Iterator[NDArray[np.uint8]]) -> Table:
    """Statistics of samples, with their ids."""
    statistics = Statistics.of_samples(samples.first, (samples.read(image) for image in images))
    return {"ids": samples.ids, **statistics.table()}


def totals(
    parts: Sequence[Outputs],
    table: str,
    rows_of_parts: Sequence[NDArray[np.intp]],
    count: int,
    measured: int,
) -> Iterator[tuple[slice, Statistics]]:
    """Sums of the parts, some rows at a time.

    Parameters
    ----------
    parts
        Outputs of ``compute``.
    table
        ``edges`` or ``nodes``.
    rows_of_parts
        Of every part: the rows of the final table, ascending.
    count
        Rows of the final table.
    measured
        Number of channels.
    """
    for begin in range(0, count, ROWS_AT_ONCE):
        end = min(begin + ROWS_AT_ONCE, count)
        total = Statistics.empty(end - begin, measured)
        for part, rows in zip(parts, rows_of_parts, strict=True):
            low, high = np.searchsorted(rows, [begin, end])
            if low < high:
                columns = {n: c for n, c in part[table].items() if n != "ids"}
                some = Statistics.of_table(columns).rows(int(low), int(high))
                total.add(rows[low:high] - begin, some)
        if not total.count.all():
            raise AssertionError(f"{table} without a sample: the parts are not of this graph")
        yield slice(begin, end), total

"""Networks beside each other on the same forests: the shipped ones, or any.

Each predicts the parts of ISBI 2012, SNEMI3D and FIB-25 that neither saw, by the maximum over 8
orientations; the same forests and multicuts make neurons of the maps.

``python -m benchmarks.shipped_networks --data DATA [--network NAME_OR_FILE ...]``
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.datasets import FIB25, ISBI2012, SNEMI3D, Dataset
from benchmarks.endings import as_program
from benchmarks.mean_boundary import labels_of
from benchmarks.published import Cell, Table, publish
from benchmarks.quality import (
    GRAPH_ON,
    Truth,
    options_parser,
    scored_part,
    section_scores,
    unseen_part,
)
from benchmarks.quality_rows import Row, label_row, map_row, marked
from pipeline.boundaries.device import choose_device
from pipeline.config import PipelineSections, load_config, parse_config
from workflows.in_memory import reconstruct_array

NETWORKS = ("default", "without-isbi2012")
DATASETS = (ISBI2012, SNEMI3D, FIB25)
COLUMNS = ("data", "network", "method", "V_rand", "V_info", "adapted Rand error", "map, CPU s")
PARTITIONS = {"multicut": "multicut", "lifted multicut": "neuron"}
"""Method -> column of the nodes that it solves."""


@dataclass(frozen=True)
class Measured:
    """A network on a data set: scores, and the CPU's seconds that its map took."""

    data: str
    network: str
    rows: list[Row]
    seconds: float


def main(argv: Sequence[str] | None = None) -> Path:
    """Run and publish."""
    parser = options_parser(__doc__ or "")
    parser.add_argument("--network", action="append", help="packaged name or file (repeatable)")
    options = parser.parse_args(argv)
    found = []
    for dataset in DATASETS:
        part = scored_part(dataset, quick=options.quick)
        for network in options.network or NETWORKS:
            found.append(Measured(part.name, network, *measured(part, network, options)))
            print(found[-1], flush=True)
    note = (
        "The map of ISBI 2012 is cut at its best threshold. Seconds of the CPU are those of the "
        f"map, measured once: device {choose_device(options.device)}, {torch.get_num_threads()} "
        "threads."
    )
    return publish(
        options.output,
        "shipped_networks",
        "The shipped networks",
        [Table("Scores and time", COLUMNS, tuple(as_cells(found)), note)],
        quick=options.quick,
        values={"networks": [asdict(one) for one in found]},
    )


def as_cells(found: Sequence[Measured]) -> Iterator[tuple[Cell, ...]]:
    """Rows of the table; the time of a map stands in its first one."""
    for one in found:
        for row in one.rows:
            seconds = f"{one.seconds:.0f}" if row is one.rows[0] else None
            yield one.data, one.network, row.method, row.v_rand, row.v_info, row.arand, seconds


def measured(part: Dataset, network: str, options: Namespace) -> tuple[list[Row], float]:
    """Scores of one network on one data set, and the CPU's seconds that its map took.

    Raises
    ------
    LeakageError
        If a model learned from what is scored, unless that is allowed.
    """
    config = with_network(load_config(options.config, options.set), network)
    raw, truth, seen = unseen_part(part, config, options)
    began = time.process_time()
    known = reconstruct_array(
        raw, part.voxel_size_nm, config, device=options.device, until="boundaries"
    )
    seconds = time.process_time() - began
    rows = []
    if truth.membranes is not None:
        scores = section_scores(known["boundaries"], truth.membranes, truth.kind)
        best = max(scores, key=lambda t: scores[t].v_rand)
        rows.append(map_row(f"threshold {best:.2f}", "", scores[best].v_rand, scores[best].v_info))
    result = reconstruct_array(raw, part.voxel_size_nm, config, device="cpu", given=known)
    rows += graph_scores(result, truth)
    return marked(rows, seen), seconds


def graph_scores(result: dict[str, Any], truth: Truth) -> list[Row]:
    """Rows of both multicuts."""
    return [
        label_row(method, labels_of(result, result["nodes"][column]), truth.ids, truth.membranes)
        for method, column in PARTITIONS.items()
    ]


def with_network(config: PipelineSections, network: str) -> PipelineSections:
    """The same configuration with another network, and the maximum over 8 orientations."""
    values = config.model_dump()
    values["boundaries"] |= {"model": network, "augmentation": GRAPH_ON}
    return parse_config(values, network)


if __name__ == "__main__":
    as_program(main)

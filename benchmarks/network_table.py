"""The table of networks in ``docs/networks.md``, from their shapes alone.

``python -m benchmarks.network_table`` prints it; ``--write docs/networks.md`` puts it there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.network_counts import macs_per_voxel, parameters, theoretical_field
from benchmarks.published import Table, table_markdown
from benchmarks.reports import write_whole
from pipeline.boundaries.networks import NETWORKS, AnyConfig

BEGIN, END = "<!-- table: python -m benchmarks.network_table -->\n", "<!-- end of table -->\n"
LABELS = {
    "rc_spcnet": "RC-SPCNet",
    "rcnet": "RCNet",
    "resnet38": "ResNet38",
    "u_net": "U-Net",
    "hybrid_u_net": "hybrid 2D-3D U-Net",
}


def network_table() -> Table:
    """Every network in its small shape, and in that of its paper."""
    rows = []
    for name, known in NETWORKS.items():
        for size, shape in (("small", known.config()), ("paper", known.paper)):
            if shape is not None:
                rows.append((LABELS[name], f"`{name}`", size, *counts(shape)))
    columns = (
        "network",
        "`architecture`",
        "shape",
        "parameters, million",
        "thousand MAC a voxel",
        "theoretical field, pixels",
        "stride, pixels",
        "sections",
    )
    return Table("", columns, tuple(rows), decimals=2)


def counts(shape: AnyConfig) -> tuple[float, float, int, int, int]:
    """Parameters, multiplications, field, stride and sections of a network."""
    return (
        parameters(shape) / 1e6,
        macs_per_voxel(shape) / 1e3,
        theoretical_field(shape),
        shape.stride,
        2 * shape.context_sections + 1,
    )


def with_table(page: str) -> str:
    """A page with the table between its marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table_markdown(network_table()) + END + rest.split(END)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    if options.write is None:
        print(table_markdown(network_table()))
    else:
        write_whole(options.write, with_table(options.write.read_text("utf-8")))


if __name__ == "__main__":
    main()

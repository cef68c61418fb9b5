"""Our V_rand and V_info beside the ISBI 2012 challenge's own program, on its test vectors.

``python -m benchmarks.isbi_metric --data DATA``
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.endings import as_program
from benchmarks.published import Cell, Table, publish
from benchmarks.quality import arguments
from pipeline.evaluation.isbi import score_map, truth_sections
from workflows.training_data import read_tiff

COLUMNS = ("input", "threshold", "V_rand", "challenge V_rand", "V_info", "challenge V_info")
NOTE = (
    "Mean of 3 sections; where P(cell) is above the threshold is cell. The challenge's columns are "
    "what its program gave (`expected.json`). `map.tif` is a probability map, in whose thinning "
    "the two programs break ties differently; `thinned.tif` is thinned already."
)


def main() -> None:
    """Both, input by input and threshold by threshold."""
    options = arguments(__doc__ or "")
    rows = compared(options.data / "isbi_metric_vectors")
    publish(
        options.output,
        "isbi_metric",
        "V_rand and V_info beside the challenge's program",
        [Table("", COLUMNS, rows, NOTE, decimals=6)],
        quick=options.quick,
    )


def compared(folder: Path) -> tuple[tuple[Cell, ...], ...]:
    """A row for every threshold of every input."""
    truth = truth_sections(read_tiff(folder / "truth.tif"), kind="mask")
    expected = json.loads((folder / "expected.json").read_text())
    rows = []
    for name in ("map.tif", "thinned.tif"):
        cell = read_tiff(folder / name)
        boundary = 1 - (cell / 255.0 if cell.dtype == "uint8" else cell)
        found = score_map(boundary, truth, [e["threshold"] for e in expected[name]])
        for ours, theirs in zip(found, expected[name], strict=True):
            scores = (ours.v_rand, theirs["v_rand"], ours.v_info, theirs["v_info"])
            rows.append((name, f"{ours.threshold:g}", *scores))
    return tuple(rows)


if __name__ == "__main__":
    as_program(main)

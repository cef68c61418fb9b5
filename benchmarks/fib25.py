"""FIB-25: quality on z 100-149, beside the flood-filling network's published segmentation.

The flood-filling network (Januszewski et al. 2018) leaves about a tenth of the voxels
unlabelled, so both are scored on all truth voxels and on its own foreground.

``python -m benchmarks.fib25 --data DATA``
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import FIB25
from benchmarks.endings import as_program
from benchmarks.published import publish
from benchmarks.quality import LIFTED, Row, arguments, graph_sentence, label_row, run
from benchmarks.quality_figures import quality_figures
from benchmarks.quality_rows import marked, score_table, worst_table

FFN = "fib25/reference_ffn_z000-149.tif"
FLOOD_FILLING = "flood-filling network"


def main(argv: Sequence[str] | None = None) -> Path:
    """Run and publish."""
    options = arguments(__doc__ or "", argv)
    rows, result = run(FIB25, options)
    part, truth = result["part"], result["truth"]
    begin, end = part.validate
    ffn = part.load(options.data, FFN, part.validate)
    rows += ffn_rows(ffn, result["neurons"], truth, seen=result["seen"])
    note = (
        f"{graph_sentence(result)} The flood-filling network's labels are those that it published "
        f"for this cube; it leaves {np.mean(ffn == 0):.1%} of the voxels unlabelled."
    )
    return publish(
        options.output,
        "fib25",
        f"FIB-25, z {begin}-{end - 1}",
        [
            score_table("Scores", rows, note),
            worst_table(result["neurons"], truth, (begin, 0, 0)),
        ],
        quick=options.quick,
        values={"rows": [asdict(row) for row in rows], "curves": result["curves"]},
        figures=quality_figures(rows, result, further=(FLOOD_FILLING,)),
    )


def ffn_rows(
    ffn: NDArray[Any], neurons: NDArray[Any], truth: NDArray[Any], seen: Sequence[object] = ()
) -> list[Row]:
    """The flood-filling network's labels on all true voxels, and both on its foreground.

    Parameters
    ----------
    ffn, neurons, truth
        (Z, Y, X) ids, 0 = unlabelled.
    seen
        What of it the models behind ``neurons`` learned from.
    """
    foreground = np.where(ffn != 0, truth, 0)
    whole, theirs = (label_row(FLOOD_FILLING, ffn, true, None) for true in (truth, foreground))
    (ours,) = marked([label_row(LIFTED, neurons, foreground, None)], seen)
    there = ", on the FFN's foreground"
    return [whole, *(replace(row, method=f"{row.method}{there}") for row in (theirs, ours))]


if __name__ == "__main__":
    as_program(main)

"""FIB-25: quality on z 100-149, beside the flood-filling network's published segmentation.

The flood-filling network (Januszewski et al. 2018) leaves about a tenth of the voxels
unlabelled, so both are scored on all truth voxels and on its own foreground.

``python -m benchmarks.fib25 --data DATA``
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import FIB25
from benchmarks.quality import Row, arguments, as_markdown, graph_sentence, label_row, run
from benchmarks.reports import report

FFN = "fib25/reference_ffn_z000-149.tif"


def main() -> None:
    """Run and report."""
    options = arguments(__doc__ or "")
    rows, result = run(FIB25, options)
    begin = FIB25.validate[0]
    truth = result["truth"]
    ffn = FIB25.load(options.data, FFN, (begin, begin + len(truth)))
    rows += ffn_rows(ffn, result["neurons"], truth)
    text = (
        "# FIB-25, z 100-149\n\n"
        + as_markdown(rows)
        + f"\n{graph_sentence(result)} The flood-filling network leaves {np.mean(ffn == 0):.1%} of "
        "the voxels unlabelled.\n"
    )
    values = {"rows": [asdict(r) for r in rows]}
    report(options.output, "fib25", text, values)


def ffn_rows(ffn: NDArray[Any], neurons: NDArray[Any], truth: NDArray[Any]) -> list[Row]:
    """The flood-filling network's labels on all true voxels, and both on its foreground."""
    foreground = np.where(ffn != 0, truth, 0)
    rows = [label_row("flood-filling network", ffn, truth, None)]
    for title, labels in (("flood-filling network", ffn), ("+ lifted multicut", neurons)):
        on_foreground = label_row(title, labels, foreground, None)
        rows.append(replace(on_foreground, method=f"{title}, on the FFN's foreground"))
    return rows


if __name__ == "__main__":
    main()

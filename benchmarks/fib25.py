"""FIB-25: quality on z 100-149, beside the flood-filling network's published segmentation.

The flood-filling network (Januszewski et al. 2018) leaves about a tenth of the voxels
unlabelled, so both are scored on all truth voxels and on its own foreground.

``python -m benchmarks.fib25 --data DATA``
"""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np

from benchmarks.datasets import FIB25
from benchmarks.quality import arguments, as_markdown, graph_sentence, label_row, report, run

FFN = "fib25/reference_ffn_z000-149.tif"


def main() -> None:
    """Run and report."""
    options = arguments(__doc__ or "")
    rows, result = run(FIB25, options)
    begin = FIB25.validate[0]
    truth = result["truth"]
    ffn = FIB25.load(options.data, FFN, (begin, begin + len(truth)))
    foreground = np.where(ffn != 0, truth, 0)
    for title, labels in (("flood-filling network", ffn), ("+ lifted multicut", result["neurons"])):
        if title.startswith("flood"):
            rows.append(label_row(title, labels, truth, None))
        on_foreground = label_row(title, labels, foreground, None)
        rows.append(replace(on_foreground, method=f"{title}, on the FFN's foreground"))
    text = (
        "# FIB-25, z 100-149\n\n"
        + as_markdown(rows)
        + f"\n{graph_sentence(result)} The flood-filling network leaves {np.mean(ffn == 0):.1%} of "
        "the voxels unlabelled.\n"
    )
    values = {"rows": [asdict(r) for r in rows]}
    report(options.output, "fib25", text, values)


if __name__ == "__main__":
    main()

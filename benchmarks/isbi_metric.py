"""Our V_rand and V_info beside the ISBI 2012 challenge's own program, on its test vectors.

``python -m benchmarks.isbi_metric --data DATA``
"""

from __future__ import annotations

import json

from benchmarks.quality import arguments
from pipeline.evaluation.isbi import score_map, truth_sections
from workflows.training_data import read_tiff


def main() -> None:
    """Print both, and their difference, by threshold."""
    folder = arguments(__doc__ or "").data / "isbi_metric_vectors"
    truth = truth_sections(read_tiff(folder / "truth.tif"), kind="mask")
    expected = json.loads((folder / "expected.json").read_text())
    print(
        "| input | threshold | V_rand | challenge | V_info | challenge |\n|---|---|---|---|---|---|"
    )
    for name in ("map.tif", "thinned.tif"):
        cell = read_tiff(folder / name)
        boundary = 1 - (cell / 255.0 if cell.dtype == "uint8" else cell)
        rows = score_map(boundary, truth, [e["threshold"] for e in expected[name]])
        for row, e in zip(rows, expected[name], strict=True):
            print(
                f"| {name} | {row.threshold:g} | {row.v_rand:.6f} | {e['v_rand']:.6f} "
                f"| {row.v_info:.6f} | {e['v_info']:.6f} |"
            )


if __name__ == "__main__":
    main()

"""``evaluate``: scores of a segmentation against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def evaluate(
    prediction: Annotated[
        Path, typer.Argument(help="Output store, array inside a store, or TIFF of labels.")
    ],
    truth: Annotated[Path, typer.Argument(help="Labels: store, array or TIFF.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write JSON here.")] = None,
    sections: Annotated[
        str | None, typer.Option("--sections", help="Only z0:z1 of the truth and the prediction.")
    ] = None,
    truth_kind: Annotated[
        Literal["auto", "labels", "mask"],
        typer.Option("--truth-kind", help="labels, mask (0 = membrane) or auto."),
    ] = "auto",
    score_map: Annotated[
        bool, typer.Option("--map", help="Score the boundary map instead, over thresholds.")
    ] = False,
) -> None:
    """Score PREDICTION against TRUTH: V_rand, V_info, adapted Rand error, VOI."""
    from workflows.results import print_scores

    print_scores(prediction, truth, json_file, sections, truth_kind, score_map)

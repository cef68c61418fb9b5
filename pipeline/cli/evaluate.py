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
    families: Annotated[
        list[str] | None,
        typer.Option(
            "--family",
            help="Also: instance (AP, AJI, PQ), semantic (0 or not: Dice, Jaccard, ..), classes "
            "(values are classes), challenges (SNEMI3D, pixel and warping error). Repeatable.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every family that fits, but not classes.")
    ] = False,
    worst: Annotated[
        int, typer.Option("--worst", min=0, help="Also the N worst splits and merges, and where.")
    ] = 0,
    skeletons: Annotated[
        Path | None,
        typer.Option("--skeletons", help="Folder of SWC files (nm): also expected run length."),
    ] = None,
    ignore_ids: Annotated[
        str | None, typer.Option("--ignore-ids", help="True ids not to score, as 3,7.")
    ] = None,
    ignore_band: Annotated[
        int,
        typer.Option("--ignore-band", min=0, help="Pixels round true boundaries not to score."),
    ] = 0,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Score only where this volume is not 0.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Sections scored at a time; the same scores.")
    ] = 1,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Folder for finished slabs: the same command goes on there."),
    ] = None,
    allow_seen: Annotated[
        bool,
        typer.Option(
            "--allow-seen", help="Score what a model learned from, too, and mark the scores."
        ),
    ] = False,
) -> None:
    """Score PREDICTION against TRUTH: V_rand, V_info, adapted Rand error, VOI, and families."""
    from workflows.results import print_scores
    from workflows.score_options import ScoreOptions

    options = ScoreOptions(
        families=tuple(families or ()),
        every=every,
        worst=worst,
        skeletons=skeletons,
        ignore_ids=ignore_ids,
        ignore_band=ignore_band,
        mask=mask,
        workers=workers,
        keep=keep,
    )
    print_scores(
        prediction,
        truth,
        json_file,
        sections,
        truth_kind,
        score_map,
        options=options,
        allow_seen=allow_seen,
    )

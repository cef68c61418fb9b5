"""``train boundaries`` and ``train edges``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import Data, Device, VoxelSize, parse_voxel_size
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from workflows.training_data import AnnotatedVolume

app = typer.Typer(help="Train boundary networks and random forests.", no_args_is_help=True)
INSTEAD = "Instead of CONFIG"
Output = Annotated[Path, typer.Option("--output", help="Folder of checkpoints and results.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Override a key of CONFIG: training.network.architecture=u_net. May be repeated.",
    ),
]
Raw = Annotated[
    list[Path] | None,
    typer.Option(
        "--raw",
        rich_help_panel=INSTEAD,
        help="Grey values: OME-Zarr, zarr or TIFF. Repeatable, like all that follow.",
    ),
]
Truth = Annotated[
    list[Path] | None,
    typer.Option("--truth", rich_help_panel=INSTEAD, help="Annotation of the same voxels."),
]
TruthKind = Annotated[
    list[str] | None,
    typer.Option(
        "--truth-kind",
        rich_help_panel=INSTEAD,
        help="labels (of neurites), membranes (not 0 = membrane), cells (0 = membrane).",
    ),
]
Sections = Annotated[
    list[str] | None,
    typer.Option(
        "--sections",
        rich_help_panel=INSTEAD,
        help="Annotated ones, 0:3 or 3,7,12; all that are not blank by default.",
    ),
]
Known = Annotated[
    list[Path] | None,
    typer.Option("--known", rich_help_panel=INSTEAD, help="Mask, 0 = not annotated there."),
]
Unlabelled = Annotated[
    int | None,
    typer.Option(
        "--unlabelled", rich_help_panel=INSTEAD, help="Value of the truth: not annotated here."
    ),
]


@app.command()
def boundaries(
    output: Output,
    config: Annotated[
        Path | None, typer.Argument(help="YAML, e.g. configs/train/fine_tuning.yaml.")
    ] = None,
    overrides: Set = None,
    data: Data = Path(),
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, max=1, help="Train on this half only.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Start from this model: default, or a file (fine-tuning)."),
    ] = None,
    device: Device = "auto",
    raw: Raw = None,
    truth: Truth = None,
    truth_kind: TruthKind = None,
    sections: Sections = None,
    known: Known = None,
    unlabelled: Unlabelled = None,
    voxel_size: VoxelSize = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, rich_help_panel=INSTEAD, help="Optimiser steps."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", min=0.1, help="As many steps as take so long, instead of CONFIG's."
        ),
    ] = None,
    hold_back: Annotated[
        bool,
        typer.Option(
            "--hold-back/--use-all",
            rich_help_panel=INSTEAD,
            help="Keep a part of several sections to score before and after.",
        ),
    ] = True,
) -> None:
    """Train a boundary network; started again, it goes on from the last checkpoint."""
    from workflows import fine_tuning
    from workflows.base_model import lasting_name
    from workflows.train_boundaries import read_training, train_boundaries

    command = " ".join(["python -m pipeline", *sys.argv[1:]])
    if config is not None:
        _only_config(raw, truth, steps)
        settings = read_training(config, overrides or ())
        if start is not None:
            settings = settings.model_copy(update={"start_from": lasting_name(start)})
    else:
        if overrides:
            raise ConfigError("--set overrides keys of CONFIG; without one, give --steps and so on")
        if steps is not None and minutes is not None:
            raise ConfigError("give --steps or --minutes, not both")
        volumes = _volumes(raw, truth, truth_kind, sections, known, unlabelled, voxel_size)
        settings = fine_tuning.boundary_training(
            volumes, output.absolute().name, start=start, steps=steps, hold_back=hold_back
        )
    if minutes is not None:
        settings = fine_tuning.begun(settings, output) or fine_tuning.with_steps_for(
            settings, minutes, data, device
        )
    path = train_boundaries(settings, data, output, fold=fold, device=device, command=command)
    print(path)


@app.command()
def edges(
    output: Output,
    networks: Annotated[
        list[Path],
        typer.Option("--network", help="Network of fold 0, then of fold 1 (give it twice)."),
    ],
    config: Annotated[
        Path | None, typer.Argument(help="YAML, e.g. configs/train/edges_isotropic.yaml.")
    ] = None,
    data: Data = Path(),
    parts: Annotated[
        Path | None,
        typer.Option("--parts", help="Keep the features of the parts here between calls."),
    ] = None,
    device: Device = "auto",
    raw: Raw = None,
    truth: Truth = None,
    truth_kind: TruthKind = None,
    sections: Sections = None,
    known: Known = None,
    unlabelled: Unlabelled = None,
    voxel_size: VoxelSize = None,
) -> None:
    """Fit the two random forests on maps that the fold networks did not learn from."""
    from workflows import fine_tuning
    from workflows.train_edges import read_edge_training, train_edges

    if config is not None:
        _only_config(raw, truth)
        settings = read_edge_training(config)
    else:
        volumes = _volumes(raw, truth, truth_kind, sections, known, unlabelled, voxel_size)
        settings = fine_tuning.edge_training(volumes, output.absolute().name)
    for path in train_edges(settings, data, output, networks, device=device, kept=parts):
        print(path)


def _only_config(*others: object) -> None:
    if any(other for other in others):
        raise ConfigError("give a configuration file, or --raw, --truth and so on, not both")


def _volumes(
    raw: list[Path] | None,
    truth: list[Path] | None,
    truth_kind: list[str] | None,
    sections: list[str] | None,
    known: list[Path] | None,
    unlabelled: int | None,
    voxel_size: str | None,
) -> tuple[AnnotatedVolume, ...]:
    from workflows.given_annotations import paired, volumes_of

    if not raw and not truth:
        raise ConfigError("give a configuration file, or --raw, --truth and --truth-kind")
    given = paired(raw or [], truth or [], truth_kind or [], sections or [], known or [])
    return volumes_of(given, unlabelled=unlabelled, voxel_size_nm=parse_voxel_size(voxel_size))

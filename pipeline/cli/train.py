"""``train boundaries`` and ``train edges``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Data, Device

app = typer.Typer(help="Train boundary networks and random forests.", no_args_is_help=True)
Output = Annotated[Path, typer.Option("--output", help="Folder of checkpoints and results.")]


@app.command()
def boundaries(
    config: Annotated[Path, typer.Argument(help="YAML, e.g. configs/train/default.yaml.")],
    data: Data,
    output: Output,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, max=1, help="Train on this half only.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Model file to start from (fine-tuning).")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a boundary network; started again, it goes on from the last checkpoint."""
    from workflows.train_boundaries import read_training, train_boundaries

    command = " ".join(["python -m pipeline", *sys.argv[1:]])
    path = train_boundaries(
        read_training(config), data, output, fold=fold, start=start, device=device, command=command
    )
    print(path)


@app.command()
def edges(
    config: Annotated[Path, typer.Argument(help="YAML, e.g. configs/train/edges_isotropic.yaml.")],
    data: Data,
    output: Output,
    networks: Annotated[
        list[Path],
        typer.Option("--network", help="Network of fold 0, then of fold 1 (give it twice)."),
    ],
    parts: Annotated[
        Path | None,
        typer.Option("--parts", help="Keep the features of the parts here between calls."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Fit the two random forests on maps that the fold networks did not learn from."""
    from workflows.train_edges import read_edge_training, train_edges

    settings = read_edge_training(config)
    for path in train_edges(settings, data, output, networks, device=device, kept=parts):
        print(path)

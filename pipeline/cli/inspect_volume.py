"""``inspect``: what a path is, what is in it, and what ``run`` would do with it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Annotated

import typer

from pipeline.cli.options import StorageOption, VoxelSize, parse_voxel_size
from pipeline.cli.places import output_of
from pipeline.errors import InputError


def inspect(
    path: Annotated[
        str,
        typer.Argument(
            help="File, folder or address of any kind; FILE:DATASET for one of several."
        ),
    ],
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="In place of FILE:DATASET.")
    ] = None,
    level: Annotated[
        int | None, typer.Option("--level", min=0, help="Of a pyramid; default: the finest.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option("--axes", help="Order of the axes, slowest first, e.g. xyz, czyx.")
    ] = None,
    channel: Annotated[
        int | None, typer.Option("--channel", min=0, help="Which one, from 0.")
    ] = None,
    time: Annotated[
        int | None, typer.Option("--time", min=0, help="Which time point, from 0.")
    ] = None,
    voxel_size: VoxelSize = None,
    storage_option: StorageOption = None,
    fast: Annotated[bool, typer.Option("--fast", help="Metadata only: no voxel is read.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what PATH is, what its voxels look like, and what run would do. Writes nothing."""
    from pipeline.cli.inspection_text import print_inspection
    from pipeline.store.place import parse_storage_options
    from workflows.inspection import as_json as described
    from workflows.inspection import inspect as inspect_path
    from workflows.progress import counted
    from workflows.subject import Question

    question = Question(
        path,
        dataset,
        level,
        axes,
        channel,
        time,
        parse_voxel_size(voxel_size),
        parse_storage_options(storage_option or []),
    )
    with nullcontext() if fast else counted("reading") as progress:
        found = inspect_path(
            question, lambda place: output_of(place, None), fast=fast, progress=progress
        )
    if as_json:
        print(json.dumps(described(found), indent=1))
    else:
        print_inspection(found)
    if found.damage:
        raise InputError(found.damage)

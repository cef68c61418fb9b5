"""``reproduce``: a result of this program had again, and compared with what is expected."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import Device, Workers
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from workflows.reproduction import Reproduction

DIFFERS = 1
"""Exit code where a score lies outside its tolerance."""


def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="sample, isbi2012, fib25, snemi3d, or a YAML file.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that holds the data; nothing is fetched.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Gets NAME/full or NAME/quick.")] = Path(
        "reproduced"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A few sections or a corner: to try the program.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Train a network first, on the learning part alone.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="For what is fetched; default ~/.cache/neuron-pipeline."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Fetch without asking.")] = False,
    workers: Workers = None,
    device: Device = "auto",
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Score what a model learned from, too; marked.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="For maintainers: write the scores down as expected.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="What there is.")] = False,
) -> None:
    """Fetch or find data, segment, score, and compare. Killed, the same command goes on."""
    if listed or name is None:
        _list()
        return
    from pipeline.cli.run import endings
    from workflows.cluster import Workplace
    from workflows.reproduce import Request
    from workflows.reproduce import reproduce as had_again
    from workflows.reproduction import read_reproduction
    from workflows.reproduction_report import as_markdown, verdict

    found, written = read_reproduction(name)
    if data is not None and not data.is_dir():
        raise ConfigError(f"--data {data}: there is no such folder")
    request = Request(
        form="quick" if quick else "full",
        data=data,
        cache=cache or _cache(),
        output=output,
        workplace=Workplace(workers=workers or 1),
        device=device,
        train=train,
        allow_seen=allow_seen,
        record=record,
        command=" ".join(["python -m pipeline", *sys.argv[1:]]),
    )
    with endings():
        outcome, _ = had_again(
            found, written, request, lambda offer: _agree(offer, name, yes), _say
        )
    print(as_markdown(outcome, found), end="")
    for row in outcome.differs:
        _say(
            f"{row.truth} {row.score} is {row.measured:.4f}, expected {row.expected:.4f} "
            f"± {row.tolerance:g}"
        )
    _say(
        {
            "reproduced": f"{found.name}: reproduced",
            "differs": f"{found.name}: not reproduced",
            "none": f"{found.name}: no verdict, for there is nothing to compare with",
        }[verdict(outcome)]
    )
    if outcome.differs:
        raise SystemExit(DIFFERS)


def _agree(offer: str, name: str, yes: bool) -> None:
    """Ask before anything is fetched; without a terminal it must have been said before."""
    _say(offer)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            f"nothing was fetched: say so with --yes, or give a folder that holds the data of "
            f"{name} as --data"
        )
    if not typer.confirm("Fetch it?", err=True):
        raise ConfigError("nothing was fetched; --data FOLDER takes data that are there already")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neuron-pipeline"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _list() -> None:
    """All of them: what is scored, what must be fetched, terms, time."""
    from rich.console import Console

    from pipeline.cli.text_layout import plain_table
    from workflows.reproduction import all_reproductions

    table: Table = plain_table("name", "what is scored", "to fetch", "time", "terms of the data")
    for found, written in all_reproductions():
        table.add_row(found.name, found.title, _to_fetch(found), _time(written), found.terms)
    Console().print(table)


def _to_fetch(found: Reproduction) -> str:
    if found.packaged:
        return "nothing"
    if not found.downloads:
        return "by hand"
    known = [one.megabytes for one in found.downloads]
    if None in known:
        return f"{len(known)} file{'s' if len(known) > 1 else ''}"
    return f"{sum(one for one in known if one is not None):.0f} MiB"


def _time(written: Path) -> str:
    """Of the form whole and quick, where they were recorded."""
    from workflows.quantities import duration
    from workflows.reproduction import Form
    from workflows.reproduction_expected import read_expected

    forms: tuple[Form, ...] = ("full", "quick")
    told = []
    for form in forms:
        expected = read_expected(written, form)
        if expected is not None:
            measured = expected.measured
            on = measured.device.upper()
            told.append(f"{form} {duration(measured.seconds)} ({measured.cores} cores, {on})")
    return "; ".join(told) or "not recorded"

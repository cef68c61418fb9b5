"""What a benchmark publishes: tables, figures and how they were made, as JSON and Markdown.

The JSON holds all that the Markdown needs, so ``benchmarks.results`` can build one page of many
files, years later and on another machine.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.reports import ROOT, commit, machine, machine_sentence, write_whole
from benchmarks.tables import NOT_MEASURED, SEEN, Cell, Table, cell_text, plain, table_markdown
from pipeline.errors import InputError

__all__ = [
    "NOT_MEASURED",
    "SEEN",
    "Cell",
    "Made",
    "Published",
    "Table",
    "as_markdown",
    "cell_text",
    "publish",
    "read",
    "table_markdown",
]

DOTS_PER_INCH = 120
LARGEST_BYTES = 1_000_000
"""Of a file that ``benchmarks.results`` keeps."""
_HEADING = re.compile(r"^(#+) ", re.MULTILINE)
_COMMIT = commit()
"""Taken when the benchmark starts: the tree may be another one when it ends."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Made(_Strict):
    """When, of what, where and how: all that a number may depend on."""

    date: str
    commit: str
    machine: dict[str, Any]
    command: str
    quick: bool


class Published(_Strict):
    """One benchmark's JSON file."""

    name: str
    title: str
    text: str
    tables: tuple[Table, ...]
    figures: tuple[str, ...]
    values: dict[str, Any]
    made: Made


def publish(
    output: Path,
    name: str,
    title: str,
    tables: Sequence[Table],
    *,
    text: str = "",
    quick: bool = False,
    values: Mapping[str, Any] | None = None,
    figures: Mapping[str, Figure] | None = None,
) -> Path:
    """Write ``<name>.json``, ``<name>.md`` and ``<name>-<figure>.png``; print the Markdown.

    Parameters
    ----------
    output
        Folder; made if need be.
    name
        Of the files: letters, digits, ``_`` and ``-``.
    title
        Heading of the whole.
    tables
        In the order in which they are shown.
    text
        Markdown between the heading and the tables; may have headings and tables of its own.
    quick
        A trial that ``benchmarks.results`` must not take.
    values
        Anything else that later programs may read, as JSON can hold it; numpy numbers and
        arrays become numbers and lists, numbers that are not finite become text.
    figures
        Name -> figure.

    Returns
    -------
    pathlib.Path
        The JSON, written last: where it is, the rest is.
    """
    figures = figures or {}
    published = Published(
        name=name,
        title=title,
        text=plain(text),
        tables=tuple(tables),
        figures=tuple(figures),
        values=plain(dict(values or {})),
        made=Made(
            date=datetime.now(UTC).date().isoformat(),
            commit=_COMMIT,
            machine=plain({key: fact for key, fact in machine().items() if key != "commit"}),
            command=command_line(),
            quick=quick,
        ),
    )
    output.mkdir(parents=True, exist_ok=True)
    for figure, drawn in figures.items():
        _save(drawn, output / figure_file(name, figure))
    written = as_markdown(published)
    write_whole(output / f"{name}.md", written)
    path = output / f"{name}.json"
    write_whole(path, json.dumps(published.model_dump(mode="json"), indent=1, allow_nan=False))
    print(written)
    return path


def read(path: Path) -> Published:
    """What ``publish`` wrote.

    Raises
    ------
    InputError
        If the file is not there or not a benchmark's, or a key is missing or unknown.
    """
    try:
        return Published.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: that benchmark was not run") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is not what a benchmark published: {place}: {first['msg']}"
        ) from None


def figure_file(name: str, figure: str) -> str:
    """File name of a figure, beside its JSON."""
    return f"{name}-{figure}.png"


def as_markdown(published: Published, level: int = 1, folder: str = "") -> str:
    """The whole as Markdown.

    Parameters
    ----------
    level
        Of its heading; those inside are one below it.
    folder
        Of the figures, relative to the page; ends with ``/``.
    """
    parts = [f"{'#' * level} {published.title}", made_sentence(published.made)]
    if published.text.strip():
        parts.append(_lowered(published.text.strip(), level - 1))
    for table in published.tables:
        if table.title:
            parts.append(f"{'#' * (level + 1)} {table.title}")
        parts.append(table_markdown(table).rstrip())
        if table.note:
            parts.append(table.note)
    for figure in published.figures:
        parts.append(f"![{figure}]({folder}{figure_file(published.name, figure)})")
    return "\n\n".join(parts) + "\n"


def made_sentence(made: Made) -> str:
    """Date, commit, machine and command as Markdown."""
    trial = "**A quick trial, not a result.** " if made.quick else ""
    facts = machine_sentence({**made.machine, "commit": made.commit})
    return f"{trial}{made.date}, `{made.command}`. {facts}"


def _lowered(text: str, levels: int) -> str:
    """The same Markdown with headings that many levels further down."""
    return _HEADING.sub(lambda found: f"{'#' * levels}{found[1]} ", text)


def command_line() -> str:
    """How this program was called; folders elsewhere on this machine are named by their option.

    ``--data /somewhere/else`` becomes ``--data DATA``: what counts is what lies in it.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec is not None else Path(sys.argv[0]).stem
    words = []
    option = ""
    for word in sys.argv[1:]:
        words.append(_portable(word, option))
        option = word if word.startswith("--") else ""
    return " ".join(["python -m", module.removesuffix(".__main__"), *words])


def _portable(word: str, option: str) -> str:
    flag, equals, value = word.partition("=")
    if not equals or Path(flag).is_absolute():
        return shlex.quote(_elsewhere(word, option))
    named = flag if flag.startswith("--") else ""  # else stage.key=FILE or NAME=FILE,FILE
    parts = ",".join(_elsewhere(part, named) for part in value.split(","))
    return shlex.quote(f"{flag}={parts}")


def _elsewhere(word: str, option: str) -> str:
    path = Path(word)
    if not path.is_absolute():
        return word
    if path.is_relative_to(ROOT):
        return path.relative_to(ROOT).as_posix()
    return option.removeprefix("--").upper() or path.name


def _save(figure: Figure, path: Path) -> None:
    """The same bytes for the same figure: no date, no version of matplotlib."""
    drawn = BytesIO()
    figure.savefig(
        drawn, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight", metadata={"Software": None}
    )
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(_small(drawn.getvalue()))
    partial.replace(path)


def _small(png: bytes) -> bytes:
    """The picture in 256 colours if it is larger than what is kept."""
    if len(png) <= LARGEST_BYTES:
        return png
    fewer = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(256).save(fewer, "png", optimize=True)
    return fewer.getvalue()

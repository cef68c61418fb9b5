"""``RESULTS.md``: all published tables on one page, never typed by hand.

``python -m benchmarks.results --take runs/benchmarks`` copies the JSON and PNG of finished
benchmarks into ``benchmarks/results`` and writes the page of what lies there; without ``--take``
it writes it again, and ``--check`` only says whether it is up to date.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.headlines import summary
from benchmarks.papers import papers
from benchmarks.published import (
    LARGEST_BYTES,
    Published,
    as_markdown,
    figure_file,
    read,
    table_markdown,
)
from benchmarks.reports import write_whole
from pipeline.errors import InputError

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "results", HERE / "RESULTS.md"
ORDER = (
    *("isbi2012", "table1_networks", "table1_networks_paper"),
    *("leave_one_out", "left_out_networks"),
    *("piriform", "snemi3d", "fib25", "cremi"),
    *("atum_sem", "planes", "fine_tuning", "defects"),
    *("graph_quality", "graph_solvers", "graph_features", "graph_ablation"),
    *("peers", "nifty_parity", "scores", "isbi_metric", "scaling"),
)
"""Of the page; benchmarks that are not named here follow by name."""
HEAD = """# Results

Written by `python -m benchmarks.results` from the files in `benchmarks/results/`: do not edit.
`docs/benchmarks.md` tells how the numbers are made.

A dash (–) is a number that does not apply, a long one (—) one that was not measured here: the
note below the table says which command does. Numbers in columns named "paper" are the paper's,
all others were measured by the command, at the commit and on the machine named above them.
"""


def main() -> None:
    """Take, then write or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--take", type=Path, action="append", default=[], metavar="FOLDER", help="of a benchmark"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    options = parser.parse_args()
    try:
        sys.exit(run(options.take, KEPT, PAGE, check=options.check))
    except InputError as error:
        sys.exit(str(error))


def run(sources: list[Path], kept: Path, page: Path, *, check: bool) -> int:
    """Exit status: 1 if ``check`` finds the page out of date.

    Parameters
    ----------
    sources
        Folders to take from; none with ``check``.
    kept
        Folder of the JSON and PNG that the page is made of.
    page
        The Markdown.
    """
    if check:
        if sources:
            raise InputError("--check writes nothing: leave out --take")
        if page.is_file() and page.read_text("utf-8") == page_text(kept):
            return 0
        print(f"{page} is not what {kept} gives: run python -m benchmarks.results")
        return 1
    for source in sources:
        for line in take(source, kept):
            print(line)
    write_whole(page, page_text(kept))
    return 0


def take(source: Path, kept: Path) -> Iterator[str]:
    """Copy what is finished; tell of each file what became of it.

    Parameters
    ----------
    source
        ``--output`` of benchmarks: ``NAME.json`` there, or ``NAME/NAME.json``.
    kept
        Made if need be.
    """
    if not source.is_dir():
        raise InputError(f"{source} is not a folder")
    kept.mkdir(parents=True, exist_ok=True)
    nested = (path for path in source.glob("*/*.json") if path.stem == path.parent.name)
    for path in sorted([*source.glob("*.json"), *nested]):
        try:
            published = read(path)
            figures = [path.with_name(figure_file(published.name, f)) for f in published.figures]
            _require_finished(published, path)
            for file in (path, *figures):
                _require_small(file)
        except InputError as error:
            yield f"left out: {error}"
            continue
        for file in (*figures, path):
            shutil.copyfile(file, kept / file.name)
        yield f"taken: {path}"


def _require_finished(published: Published, path: Path) -> None:
    made = published.made
    if published.name != path.stem:
        raise InputError(f"{path} calls itself {published.name}")
    if made.quick:
        raise InputError(f"{path} is a quick trial")
    if made.commit == "unknown":
        raise InputError(f"{path} was made outside of a checkout: its commit is unknown")
    if made.commit.endswith("+"):
        raise InputError(f"{path} was made with changes to {made.commit[:-1]} that are no commit")


def _require_small(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} is missing")
    if path.stat().st_size > LARGEST_BYTES:
        raise InputError(f"{path} has more than {LARGEST_BYTES / 1e6:g} MB")


def page_text(kept: Path) -> str:
    """The whole page, of the files alone: the same files give the same text."""
    found = {path.stem: read(path) for path in sorted(kept.glob("*.json"))}
    names = [name for name in ORDER if name in found]
    names += [name for name in found if name not in ORDER]
    top = summary(found)
    parts = [
        HEAD,
        _contents(names, found),
        f"## {top.title}\n\n{table_markdown(top)}\n{top.note}\n",
        *(_anchored(name, as_markdown(found[name], 2, f"{kept.name}/")) for name in names),
        _anchored("papers", _papers()),
    ]
    return "\n".join(parts)


def _contents(names: list[str], found: Mapping[str, Published]) -> str:
    lines = [f"- [{found[name].title}](#{name}), {found[name].made.date}" for name in names]
    return "\n".join(["## Contents\n", *lines, "- [What the papers report](#papers)"]) + "\n"


def _anchored(name: str, text: str) -> str:
    return f'<a id="{name}"></a>\n\n{text}'


def _papers() -> str:
    parts = ["## What the papers report"]
    for paper in papers().values():
        parts.append(f"{paper.citation}.")
        for table in paper.tables.values():
            shown = table.as_table()
            parts += [f"### {shown.title}", table_markdown(shown).rstrip(), shown.note]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()

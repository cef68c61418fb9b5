"""The table on top of ``RESULTS.md``: our best score of each data set beside the paper's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.cremi import WITHOUT_BAND
from benchmarks.papers import paper_table
from benchmarks.published import NOT_MEASURED, SEEN, Cell, Published, Table

Row = Mapping[str, Any]
Rows = Callable[[Mapping[str, Any]], Sequence[Row]]
"""From what a benchmark published besides its tables."""
ORACLE = "oracle"
"""In a threshold: the best one for the scored data itself, which nobody has in practice."""
NOT_OURS = ("flood-filling network", "on the FFN's foreground")
"""In a method: labels that others published, or a part of the data that they chose."""
COLUMNS = ("data", "score", "ours", "by", "paper", "by", "how far they can be compared")


def single_rows(values: Mapping[str, Any]) -> Sequence[Row]:
    """``values["rows"]`` of a benchmark."""
    return list(values.get("rows", ()))


def fold_rows(values: Mapping[str, Any]) -> Sequence[Row]:
    """Mean V_rand over the folds of a cross-validation, method by method."""
    rows = []
    for same in zip(*(fold["rows"] for fold in values.get("folds", ())), strict=True):
        seen = any(fold["seen"] for fold in values["folds"])
        method = f"{same[0]['method']} ({SEEN})" if seen else same[0]["method"]
        mean = fmean(row["v_rand"] for row in same)
        rows.append({"method": method, "threshold": same[0]["chosen"], "v_rand": mean})
    return rows


def stack_rows(number: int) -> Rows:
    """Of one stack of the piriform cortex, all models; thresholds are best, as in the paper."""

    def rows(values: Mapping[str, Any]) -> Sequence[Row]:
        return [
            {**row, "method": f"{model}: {row['method']}", "threshold": ""}
            for model, stacks in values.items()
            for row in stacks[str(number)]
        ]

    return rows


def sample_rows(values: Mapping[str, Any]) -> Sequence[Row]:
    """Mean CREMI score over the samples as the challenge scores them, method by method."""
    samples = [found[WITHOUT_BAND] for found in values.values()]
    rows = []
    for same in zip(*samples, strict=True):
        method = max((row["method"] for row in same), key=len)  # one that says that it was seen
        scores = [row["cremi"] for row in same if row["cremi"] is not None]
        mean = fmean(scores) if len(scores) == len(samples) else None
        rows.append({"method": method, "threshold": same[0]["threshold"], "cremi": mean})
    return rows


@dataclass(frozen=True)
class Headline:
    """One line.

    Parameters
    ----------
    benchmark
        Name of its program and its JSON.
    data, score
        Words for people.
    key
        Of the score in a row.
    best
        ``max`` or ``min``.
    remark
        What was scored by us and by the paper, in a few words.
    paper
        Table of the RC-SPCNet paper, column, and the words that its row begins with.
    rows
        Where the rows are in what the benchmark published.
    """

    benchmark: str
    data: str
    score: str
    key: str
    best: Callable[..., Row]
    remark: str
    paper: tuple[int | str, str, tuple[str, ...]] | None = None
    rows: Rows = single_rows


_ISBI = (1, "V_rand", ("RC-SPCNet (k=2)", "Lifted multicut"))
_TEST = "the paper: the challenge's test sections, whose truth is not public"
_STACK = "the same stack, both at the threshold that is best for it"
HEADLINES = (
    Headline(
        *("isbi2012", "ISBI 2012, sections 14–19", "V_rand", "v_rand", max, _TEST),
        paper=_ISBI,
    ),
    Headline(
        *("isbi2012", "ISBI 2012, sections 0–19 by cross-validation", "V_rand", "v_rand", max),
        _TEST,
        paper=_ISBI,
        rows=fold_rows,
    ),
    Headline(
        *("piriform", "mouse piriform cortex, stack 3", "V_rand", "v_rand", max, _STACK),
        paper=(3, "stack3", ("RC-SPCNet-LMC",)),
        rows=stack_rows(3),
    ),
    Headline(
        *("piriform", "mouse piriform cortex, stack 4", "V_rand", "v_rand", max, _STACK),
        paper=(3, "stack4", ("RC-SPCNet (Focal-loss)",)),
        rows=stack_rows(4),
    ),
    Headline(
        *("snemi3d", "SNEMI3D, sections 60–79", "adapted Rand error", "arand", min),
        "the paper: the challenge's test volume",
        paper=("snemi3d", "Rand error", ("RC-SPCNet and lifted multicut",)),
    ),
    Headline(
        *("fib25", "FIB-25, z 100–149", "adapted Rand error", "arand", min),
        "not in the paper; beside a flood-filling network below",
    ),
    Headline(
        *("cremi", "CREMI, mean of the samples", "CREMI score", "cremi", min, "not in the paper"),
        rows=sample_rows,
    ),
)


def summary(found: Mapping[str, Published]) -> Table:
    """The table; a benchmark without results has its line too, with the command that fills it.

    Parameters
    ----------
    found
        Name -> what was published.
    """
    rows = tuple(_row(line, found.get(line.benchmark)) for line in HEADLINES)
    note = (
        "The best row of each benchmark, thresholds of an oracle and rows that a model saw in "
        "training left aside; it is the best of several that were scored on the same data."
    )
    return Table("Summary", COLUMNS, rows, note)


def _row(line: Headline, published: Published | None) -> tuple[Cell, ...]:
    paper: tuple[Cell, Cell] = (None, None)
    if line.paper is not None:
        table, column, words = line.paper
        paper = (paper_table("rc-spcnet", table).value(column, *words), ", ".join(words))
    row = None if published is None else best_row(line, published)
    ours: tuple[Cell, Cell]
    if row is None:
        ours = (NOT_MEASURED, f"run `python -m benchmarks.{line.benchmark} --data DATA`")
    else:
        ours = (row[line.key], str(row["method"]))
    return (line.data, line.score, *ours, *paper, line.remark)


def best_row(line: Headline, published: Published) -> Row | None:
    """The row with the best score; ``None`` where no row has one."""
    rows = [row for row in line.rows(published.values) if _counts(row, line)]
    return line.best(rows, key=lambda row: row[line.key]) if rows else None


def _counts(row: Row, line: Headline) -> bool:
    method = str(row["method"])
    return (
        row.get(line.key) is not None
        and ORACLE not in str(row.get("threshold"))
        and not any(words in method for words in (SEEN, *NOT_OURS))
    )

"""Measured scores beside the expected ones, and the report of a reproduction."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from pipeline.evaluation.scores import evaluate_labels
from pipeline.store.nodes import write_atomically
from workflows.quantities import duration
from workflows.reproduction import Form, Reproduction
from workflows.reproduction_expected import Expected, Measured, other_models

Ok = Literal["yes", "no", "not scored", "not recorded", "no verdict"]
"""``no verdict``: another network was trained, so the expected score is not its own."""
REPORT_JSON, REPORT_MARKDOWN = "report.json", "report.md"


@dataclass(frozen=True)
class Row:
    """One score.

    Parameters
    ----------
    truth, score
        What was compared with which ground truth.
    expected
        ``None``: nothing was recorded.
    tolerance
        Largest difference that is no difference.
    measured
        ``None``: that truth was not there.
    """

    truth: str
    score: str
    expected: float | None
    tolerance: float
    measured: float | None
    ok: Ok


@dataclass(frozen=True)
class Outcome:
    """What a reproduction gave.

    Parameters
    ----------
    name, form
        Which.
    rows
        Every score.
    notes
        Sentences that people must know to read them.
    seen
        What of the scored sections a model learned from; empty: nothing.
    files
        ``raw`` and the truths -> where they were found.
    voxels, models
        As in ``Expected``.
    measured
        Machine, date, time.
    command
        How it was called.
    """

    name: str
    form: Form
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    seen: tuple[str, ...]
    files: Mapping[str, str]
    voxels: Mapping[str, str]
    models: Mapping[str, str]
    measured: Measured
    command: str

    @property
    def differs(self) -> tuple[Row, ...]:
        """Scores that lie outside their tolerance."""
        return tuple(row for row in self.rows if row.ok == "no")

    @property
    def scores(self) -> dict[str, float]:
        """TRUTH/SCORE -> measured value."""
        return {f"{r.truth}/{r.score}": r.measured for r in self.rows if r.measured is not None}


def score(
    reproduction: Reproduction, labels: NDArray[Any], truths: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """The scores of a reproduction, as ``evaluate`` computes them: TRUTH/SCORE -> value.

    Parameters
    ----------
    reproduction
        Says which scores of which truth.
    labels
        (Z, Y, X) neuron ids, 0 = background.
    truths
        By name, (Z, Y, X).
    """
    found: dict[str, float] = {}
    for name, truth in truths.items():
        asked = reproduction.truths[name]
        scores = evaluate_labels(labels, truth, truth_kind=asked.kind)
        values = scores.section_boundary.model_dump()
        if scores.volume is not None:
            values |= scores.volume.model_dump()
        found |= {f"{name}/{one}": float(values[one]) for one in asked.scores}
    return found


def compare(
    reproduction: Reproduction,
    measured: Mapping[str, float],
    expected: Expected | None,
    *,
    trained: bool,
) -> tuple[Row, ...]:
    """Every score beside what is expected.

    Parameters
    ----------
    reproduction
        For the tolerances.
    measured
        TRUTH/SCORE -> value, of the truths that were there.
    expected
        ``None``: nothing was recorded.
    trained
        Whether the network was trained just now; then there is no verdict.
    """
    rows = []
    for name, truth in reproduction.truths.items():
        for one in truth.scores:
            value = measured.get(f"{name}/{one}")
            aim = None if expected is None else expected.scores.get(f"{name}/{one}")
            tolerance = reproduction.tolerances[one]
            rows.append(Row(name, one, aim, tolerance, value, _ok(value, aim, tolerance, trained)))
    return tuple(rows)


def _ok(value: float | None, aim: float | None, tolerance: float, trained: bool) -> Ok:
    if value is None:
        return "not scored"
    if aim is None:
        return "not recorded"
    if trained:
        return "no verdict"
    return "yes" if abs(value - aim) <= tolerance else "no"


def notes_of(
    expected: Expected | None, outcome_models: Mapping[str, str], now: Measured, *, trained: bool
) -> tuple[str, ...]:
    """What people must know to read the table."""
    if expected is None:
        return ("Nothing was recorded for this form, so there is nothing to compare with.",)
    then = expected.measured
    told = [
        f"Expected: measured on {then.date} at commit {then.commit}, {then.processor}, network on "
        f"{then.device} in {then.precision}, {duration(then.seconds)}."
    ]
    if (then.device, then.precision) != (now.device, now.precision):
        told.append(
            f"The network ran on {now.device} in {now.precision} now: maps differ by a grey level "
            "here and there, and scores by what the tolerances allow."
        )
    if trained:
        told.append(
            "The network was trained just now on the learning part of these data alone; the "
            "forests are the shipped ones. The expected scores are those of the shipped network, "
            "which learned from more data: no verdict."
        )
    elif changed := other_models(expected.models, outcome_models):
        told.append(
            f"Not the files that the expected scores were measured with: {', '.join(changed)}."
        )
    return tuple(told)


def as_markdown(outcome: Outcome, reproduction: Reproduction) -> str:
    """The table and its notes."""
    lines = [
        f"# {outcome.name}: {reproduction.title}"
        + (" (quick form)" if outcome.form == "quick" else ""),
        "",
        "| truth | score | expected | tolerance | measured | ok |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.truth} | {row.score} | {_number(row.expected)} | ±{row.tolerance:g} | "
        f"{_number(row.measured)} | {_said(row.ok)} |"
        for row in outcome.rows
    ]
    now = outcome.measured
    told = [
        *(f"**seen in training**: {one}" for one in outcome.seen),
        reproduction.seen,
        *outcome.notes,
        f"Measured: {now.date}, commit {now.commit}, {now.processor}, network on {now.device} in "
        f"{now.precision}, {duration(now.seconds)}.",
        f"Data: {reproduction.terms} Cite: {reproduction.cite}",
    ]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in told)]) + "\n"


def write_report(outcome: Outcome, reproduction: Reproduction, folder: Path) -> Path:
    """``report.json`` and ``report.md``, each whole or not at all; the path of the latter."""
    content = {
        **{k: v for k, v in asdict(outcome).items() if k != "measured"},
        "measured": outcome.measured.model_dump(),
        "verdict": verdict(outcome),
    }
    write_atomically(folder / REPORT_JSON, content)
    path = folder / REPORT_MARKDOWN
    partial = folder / f".{REPORT_MARKDOWN}.partial"
    partial.write_text(as_markdown(outcome, reproduction), "utf-8")
    os.replace(partial, path)
    return path


def verdict(outcome: Outcome) -> Literal["reproduced", "differs", "none"]:
    """``none``: no score could be compared."""
    if outcome.differs:
        return "differs"
    return "reproduced" if any(row.ok == "yes" for row in outcome.rows) else "none"


def _said(ok: Ok) -> str:
    return "**no**" if ok == "no" else ok


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"

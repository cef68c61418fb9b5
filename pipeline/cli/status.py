"""``status``: what an output holds, and what of it is current."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from workflows.status import StageStatus, StepStatus


def status(
    output: Annotated[Path, typer.Argument(help="An output of run, also of one that goes on now.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Everything, step by step, for machines.")
    ] = False,
) -> None:
    """Show how far OUTPUT is: each stage done, unfinished, or stale and why; time and memory."""
    from workflows.prepare import reopen
    from workflows.status import as_json as described
    from workflows.status import status as status_of

    run = reopen(output)
    stages = status_of(run)
    if as_json:
        print(json.dumps(described(run, stages), indent=1))
        return
    console = Console()
    console.print(_table(stages))
    for line in _remarks(stages):
        console.print(Text(line))


def _table(stages: Sequence[StageStatus]) -> Table:
    from workflows.quantities import duration, size

    table = Table("stage", "state", "blocks", "at", "time", "memory", "ended")
    for one in stages:
        record = one.record
        table.add_row(
            one.stage,
            one.state,
            f"{one.blocks_done}/{one.blocks}" if one.blocks and record else "-",
            _at(one),
            duration(record.seconds) if record and record.seconds else "-",
            size(record.peak_bytes) if record and record.peak_bytes else "-",
            record.ended.replace("T", " ")[:16] if record and record.ended else "-",
        )
    return table


def _at(one: StageStatus) -> str:
    """The step that an unfinished stage is at."""
    if one.state != "unfinished":
        return ""
    step: StepStatus | None = next((s for s in one.steps if s.state != "done"), None)
    if step is None:
        return ""
    return f"{step.name} {step.done}/{'?' if step.tasks is None else step.tasks}"


def _remarks(stages: Sequence[StageStatus]) -> list[str]:
    """Why stages are stale, and which of their tasks failed."""
    lines = [f"{one.stage} is stale: {'; '.join(one.why)}" for one in stages if one.why]
    for one in stages:
        for step in one.steps:
            if step.failed:
                names = ", ".join(step.failed[:5]) + (", ..." if len(step.failed) > 5 else "")
                lines.append(f"{one.stage}, {step.name}: {len(step.failed)} failed: {names}")
    return lines

"""``run --dry-run``: what would be done, as a table or as JSON; exit code 2 if it could not."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import InputError

if TYPE_CHECKING:
    from workflows.cluster import Workplace
    from workflows.estimates import Pace, Work
    from workflows.plan import Plan
    from workflows.prepare import Run


def show_plan(
    run: Run, workplace: Workplace, *, fresh: bool, calibration: bool, as_json: bool
) -> None:
    """Print the plan of a run.

    Raises
    ------
    ResourceError
        If the run could not start.
    """
    from workflows.checks import refuse
    from workflows.estimates import Work, measured
    from workflows.plan import make_plan

    work = Work.of(run)
    pace = measured(run, work, "the earlier run")
    plan = make_plan(run, workplace, work, pace, fresh=fresh)
    if calibration and plan.seconds is None and plan.possible:
        pace = pace.joined(_calibrated(run, work, workplace))
        plan = make_plan(run, workplace, work, pace, fresh=fresh)
    if as_json:
        print(json.dumps(plan.as_json(), indent=1))
    else:
        _print(plan)
    refuse(plan.findings)


def _calibrated(run: Run, work: Work, workplace: Workplace) -> Pace:
    from workflows.calibration import calibrate
    from workflows.estimates import Pace

    print("measuring the time on a small piece; --no-calibration skips that", file=sys.stderr)
    try:
        return calibrate(run, work, workplace.task_threads(work.blocks))
    except InputError as error:
        print(f"warning: no estimate of the time: {error}", file=sys.stderr)
        return Pace()


def _print(plan: Plan) -> None:
    from workflows.quantities import duration, size

    console = Console()
    table = Table("stage", "", "blocks", "time", "memory", "disk", "why")
    for one in plan.stages:
        seconds = "?" if one.seconds is None else duration(one.seconds)
        table.add_row(
            one.stage,
            "run" if one.runs else "current",
            f"{one.blocks}/{one.blocks_total}" if one.blocks_total else "-",
            seconds if one.runs else "-",
            size(one.memory_bytes) if one.memory_bytes and one.runs else "-",
            size(one.disk_bytes),
            Text("; ".join(one.why)),
        )
    console.print(table)
    for line in _sums(plan):
        console.print(Text(line))


def _sums(plan: Plan) -> list[str]:
    """Time, disk by array, and what was checked."""
    from workflows.quantities import duration, size

    if not any(one.runs for one in plan.stages):
        lines = ["nothing is to be done: every stage is current"]
    elif plan.seconds is None:
        lines = ["time: not known"]
    else:
        origins = " and ".join(dict.fromkeys(s.seconds_from for s in plan.stages if s.seconds_from))
        where = "1 worker" if plan.workers == 1 else f"{plan.workers} workers"
        lines = [f"time: about {duration(plan.seconds)} with {where}; an estimate from {origins}"]
    arrays = ", ".join(
        f"{one.name} {one.dtype} {size(one.disk_bytes)} (not compressed {size(one.plain_bytes)})"
        for one in plan.arrays
    )
    lines.append(f"arrays: {arrays}; with pyramids")
    marks = {"fine": "", "warning": "warning: ", "error": "error: "}
    return lines + [f"{marks[finding.kind]}{finding.text}" for finding in plan.findings]

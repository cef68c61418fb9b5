"""``status``: what an output holds, and what of it is current."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def status(
    output: Annotated[Path, typer.Argument(help="An output of run.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show each stage of OUTPUT: blocks done, current or stale, time."""
    from workflows.prepare import reopen
    from workflows.reconstruct import status as status_of

    rows = status_of(reopen(output))
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    table = Table("stage", "state", "blocks", "seconds", "peak memory", "ended")
    for row in rows:
        record = row.record
        table.add_row(
            row.stage,
            row.state,
            f"{row.blocks_done}/{row.blocks}" if record else "-",
            f"{record.seconds:.1f}" if record and record.seconds else "-",
            f"{record.peak_bytes / 2**30:.2f} GiB" if record and record.peak_bytes else "-",
            record.ended.replace("T", " ")[:16] if record and record.ended else "-",
        )
    Console().print(table)

"""SNEMI3D (AC4): quality on sections 60-79, which nothing was trained on.

``python -m benchmarks.snemi3d --data DATA``
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.datasets import SNEMI3D
from benchmarks.endings import as_program
from benchmarks.papers import paper_table
from benchmarks.published import Table, publish
from benchmarks.quality import arguments, graph_sentence, run
from benchmarks.quality_figures import quality_figures
from benchmarks.quality_rows import score_table, worst_table

OTHER_DATA = (
    "The paper's numbers are of the challenge's hidden test volume (AC3), 100 sections of another "
    "piece of the same cortex, so they do not stand in the table above."
)


def main(argv: Sequence[str] | None = None) -> Path:
    """Run and publish."""
    options = arguments(__doc__ or "", argv)
    rows, result = run(SNEMI3D, options)
    begin, end = result["part"].validate
    tables: list[Table] = [
        score_table("Scores", rows, graph_sentence(result)),
        worst_table(result["neurons"], result["truth"], (begin, 0, 0)),
    ]
    paper = paper_table("rc-spcnet", "snemi3d").as_table()
    tables.append(Table(paper.title, paper.columns, paper.rows, f"{paper.note} {OTHER_DATA}"))
    return publish(
        options.output,
        "snemi3d",
        f"SNEMI3D, sections {begin}-{end - 1}",
        tables,
        quick=options.quick,
        values={"rows": [asdict(row) for row in rows], "curves": result["curves"]},
        figures=quality_figures(rows, result),
    )


if __name__ == "__main__":
    as_program(main)

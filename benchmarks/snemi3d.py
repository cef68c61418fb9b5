"""SNEMI3D (AC4): quality on sections 60-79, which nothing was trained on.

``python -m benchmarks.snemi3d --data DATA``
"""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.datasets import SNEMI3D
from benchmarks.quality import arguments, as_markdown, graph_sentence, run
from benchmarks.reports import report


def main() -> None:
    """Run and report."""
    options = arguments(__doc__ or "")
    rows, result = run(SNEMI3D, options)
    text = f"# SNEMI3D, sections 60-79\n\n{as_markdown(rows)}\n{graph_sentence(result)}\n"
    report(options.output, "snemi3d", text, {"rows": [asdict(r) for r in rows]})


if __name__ == "__main__":
    main()

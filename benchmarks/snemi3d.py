"""SNEMI3D (AC4): quality on sections 60-79, which nothing was trained on.

``python -m benchmarks.snemi3d --data DATA``
"""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.datasets import SNEMI3D
from benchmarks.quality import arguments, as_markdown, moved_nodes, report, run


def main() -> None:
    """Run and report."""
    options = arguments(__doc__ or "")
    rows, result = run(SNEMI3D, options)
    nodes = result["nodes"]
    moved = moved_nodes(nodes["multicut"], nodes["neuron"])
    text = (
        "# SNEMI3D, sections 60-79\n\n"
        + as_markdown(rows)
        + f"\n{len(nodes['id'])} superpixels, {len(result['edges']['uv'])} edges; {moved} "
        "superpixels change neuron between multicut and lifted multicut.\n"
    )
    report(
        options.output,
        "snemi3d",
        text,
        {"rows": [asdict(r) for r in rows], "moved_nodes": moved},
    )


if __name__ == "__main__":
    main()

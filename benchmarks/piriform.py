"""Mouse piriform cortex (Lee et al. 2015): the rows of RC-SPCNet's Table 3, on stacks 3 and 4.

Networks and forests that learned from stacks 1 and 2 are found by name below ``--trained``; rows
of those that are not there say which command makes them. The shipped network and forests, which
never saw this tissue, have rows of their own. Volumes go through a store on disk, so a killed
benchmark goes on.

``python -m benchmarks.piriform --data DATA``
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.endings import as_program
from benchmarks.papers import paper_table
from benchmarks.piriform_data import FOLDER, TEST_STACKS, VOXEL_SIZE_NM, Stack, read_stack
from benchmarks.piriform_models import SHIPPED, TRAINED, Models, found_models, to_train
from benchmarks.published import NOT_MEASURED, SEEN, Cell, Table, publish
from benchmarks.quality import (
    AUGMENTATIONS,
    GRAPH_ON,
    LIFTED,
    QUICK_PIXELS,
    QUICK_SECTIONS,
    Row,
    Truth,
    graph_sentence,
    models_of,
    options_parser,
    quality_rows,
    volume_info,
)
from benchmarks.quality_figures import quality_figures
from benchmarks.quality_rows import marked, score_table
from benchmarks.stored_runs import imported, reconstruct_stored
from pipeline.config import PipelineSections, load_config
from pipeline.contract import Box
from pipeline.store import open_volume
from workflows.seen_data import require_unseen

PRESET = "piriform"
Found = Mapping[str, Mapping[int, Sequence[Row]]]
"""Models -> test stack -> rows."""


def main(argv: Sequence[str] | None = None) -> Path:
    """All models on both test stacks."""
    parser = options_parser(__doc__ or "")
    parser.add_argument(
        "--trained",
        type=Path,
        default=Path("runs/piriform"),
        help="folder below which networks and forests of stacks 1 and 2 lie",
    )
    options = parser.parse_args(argv)
    stacks = [read_stack(options.data, number) for number in TEST_STACKS]
    if options.quick:
        stacks = [stack.cut_to((QUICK_SECTIONS, QUICK_PIXELS, QUICK_PIXELS)) for stack in stacks]
    models = found_models(options.trained)
    rows: dict[str, dict[int, list[Row]]] = {}
    tables: list[Table] = []
    figures: dict[str, Figure] = {}
    for one in models:
        rows[one.name] = {}
        for stack in stacks:
            found, sentence, drawn = scored(stack, one, options)
            rows[one.name][stack.number] = found
            tables.append(score_table(f"{one.title}, stack {stack.number}", found, sentence))
            figures |= {f"{one.name}-{stack.number}-{name}": f for name, f in drawn.items()}
    return publish(
        options.output,
        "piriform",
        "Mouse piriform cortex, stacks 3 and 4",
        [comparison(rows, models), *tables],
        quick=options.quick,
        values={
            name: {str(number): [asdict(row) for row in lines] for number, lines in found.items()}
            for name, found in rows.items()
        },
        figures=figures,
    )


def scored(
    stack: Stack, models: Models, options: argparse.Namespace
) -> tuple[list[Row], str, dict[str, Figure]]:
    """Rows of one stack, a sentence about its graph, and figures."""
    folder = options.output / FOLDER
    volume = imported(stack.image, folder, stack.box, voxel_size_nm=VOXEL_SIZE_NM)
    opened = open_volume(volume)
    raw = opened.read(Box((0, 0, 0), opened.shape))
    part = stack.dataset
    config = load_config(options.config or PRESET, [*options.set, *models.overrides])
    files = models_of(config, volume_info(part, raw))
    seen = require_unseen(raw, files, what=part.name, allow=options.allow_seen)

    def reconstruct(chosen: PipelineSections, until: str | None) -> dict[str, Any]:
        boundaries: Any = chosen.section("boundaries")
        name = f"{volume.stem}-{models.name}-{boundaries.augmentation}.neurons.zarr"
        return reconstruct_stored(volume, folder / name, chosen, device=options.device, until=until)

    rows, result = quality_rows(part, reconstruct, config, Truth(stack.ids, stack.ids, "labels"))
    rows = marked(rows, seen)
    shown = {**result, "truth": stack.ids, "part": part}
    return rows, graph_sentence(result), quality_figures(rows, shown)


def comparison(rows: Found, models: Sequence[Models]) -> Table:
    """The paper's Table 3 with ours beside it: best V_rand over thresholds, after thinning."""
    paper = paper_table("rc-spcnet", 3)
    lines: list[tuple[Cell, ...]] = []
    for method, *theirs in paper.rows:
        trained = TRAINED.get(str(method))
        ours: list[Cell] = [None] * len(TEST_STACKS)
        if trained is not None:
            ours = [
                _measured(rows, models, trained.network, trained.lifted, number)
                for number in TEST_STACKS
            ]
        lines.append((method, *ours, *theirs))
    for lifted, what in ((False, "network"), (True, "network and forests, lifted multicut")):
        ours = [_measured(rows, models, SHIPPED, lifted, number) for number in TEST_STACKS]
        name = f"shipped {what}, never saw mouse piriform cortex"
        lines.append((name, *ours, *[None] * len(TEST_STACKS)))
    heads = [f"stack {number}" for number in TEST_STACKS]
    columns = ("method", *heads, *(f"paper, {head}" for head in heads))
    return Table(
        "Best V_rand over thresholds, after thinning", columns, tuple(lines), _note(models)
    )


def _measured(
    rows: Found, models: Sequence[Models], network: str, lifted: bool, number: int
) -> Cell:
    """V_rand of the map of max TTA at its best threshold, or of the lifted multicut."""
    own = next((one for one in models if one.name == network), None)
    if own is None or (lifted and network != SHIPPED and not own.own_forests):
        return NOT_MEASURED
    wanted = LIFTED if lifted else AUGMENTATIONS[GRAPH_ON]
    row = next(
        row
        for row in rows[network][number]
        if row.method.removesuffix(f" ({SEEN})") == wanted and row.v_rand is not None
    )
    return f"{row.v_rand:.4f} ({SEEN})" if SEEN in row.method else row.v_rand


def _note(models: Sequence[Models]) -> str:
    text = (
        "Ours: maps by max TTA at the threshold that is best for each stack (the paper's "
        "protocol), and labels of the lifted multicut, which have none. SegNet to LKRFNet are "
        "others' networks, which are not part of this program."
    )
    missing = to_train(models)
    if missing:
        text += f" {NOT_MEASURED}: not trained here; " + "; ".join(
            f"`{command}`" for command in missing
        )
        text += ", then this benchmark again."
    return text


if __name__ == "__main__":
    as_program(main)

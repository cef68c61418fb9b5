"""CREMI: quality on samples A, B and C, which nothing was trained on.

Scored on all labelled voxels, and as the challenge does it, without a band of 25 nm round the
borders between true neurons. Volumes go through a store on disk, so a killed benchmark goes on.

``python -m benchmarks.cremi --data DATA``
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.cremi_data import (
    BAND_NM,
    FOLDER,
    RAW,
    SAMPLES,
    Sample,
    cut_to,
    read_sample,
    sample_path,
    without_band,
)
from benchmarks.datasets import Dataset
from benchmarks.endings import as_program
from benchmarks.published import Cell, Table, publish
from benchmarks.quality import (
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
from pipeline.errors import InputError
from pipeline.store import open_volume
from workflows.seen_data import require_unseen

PRESET = "cremi"
EVERYWHERE, WITHOUT_BAND = "all labelled voxels", f"without the band of {BAND_NM:g} nm"


def main(argv: Sequence[str] | None = None) -> Path:
    """All samples that are there, one report."""
    parser = options_parser(__doc__ or "")
    parser.add_argument(
        "--sample", choices=SAMPLES, action="append", help="repeatable; all that are there"
    )
    options = parser.parse_args(argv)
    rows: dict[str, dict[str, list[Row]]] = {}
    tables: list[Table] = []
    figures: dict[str, Figure] = {}
    for sample in samples(options):
        rows[sample.name], sentence, drawn = scored(sample, options)
        tables += [
            score_table(f"Sample {sample.name}, {what}", found, sentence)
            for what, found in rows[sample.name].items()
        ]
        figures |= {f"{sample.name}-{name}": figure for name, figure in drawn.items()}
    return publish(
        options.output,
        "cremi",
        "CREMI",
        [summary({name: found[WITHOUT_BAND] for name, found in rows.items()}), *tables],
        quick=options.quick,
        values={
            name: {what: [asdict(row) for row in lines] for what, lines in found.items()}
            for name, found in rows.items()
        },
        figures=figures,
    )


def samples(options: argparse.Namespace) -> list[Sample]:
    """The samples that are asked for, or those that are there.

    Raises
    ------
    InputError
        If one that is asked for, or all of them, are missing.
    """
    asked = options.sample or [n for n in SAMPLES if sample_path(options.data, n) is not None]
    found = []
    for name in asked or SAMPLES:
        path = sample_path(options.data, name)
        if path is None:
            raise InputError(
                f"{options.data / FOLDER}: holds no sample_{name}_*.hdf; docs/data.md says where "
                "CREMI's files come from"
            )
        sample = read_sample(path, name)
        if options.quick:
            sample = cut_to(sample, (QUICK_SECTIONS, QUICK_PIXELS, QUICK_PIXELS))
        found.append(sample)
    return found


def scored(
    sample: Sample, options: argparse.Namespace
) -> tuple[dict[str, list[Row]], str, dict[str, Figure]]:
    """Rows with and without the band, a sentence about the graph, and figures."""
    folder = options.output / FOLDER
    volume = imported(sample.path, folder, sample.box, dataset=RAW)
    opened = open_volume(volume)
    raw = opened.read(Box((0, 0, 0), opened.shape))
    part = Dataset(
        name=f"cremi sample {sample.name}",
        raw=f"{FOLDER}/{sample.path.name}",
        truth=f"{FOLDER}/{sample.path.name}",
        voxel_size_nm=opened.voxel_size_nm,
        train=(0, 0),
        validate=(0, len(raw)),
    )
    config = load_config(options.config or PRESET, options.set)
    models = models_of(config, volume_info(part, raw))
    seen = require_unseen(raw, models, what=part.name, allow=options.allow_seen)

    def reconstruct(chosen: PipelineSections, until: str | None) -> dict[str, Any]:
        boundaries: Any = chosen.section("boundaries")
        store = folder / f"{volume.stem}-{boundaries.augmentation}.neurons.zarr"
        return reconstruct_stored(volume, store, chosen, device=options.device, until=until)

    everywhere = Truth(sample.ids, sample.ids, "labels")
    rows, result = quality_rows(part, reconstruct, config, everywhere)
    inside, _ = quality_rows(
        part, reconstruct, config, Truth(without_band(sample.ids, pixel_nm=opened.voxel_size_nm[1]))
    )
    found = {EVERYWHERE: marked(rows, seen), WITHOUT_BAND: marked(inside, seen)}
    shown = {**result, "truth": sample.ids, "part": part}
    return found, graph_sentence(result), quality_figures(rows, shown)


def summary(rows: Mapping[str, Sequence[Row]]) -> Table:
    """CREMI score of every method on every sample, and its mean; rows are in the same order."""
    cells: list[tuple[Cell, ...]] = []
    for lines in zip(*rows.values(), strict=True):
        method = max((line.method for line in lines), key=len)  # one that says that it was seen
        chosen_by = lines[0].threshold.partition(" ")[2]
        scores = [line.cremi for line in lines if line.cremi is not None]
        cells.append((method, chosen_by or None, *scores, statistics.fmean(scores)))
    return Table(
        f"CREMI score, {WITHOUT_BAND}",
        ("method", "threshold", *(f"sample {name}" for name in rows), "mean"),
        tuple(cells),
        "Lower is better: square root of VOI times adapted Rand error. These are the challenge's "
        "training samples, whose truth is public; its leader board is of other samples.",
    )


if __name__ == "__main__":
    as_program(main)

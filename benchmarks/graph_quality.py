"""Quality step by step: what each stage of the graph adds, on the validation parts.

The map is that of maximal test-time augmentation throughout: thresholded, then multicut on mean
boundaries, then with the first forest, then lifted with the second. ``graph.py`` runs it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import FIB25, ISBI2012, SNEMI3D, Dataset
from benchmarks.fib25 import FFN, ffn_rows
from benchmarks.published import publish
from benchmarks.quality import (
    AUGMENTATIONS,
    Row,
    as_markdown,
    chosen_thresholds,
    graph_rows,
    graph_sentence,
    map_row_2d,
    map_row_3d,
    models_of,
    volume_info,
    with_augmentation,
)
from benchmarks.quality_rows import marked
from pipeline.config import load_config
from workflows.in_memory import reconstruct_array
from workflows.seen_data import require_unseen

AUGMENTATION = "max"
QUICK_SECTIONS = 4


def quality(options: argparse.Namespace) -> None:
    """All data sets, one report."""
    text = []
    values: dict[str, Any] = {"data": {}}
    for dataset in (ISBI2012, SNEMI3D, FIB25):
        sections = scored_sections(dataset, quick=options.quick)
        rows, sentence = steps(dataset, sections, options)
        text.append(f"## {dataset.name}, sections {sections[0]}-{sections[1] - 1}\n")
        text.append(f"{as_markdown(rows)}\n{sentence}\n")
        values["data"][dataset.name] = {
            "sections": sections,
            "rows": [asdict(row) for row in rows],
            "sentence": sentence,
        }
    publish(
        options.output,
        "graph_quality",
        "Quality, step by step",
        (),
        text="\n".join(text),
        quick=options.quick,
        values=values,
    )


def scored_sections(dataset: Dataset, *, quick: bool) -> tuple[int, int]:
    """The validation part, or a few sections of it to try the program."""
    begin, end = dataset.validate
    return (begin, begin + QUICK_SECTIONS) if quick else (begin, end)


def steps(
    dataset: Dataset, sections: tuple[int, int], options: argparse.Namespace
) -> tuple[list[Row], str]:
    """Rows of one data set, and a sentence about its graph."""
    raw = dataset.load(options.data, dataset.raw, sections)
    truth = dataset.load(options.data, dataset.truth, sections)
    membranes = (
        dataset.load(options.data, dataset.membranes, sections) if dataset.membranes else None
    )
    config = with_augmentation(load_config(options.config, options.set), AUGMENTATION)
    seen = require_unseen(
        raw,
        models_of(config, volume_info(dataset, raw)),
        what=f"{dataset.name}, sections {sections[0]}-{sections[1] - 1}",
        allow=options.allow_seen,
    )
    result = reconstruct_array(
        raw,
        dataset.voxel_size_nm,
        config,
        device=options.device,
        given=given_map(options.maps, dataset, raw.shape),
    )
    chosen = chosen_thresholds(dataset.name).get(AUGMENTATION, {})
    title, flat = AUGMENTATIONS[AUGMENTATION], dataset.kind == "anisotropic"
    rows = []
    if membranes is not None:
        rows += map_row_2d(title, result["boundaries"], membranes, chosen.get("v_rand"))
    rows += map_row_3d(title, result["boundaries"], truth, chosen.get("arand"), flat)
    rows += graph_rows(result, truth, membranes, dataset, config)
    if dataset is FIB25:
        ffn = dataset.load(options.data, FFN, sections)
        rows += ffn_rows(ffn, result["neurons"], truth)
    return marked(rows, seen), graph_sentence(result)


def given_map(
    folder: Path | None, dataset: Dataset, shape: tuple[int, ...]
) -> dict[str, NDArray[np.uint8]]:
    """The boundary map kept in a folder, if it is of this shape; else none, to be predicted."""
    path = folder / f"{dataset.name}-validate.npy" if folder else None
    if path is None or not path.exists():
        return {}
    boundaries = np.load(path)
    return {"boundaries": boundaries} if boundaries.shape == shape else {}

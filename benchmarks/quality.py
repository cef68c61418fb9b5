"""Scores of the thresholded map, multicut and lifted multicut on sections that nothing saw.

Rows, each from the shipped model and forests, or those that the configuration names: single
pass, mean and max test-time augmentation with the map thresholded (``thresholded_maps``); then
the graph on the max map.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.datasets import Dataset
from benchmarks.multicut_rows import (
    LIFTED,
    MULTICUT,
    graph_rows,
    graph_sentence,
    moved_nodes,
    volume_info,
)
from benchmarks.quality_rows import Row, as_markdown, label_row, marked, object_scores
from benchmarks.thresholded_maps import (
    THRESHOLDS,
    best_threshold,
    component_errors,
    map_row_2d,
    map_row_3d,
    section_rows,
    section_scores,
    thresholded,
    volume_rows,
)
from pipeline.config import PipelineSections, load_config, parse_config
from pipeline.contract import VolumeInfo
from pipeline.evaluation.isbi import TruthKind
from pipeline.registry import STAGES
from workflows.in_memory import reconstruct_array
from workflows.seen_data import Seen, require_unseen

__all__ = [
    "AUGMENTATIONS",
    "LIFTED",
    "MULTICUT",
    "PARAMETERS",
    "THRESHOLDS",
    "Row",
    "Truth",
    "arguments",
    "as_markdown",
    "best_threshold",
    "chosen_thresholds",
    "graph_rows",
    "graph_sentence",
    "label_row",
    "map_row_2d",
    "map_row_3d",
    "models_of",
    "moved_nodes",
    "object_scores",
    "options_parser",
    "quality_rows",
    "run",
    "scored_part",
    "thresholded",
    "unseen_part",
    "volume_info",
    "with_augmentation",
]

AUGMENTATIONS = {"none": "single pass", "mean": "mean TTA", "max": "max TTA"}
GRAPH_ON = "max"
"""Augmentation of the map that the graph is made of."""
PARAMETERS = Path(__file__).with_name("parameters.json")
QUICK_SECTIONS, QUICK_PIXELS = 3, 256

Reconstruct = Callable[[PipelineSections, str | None], dict[str, Any]]
"""Called with a configuration and the last stage (``None``: all); gives what
``reconstruct_array`` does."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What a volume is scored against.

    Parameters
    ----------
    ids
        (Z, Y, X); voxels of id 0 are left out of the 3D scores.
    membranes
        (Z, Y, X) truth of V_rand and V_info; ``None``: they are not scored.
    kind
        What ``membranes`` holds: a mask or ids, 0 = boundary.
    """

    ids: NDArray[Any]
    membranes: NDArray[Any] | None = None
    kind: TruthKind = "mask"


def options_parser(description: str) -> argparse.ArgumentParser:
    """The options of every quality benchmark, to be added to."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--config", help="preset or YAML; the defaults otherwise")
    parser.add_argument("--set", action="append", default=[], metavar="stage.key=value")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a small part, to try the program")
    parser.add_argument(
        "--allow-seen",
        action="store_true",
        help="score what a model learned from all the same, and say so in every row",
    )
    return parser


def arguments(description: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options as they were given."""
    return options_parser(description).parse_args(argv)


def with_augmentation(config: PipelineSections, augmentation: str) -> PipelineSections:
    """The same configuration with another test-time augmentation."""
    values = config.model_dump()
    values["boundaries"]["augmentation"] = augmentation
    return parse_config(values, augmentation)


def scored_part(dataset: Dataset, *, quick: bool) -> Dataset:
    """The data set, or, to try a program, one whose validation part is small."""
    if not quick:
        return dataset
    begin, _ = dataset.validate
    corner = (0, QUICK_PIXELS, 0, QUICK_PIXELS)
    return replace(dataset, validate=(begin, begin + QUICK_SECTIONS), region=corner)


def run(dataset: Dataset, options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """All rows of the validation part of a data set, in memory, and the last reconstruction.

    Returns
    -------
    rows
        See ``quality_rows``; where a model learned from what is scored, they say so.
    result
        Of ``quality_rows``, with ``truth`` (the ids), ``part`` (the data set that was scored)
        and ``seen``.

    Raises
    ------
    LeakageError
        If a model learned from what is scored, unless that is allowed.
    """
    part = scored_part(dataset, quick=options.quick)
    config = load_config(options.config, options.set)
    raw, truth, seen = unseen_part(part, config, options)

    def reconstruct(chosen: PipelineSections, until: str | None) -> dict[str, Any]:
        return reconstruct_array(
            raw, part.voxel_size_nm, chosen, device=options.device, until=until
        )

    rows, result = quality_rows(part, reconstruct, config, truth)
    return marked(rows, seen), {**result, "truth": truth.ids, "part": part, "seen": seen}


def unseen_part(
    part: Dataset, config: PipelineSections, options: argparse.Namespace
) -> tuple[NDArray[Any], Truth, tuple[Seen, ...]]:
    """Grey values (Z, Y, X) and truth of the validation part, and what of it was learned from.

    Raises
    ------
    LeakageError
        If a model learned from what is scored, unless that is allowed.
    """
    raw, ids = (part.load(options.data, path, part.validate) for path in (part.raw, part.truth))
    membranes = part.load(options.data, part.membranes, part.validate) if part.membranes else None
    begin, end = part.validate
    seen = require_unseen(
        raw,
        models_of(config, volume_info(part, raw)),
        what=f"{part.name}, sections {begin}-{end - 1}",
        allow=options.allow_seen,
    )
    return raw, Truth(ids, membranes), seen


def models_of(config: PipelineSections, volume: VolumeInfo) -> list[Path]:
    """The network and the forests that a configuration uses on a volume."""
    resolved = config.resolved(volume)
    return [
        Path(path)
        for stage in STAGES
        if stage.files
        for path in stage.files(resolved.section(stage.name))
    ]


def quality_rows(
    dataset: Dataset, reconstruct: Reconstruct, config: PipelineSections, truth: Truth
) -> tuple[list[Row], dict[str, Any]]:
    """Rows of the maps and of the graph.

    Parameters
    ----------
    dataset
        For its name, voxel size and kind.
    reconstruct
        Segments the volume that is scored.
    config
        Parameters; the augmentation is replaced.
    truth
        Of the same voxels.

    Returns
    -------
    rows
        Of every augmentation: by section (where there are membranes) and in 3D, each at the
        chosen threshold (where there is one) and at the oracle's; then ``graph_rows``.
    result
        Of the graph's reconstruction, with ``curves``: score -> map -> threshold -> value.
    """
    chosen = chosen_thresholds(dataset.name)
    flat = dataset.kind == "anisotropic"
    rows: list[Row] = []
    curves: dict[str, dict[str, dict[float, float]]] = {}
    result: dict[str, Any] = {}
    for augmentation, title in AUGMENTATIONS.items():
        began = time.monotonic()
        until = None if augmentation == GRAPH_ON else "boundaries"
        result = reconstruct(with_augmentation(config, augmentation), until)
        print(f"{dataset.name}, {title}: {time.monotonic() - began:.0f} s", flush=True)
        given, boundaries = chosen.get(augmentation, {}), result["boundaries"]
        if truth.membranes is not None:
            scores = section_scores(boundaries, truth.membranes, truth.kind)
            rows += section_rows(title, scores, given.get("v_rand"))
            curves.setdefault("v_rand", {})[title] = {t: s.v_rand for t, s in scores.items()}
        errors = component_errors([boundaries], [truth.ids])
        curves.setdefault("arand", {})[title] = errors
        rows += volume_rows(title, boundaries, truth.ids, errors, given.get("arand"), flat=flat)
    rows += graph_rows(result, truth.ids, truth.membranes, dataset, config, kind=truth.kind)
    return rows, {**result, "curves": curves}


def chosen_thresholds(name: str) -> dict[str, dict[str, float]]:
    """Thresholds on P(boundary) chosen on training parts: augmentation -> score -> value."""
    if not PARAMETERS.exists():
        return {}
    thresholds: dict[str, dict[str, float]] = json.loads(PARAMETERS.read_text())["thresholds"].get(
        name, {}
    )
    return thresholds

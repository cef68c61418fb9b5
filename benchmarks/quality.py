"""Scores of the thresholded map, multicut and lifted multicut on validation sections.

Rows, each from the shipped model and forests: single pass, mean and max test-time
augmentation with the map thresholded; then the graph on the max map. Thresholds are shown
as chosen on training parts (``parameters.json``, made by ``choose_parameters.py``) and as the
best one for the very data that is scored (oracle), which nobody has in practice.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from benchmarks.datasets import Dataset
from benchmarks.mean_boundary import chosen_prior, labels_of, mean_boundary_multicut
from pipeline.config import PipelineSections, load_config, parse_config
from pipeline.contract import UINT8_MAX, VolumeInfo
from pipeline.evaluation.contingency import contingency
from pipeline.evaluation.isbi import score_map, truth_sections
from pipeline.evaluation.scores import ObjectScores, evaluate_labels, score_objects
from workflows.in_memory import reconstruct_array

AUGMENTATIONS = {"none": "single pass", "mean": "mean TTA", "max": "max TTA"}
THRESHOLDS = (0.01, 0.02, 0.03, *(round(0.05 * i, 2) for i in range(1, 20)))
PARAMETERS = Path(__file__).with_name("parameters.json")


@dataclass(frozen=True)
class Row:
    """One line of a table; ``None`` where a score does not apply."""

    method: str
    threshold: str
    v_rand: float | None
    v_info: float | None
    arand: float | None
    voi_split: float | None
    voi_merge: float | None


def arguments(description: str) -> argparse.Namespace:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--config", help="preset or YAML; the defaults otherwise")
    parser.add_argument("--set", action="append", default=[], metavar="stage.key=value")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a small part, to try the program")
    return parser.parse_args()


def with_augmentation(config: PipelineSections, augmentation: str) -> PipelineSections:
    """The same configuration with another test-time augmentation."""
    values = config.model_dump()
    values["boundaries"]["augmentation"] = augmentation
    return parse_config(values, augmentation)


def thresholded(boundaries: NDArray[np.uint8], threshold: float, flat: bool) -> NDArray[np.int64]:
    """Components of P(boundary) < threshold, grown over the boundaries.

    Parameters
    ----------
    boundaries
        (Z, Y, X) uint8 0..255 = 0..1.
    threshold
        0..1.
    flat
        Grow within sections only; components are 3D all the same.
    """
    inside = boundaries < threshold * UINT8_MAX
    components, _ = ndimage.label(inside)
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, 1)
    if not flat:
        structure = ndimage.generate_binary_structure(3, 1)
    grown: NDArray[np.int64] = watershed(boundaries, components, connectivity=structure)
    return grown.astype(np.int64)


def map_row_2d(
    name: str, boundaries: NDArray[np.uint8], membranes: NDArray[Any], chosen: float | None
) -> list[Row]:
    """V_rand and V_info of a map at the chosen threshold and at the oracle's."""
    cell_thresholds = [round(1 - t, 2) for t in THRESHOLDS]
    scores = score_map(boundaries, truth_sections(membranes, kind="mask"), cell_thresholds)
    best = max(scores, key=lambda s: s.v_rand)
    rows = [_row(name, f"{1 - best.threshold:.2f} oracle", best.v_rand, best.v_info, None)]
    if chosen is not None:
        given = min(scores, key=lambda s: abs(1 - s.threshold - chosen))
        rows.insert(0, _row(name, f"{chosen:.2f} train", given.v_rand, given.v_info, None))
    return rows


def map_row_3d(
    name: str, boundaries: NDArray[np.uint8], truth: NDArray[Any], chosen: float | None, flat: bool
) -> list[Row]:
    """3D scores of the components of a map at the chosen threshold and at the oracle's."""
    best = best_threshold([boundaries], [truth])
    found = object_scores(thresholded(boundaries, best, flat), truth)
    rows = [_row(name, f"{best:.2f} oracle", None, None, found)]
    if chosen is not None:
        given = object_scores(thresholded(boundaries, chosen, flat), truth)
        rows.insert(0, _row(name, f"{chosen:.2f} train", None, None, given))
    return rows


def best_threshold(maps: Sequence[NDArray[np.uint8]], truths: Sequence[NDArray[Any]]) -> float:
    """Threshold whose components, before they are grown, have the least mean Rand error."""
    errors: dict[float, float] = {}
    for t in THRESHOLDS:
        total = 0.0
        for boundaries, truth in zip(maps, truths, strict=True):
            components, _ = ndimage.label(boundaries < t * UINT8_MAX)
            inside = np.where(components > 0, truth, 0)
            total += object_scores(components, inside).arand_error if inside.any() else 1.0
        errors[t] = total
    return min(errors, key=lambda t: errors[t])


def object_scores(labels: NDArray[Any], truth: NDArray[Any]) -> ObjectScores:
    """3D scores; voxels whose truth is 0 are left out."""
    return score_objects(contingency(truth, labels))


def label_row(
    name: str, labels: NDArray[Any], truth: NDArray[Any], membranes: NDArray[Any] | None
) -> Row:
    """2D (where there is a membrane mask) and 3D scores of labels."""
    v_rand = v_info = None
    if membranes is not None:
        boundary = evaluate_labels(labels, membranes, truth_kind="mask").section_boundary
        v_rand, v_info = boundary.v_rand, boundary.v_info
    return _row(name, "", v_rand, v_info, object_scores(labels, truth))


def _row(
    name: str,
    threshold: str,
    v_rand: float | None,
    v_info: float | None,
    objects: ObjectScores | None,
) -> Row:
    if objects is None:
        return Row(name, threshold, v_rand, v_info, None, None, None)
    return Row(
        name,
        threshold,
        v_rand,
        v_info,
        objects.arand_error,
        objects.voi_split,
        objects.voi_merge,
    )


def run(dataset: Dataset, options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """All rows of a data set, and the last reconstruction."""
    begin, end = dataset.validate
    if options.quick:
        end = begin + 3
    raw = dataset.load(options.data, dataset.raw, (begin, end))
    truth = dataset.load(options.data, dataset.truth, (begin, end))
    membranes = (
        dataset.load(options.data, dataset.membranes, (begin, end)) if dataset.membranes else None
    )
    config = load_config(options.config, options.set)
    chosen = chosen_thresholds(dataset.name)
    flat = dataset.kind == "anisotropic"
    rows: list[Row] = []
    result: dict[str, Any] = {}
    for augmentation, title in AUGMENTATIONS.items():
        began = time.monotonic()
        result = reconstruct_array(
            raw,
            dataset.voxel_size_nm,
            with_augmentation(config, augmentation),
            device=options.device,
            until=None if augmentation == "max" else "boundaries",
        )
        print(f"{dataset.name}, {title}: {time.monotonic() - began:.0f} s", flush=True)
        given = chosen.get(augmentation, {})
        if membranes is not None:
            rows += map_row_2d(title, result["boundaries"], membranes, given.get("v_rand"))
        rows += map_row_3d(title, result["boundaries"], truth, given.get("arand"), flat)
    rows += graph_rows(result, truth, membranes, dataset, config)
    result["truth"] = truth
    return rows, result


def graph_rows(
    result: dict[str, Any],
    truth: NDArray[Any],
    membranes: NDArray[Any] | None,
    dataset: Dataset,
    config: PipelineSections,
) -> list[Row]:
    """Multicut on mean boundaries, with the forest, and lifted; each adds one thing.

    Parameters
    ----------
    result
        Of ``reconstruct_array``, all stages.
    truth, membranes
        As in ``label_row``.
    dataset, config
        That the result was made of and with.
    """
    nodes = result["nodes"]
    z, y, x = result["raw"].shape
    volume = VolumeInfo((z, y, x), dataset.voxel_size_nm, result["raw"].dtype.name)
    simple = mean_boundary_multicut(
        result, volume, config.section("multicut"), chosen_prior(dataset.kind)
    )
    partitions = {
        "max TTA + multicut, mean boundary": simple,
        "max TTA + multicut": nodes["multicut"],
        "+ lifted multicut": nodes["neuron"],
    }
    return [
        label_row(title, labels_of(result, neuron), truth, membranes)
        for title, neuron in partitions.items()
    ]


def chosen_thresholds(name: str) -> dict[str, dict[str, float]]:
    """Thresholds on P(boundary) chosen on training parts: augmentation -> score -> value."""
    if not PARAMETERS.exists():
        return {}
    thresholds: dict[str, dict[str, float]] = json.loads(PARAMETERS.read_text())["thresholds"].get(
        name, {}
    )
    return thresholds


def moved_nodes(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> int:
    """Nodes that change cluster: those outside the largest common part of matched clusters."""
    pairs, counts = np.unique(np.stack([before, after], 1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    used_before: set[int] = set()
    used_after: set[int] = set()
    kept = 0
    for index in order:
        first, second = (int(v) for v in pairs[index])
        if first not in used_before and second not in used_after:
            used_before.add(first)
            used_after.add(second)
            kept += int(counts[index])
    return len(before) - kept


def graph_sentence(result: dict[str, Any]) -> str:
    """Sizes of the graph, and how many superpixels the lifted edges move."""
    nodes = result["nodes"]
    moved = moved_nodes(nodes["multicut"], nodes["neuron"])
    return (
        f"{len(nodes['id'])} superpixels, {len(result['edges']['uv'])} edges, "
        f"{len(result['lifted']['uv'])} lifted edges; {moved} superpixels change neuron between "
        "multicut and lifted multicut."
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| method | threshold | V_rand | V_info | adapted Rand error | VOI split | VOI merge |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        values = (row.v_rand, row.v_info, row.arand, row.voi_split, row.voi_merge)
        cells = ("–" if v is None else f"{v:.4f}" for v in values)
        lines.append(f"| {row.method} | {row.threshold or '–'} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"

"""Choose thresholds and multicut parameters on the training parts, by cross-validation.

Every half of a volume is predicted by the fold network, and its edges by forests, that learned
from the other halves. Writes ``parameters.json`` beside this file with ``--write``; run it in
the root of the repository.

``python -m benchmarks.choose_parameters --data DATA --network FOLD0 --network FOLD1``
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import FIB25, ISBI2012, SNEMI3D, Dataset, require_folder
from benchmarks.endings import as_program
from benchmarks.mean_boundary import choose_prior
from benchmarks.quality import AUGMENTATIONS, PARAMETERS, THRESHOLDS, best_threshold, object_scores
from pipeline.config import parse_config
from pipeline.errors import InputError
from pipeline.evaluation.isbi import score_map, truth_sections
from pipeline.multicut.stage import MulticutConfig, partition
from workflows.in_memory import reconstruct_array
from workflows.train_edges import (
    EdgeTraining,
    Part,
    fit_forests,
    out_of_fold_parts,
    read_edge_training,
)

HALVES = 2
"""Of every training part; each is predicted by the network that learned from the other."""
CROP = np.s_[:15, :512, :512]
"""Part of every training half on which thresholds are chosen."""
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "anisotropic": {
        "beta": (0.5, 0.6, 0.7, 0.8),
        "lifted_weight": (1.0, 2.0, 4.0),
        "beta_lifted": (0.4, 0.5, 0.6),
        "length_weighting": ("across", "all"),
    },
    "isotropic": {
        "beta": (0.5, 0.6, 0.7, 0.8),
        "lifted_weight": (2.0, 4.0, 8.0, 16.0),
        "beta_lifted": (0.5, 0.6, 0.7),
        "length_weighting": ("none", "all"),
    },
}


def main() -> None:
    """Choose, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", type=Path, action="append", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--parts", type=Path, help="keep the features of the halves here")
    parser.add_argument("--skip-thresholds", action="store_true")
    parser.add_argument(
        "--kind", action="append", choices=tuple(GRIDS), help="of volume; the other one's stay"
    )
    parser.add_argument("--write", action="store_true", help="write parameters.json")
    options = parser.parse_args()
    require_folder(options.data)
    if len(options.network) != HALVES:
        raise InputError(f"{len(options.network)} --network, but one for each half, {HALVES}")
    chosen: dict[str, Any] = (
        json.loads(PARAMETERS.read_text()) if PARAMETERS.exists() else {"thresholds": {}}
    )
    if not options.skip_thresholds:
        for dataset in (ISBI2012, FIB25, SNEMI3D):
            chosen["thresholds"][dataset.name] = thresholds(dataset, options)
            print(dataset.name, chosen["thresholds"][dataset.name], flush=True)
    for kind in options.kind or GRIDS:
        config = read_edge_training(Path("configs/train") / f"edges_{kind}.yaml")
        parts = out_of_fold_parts(
            config,
            options.data,
            options.network,
            options.device,
            None if options.parts is None else options.parts / kind,
        )
        chosen.setdefault("multicut", {})[kind] = multicut(parts, config)
        chosen.setdefault("mean_boundary", {})[kind] = choose_prior(parts)
    if options.write:
        PARAMETERS.write_text(json.dumps(chosen, indent=1) + "\n")


def thresholds(dataset: Dataset, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Best thresholds on P(boundary) over both training halves, predicted out of fold."""
    begin, end = dataset.train
    middle = (begin + end) // 2
    found: dict[str, dict[str, float]] = {}
    for augmentation in AUGMENTATIONS:
        maps, truths = [], []
        v_rand: dict[float, float] = defaultdict(float)
        for half, sections in enumerate(((begin, middle), (middle, end))):
            model = {"model": str(options.network[1 - half]), "augmentation": augmentation}
            raw = dataset.load(options.data, dataset.raw, sections)[CROP]
            known = reconstruct_array(
                raw,
                dataset.voxel_size_nm,
                parse_config({"boundaries": model}, "benchmark"),
                device=options.device,
                until="boundaries",
            )
            maps.append(known["boundaries"])
            truths.append(dataset.load(options.data, dataset.truth, sections)[CROP])
            if dataset.membranes:
                mask = dataset.load(options.data, dataset.membranes, sections)[CROP]
                cells = [round(1 - t, 2) for t in THRESHOLDS]
                rows = score_map(maps[-1], truth_sections(mask, kind="mask"), cells)
                for t, row in zip(THRESHOLDS, rows, strict=True):
                    v_rand[t] += row.v_rand
        found[augmentation] = {"arand": best_threshold(maps, truths)}
        if v_rand:
            found[augmentation]["v_rand"] = max(v_rand, key=lambda t: v_rand[t])
    return found


def multicut(parts: Sequence[Part], config: EdgeTraining) -> dict[str, Any]:
    """Mean 3D adapted Rand error of every combination of a grid; the best one."""
    grid = GRIDS[config.name]
    errors: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    plain: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for half in (0, 1):
        forests = fit_forests(parts[1 - half :: 2], config)
        for part in parts[half::2]:
            tables = forests.tables(part)
            for values in itertools.product(*grid.values()):
                chosen = MulticutConfig(**dict(zip(grid, values, strict=True)))
                solution = partition(
                    tables["nodes"],
                    tables["edges"],
                    tables["lifted"],
                    chosen.resolved(part.volume),
                    part.volume,
                )
                errors[values].append(_error(part, solution.labels))
                simple = values[0], values[-1]  # lifted edges do not change the plain multicut
                if len(plain[simple]) <= len(errors[values]) - 1:
                    plain[simple].append(_error(part, solution.multicut_labels))
            print(part.name, "done", flush=True)
    order = sorted(errors, key=lambda v: float(np.mean(errors[v])))
    for values in order[:8] + order[-1:]:
        print(dict(zip(grid, values, strict=True)), [round(e, 4) for e in errors[values]])
    simplest = min(plain, key=lambda v: float(np.mean(plain[v])))
    return {
        "best": dict(zip(grid, order[0], strict=True)),
        "arand": float(np.mean(errors[order[0]])),
        "best_without_lifted": dict(zip(("beta", "length_weighting"), simplest, strict=True)),
        "arand_without_lifted": float(np.mean(plain[simplest])),
    }


def _error(part: Part, labels: NDArray[np.uint64]) -> float:
    """3D adapted Rand error of a partition of a part's nodes."""
    where = np.searchsorted(part.tables["nodes"]["id"], part.tables["superpixels"])
    return object_scores(labels[where] + np.uint64(1), part.truth).arand_error


if __name__ == "__main__":
    as_program(main)

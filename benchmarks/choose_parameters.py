"""Choose thresholds and multicut parameters on the training parts, by cross-validation.

Every part (half a volume) is predicted by the fold network that learned from the other
halves, and its edges by forests that learned from the other parts. Writes
``parameters.json`` beside this file with ``--write``.

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

from benchmarks.datasets import FIB25, ISBI2012, SNEMI3D, Dataset
from benchmarks.quality import AUGMENTATIONS, PARAMETERS, THRESHOLDS, object_scores, thresholded
from pipeline.config import parse_config
from pipeline.evaluation.isbi import score_map, truth_sections
from pipeline.forests import predict
from pipeline.lifted.problem import compute_lifted_problem
from pipeline.multicut.stage import MulticutConfig, partition
from workflows.in_memory import reconstruct_array
from workflows.train_edges import (
    EdgeTraining,
    Part,
    fit,
    out_of_fold_parts,
    read_edge_training,
    targets_of,
)

GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "anisotropic": {
        "beta": (0.4, 0.5, 0.6, 0.7),
        "lifted_weight": (0.0, 0.5, 1.0, 2.0),
        "weight_across": (0.5, 1.0),
    },
    "isotropic": {
        "beta": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        "lifted_weight": (0.0, 0.25, 0.5, 1.0, 2.0),
        "length_weighting": ("none", "all"),
    },
}


def main() -> None:
    """Choose, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", type=Path, action="append", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--skip-thresholds", action="store_true")
    parser.add_argument("--write", action="store_true", help="write parameters.json")
    options = parser.parse_args()
    chosen: dict[str, Any] = (
        json.loads(PARAMETERS.read_text()) if PARAMETERS.exists() else {"thresholds": {}}
    )
    if not options.skip_thresholds:
        for dataset in (ISBI2012, FIB25, SNEMI3D):
            chosen["thresholds"][dataset.name] = thresholds(dataset, options)
            print(dataset.name, chosen["thresholds"][dataset.name], flush=True)
    chosen["multicut"] = {}
    for kind in ("anisotropic", "isotropic"):
        config = read_edge_training(Path("configs/train") / f"edges_{kind}.yaml")
        parts = out_of_fold_parts(config, options.data, options.network, options.device)
        chosen["multicut"][kind] = multicut(parts, config)
    if options.write:
        PARAMETERS.write_text(json.dumps(chosen, indent=1) + "\n")


def thresholds(dataset: Dataset, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Best thresholds on P(boundary) over both training halves, predicted out of fold."""
    begin, end = dataset.train
    middle = (begin + end) // 2
    found = {}
    for augmentation in AUGMENTATIONS:
        v_rand: dict[float, float] = defaultdict(float)
        arand: dict[float, float] = defaultdict(float)
        for half, sections in enumerate(((begin, middle), (middle, end))):
            config = parse_config(
                {
                    "boundaries": {
                        "model": str(options.network[1 - half]),
                        "augmentation": augmentation,
                    }
                },
                "benchmark",
            )
            raw = dataset.load(options.data, dataset.raw, sections)[:15, :512, :512]
            truth = dataset.load(options.data, dataset.truth, sections)[:15, :512, :512]
            known = reconstruct_array(
                raw, dataset.voxel_size_nm, config, device=options.device, until="boundaries"
            )
            flat = dataset.kind == "anisotropic"
            for t in THRESHOLDS:
                labels = thresholded(known["boundaries"], t, flat)
                arand[t] += object_scores(labels, truth).arand_error
            if dataset.membranes:
                mask = dataset.load(options.data, dataset.membranes, sections)[:15]
                cells = [round(1 - t, 2) for t in THRESHOLDS]
                rows = score_map(known["boundaries"], truth_sections(mask, kind="mask"), cells)
                for t, row in zip(THRESHOLDS, rows, strict=True):
                    v_rand[t] += row.v_rand
        found[augmentation] = {"arand": min(arand, key=lambda t: arand[t])}
        if v_rand:
            found[augmentation]["v_rand"] = max(v_rand, key=lambda t: v_rand[t])
    return found


def multicut(parts: Sequence[Part], config: EdgeTraining) -> dict[str, Any]:
    """Mean 3D adapted Rand error of every combination of a grid; the best one."""
    grid = GRIDS[config.name]
    errors: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for held in range(len(parts)):
        tables = held_out_tables(parts, held, config)
        part = parts[held]
        for values in itertools.product(*grid.values()):
            settings = MulticutConfig(**dict(zip(grid, values, strict=True)))
            solution = partition(
                tables["nodes"], tables["edges"], tables["lifted"], settings.resolved(part.volume)
            )
            labels = solution.labels + np.uint64(1)
            where = np.searchsorted(tables["nodes"]["id"], part.tables["superpixels"])
            errors[values].append(object_scores(labels[where], part.truth).arand_error)
        print(part.name, "done", flush=True)
    order = sorted(errors, key=lambda v: float(np.mean(errors[v])))
    for values in order[:8] + order[-1:]:
        print(dict(zip(grid, values, strict=True)), [round(e, 4) for e in errors[values]])
    plain = next(v for v in order if v[1] == 0)
    return {
        "best": dict(zip(grid, order[0], strict=True)),
        "arand": float(np.mean(errors[order[0]])),
        "best_without_lifted": dict(zip(grid, plain, strict=True)),
        "arand_without_lifted": float(np.mean(errors[plain])),
    }


def held_out_tables(parts: Sequence[Part], held: int, config: EdgeTraining) -> dict[str, Any]:
    """Tables of one part with probabilities of forests that learned from the others."""
    others = [p for k, p in enumerate(parts) if k != held]
    names = others[0].tables["attributes"]["edges/features"]["names"]
    lifted_config: Any = parse_config(config.pipeline, config.name).section("lifted")
    targets = [targets_of(p, p.edges["uv"]) for p in others]
    first, p_cut, _ = fit(
        [p.edges["features"] for p in others], targets, names, config.edges, config.seed, {}
    )
    problems = []
    for part, p in zip(others, p_cut, strict=True):
        problems.append(_problem(part, p, lifted_config))
    second, _, _ = fit(
        [q.features for q in problems],
        [targets_of(p, q.uv) for p, q in zip(others, problems, strict=True)],
        problems[0].names,
        config.lifted,
        config.seed + 1,
        {},
    )
    part = parts[held]
    p = predict(first, part.edges["features"], names)
    problem = _problem(part, p, lifted_config)
    lifted = {"uv": problem.uv, "p_cut": predict(second, problem.features, problem.names)}
    return {"nodes": part.tables["nodes"], "edges": {**part.edges, "p_cut": p}, "lifted": lifted}


def _problem(part: Part, p_cut: Any, config: Any) -> Any:
    names = part.tables["attributes"]["nodes/features"]["names"]
    edges = {**part.edges, "p_cut": p_cut}
    return compute_lifted_problem(part.tables["nodes"], edges, names, config, part.volume)


if __name__ == "__main__":
    main()

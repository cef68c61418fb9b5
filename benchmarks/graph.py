"""Solvers, features and quality of the graph stages.

- ``solvers``: greedy additive, Kernighan-Lin, fusion moves, the hierarchical solver and the
  decomposition into domains (the stage's tasks, one after the other in one process) on
  multicut and lifted multicut problems of about 92 k, 434 k and 1.7 M edges, made from the
  ISBI 2012 graph (``graph_problems``).
- ``features``: seconds per channel and column, one and two threads, and by family.
- ``quality``: thresholded map, multicut on mean boundaries, with the forest, lifted, on the
  validation parts (with ``--quick`` on a few training sections).
- ``ablation``: forests fitted without one family of features at a time, scored on other
  training parts; needs ``--network`` twice.

``python -m benchmarks.graph --data DATA [--quick] [--run solvers features quality ablation]``
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.ablation import ablation
from benchmarks.boundary_maps import isbi_map
from benchmarks.children import measured, medians
from benchmarks.datasets import ISBI2012
from benchmarks.endings import as_program
from benchmarks.graph_problems import (
    SIZES,
    RealGraph,
    real_graph,
    save_problem,
    tiled_problem,
)
from benchmarks.graph_quality import quality
from benchmarks.graph_solvers import CHAIN, DOMAINS, LIBRARY, SOLVE
from benchmarks.published import publish
from benchmarks.reports import markdown_table
from benchmarks.stage_runs import run_stage
from pipeline import features, graph, superpixels
from pipeline.contract import VolumeInfo
from pipeline.normalisation import STAGE as INTENSITY

TABLE = (
    ("greedy_additive", 1),
    (LIBRARY, 1),
    ("kernighan_lin", 1),
    ("fusion_moves", 1),
    ("hierarchical", 1),
    ("hierarchical", 2),
    (DOMAINS, 1),
    (CHAIN, 2),
)
QUICK_SECTIONS = 6


def main() -> None:
    """Run the chosen parts, each with its own report."""
    options = arguments()
    for part in options.run:
        PARTS[part](options)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument(
        "--run", nargs="+", choices=tuple(PARTS), default=["solvers", "features", "quality"]
    )
    parser.add_argument("--quick", action="store_true", help="small parts, to try the program")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds, of one run")
    parser.add_argument("--boundaries", type=Path, help="ISBI map of all sections, TIFF or npy")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument(
        "--solvers", nargs="+", choices=tuple(SOLVE), default=[name for name, _ in TABLE]
    )
    parser.add_argument("--seed", type=int, default=0, help="of the problems' noise")
    parser.add_argument(
        "--maps", type=Path, help="folder of boundary maps <data set>-validate.npy (quality)"
    )
    parser.add_argument("--config", help="preset or YAML; the defaults otherwise (quality)")
    parser.add_argument("--set", action="append", default=[], metavar="stage.key=value")
    parser.add_argument(
        "--network", type=Path, action="append", default=[], help="fold 0, then fold 1 (ablation)"
    )
    parser.add_argument(
        "--allow-seen", action="store_true", help="score what a model learned from, too (quality)"
    )
    parser.add_argument("--parts", type=Path, help="keep the features of the halves (ablation)")
    return parser.parse_args()


def isbi_graph(options: argparse.Namespace) -> RealGraph:
    """The ISBI stack's graph; P(cut) is the mean boundary of a contact."""
    raw, boundaries = isbi_map(options.data, options.output, options.boundaries, options.device)
    z, y, x = raw.shape
    info = VolumeInfo((z, y, x), ISBI2012.voxel_size_nm, raw.dtype.name)
    known: dict[str, Any] = {
        "raw": raw,
        "boundaries": boundaries,
        "foreground": np.ones(raw.shape, np.uint8),
    }
    for stage in (superpixels.STAGE, graph.STAGE, INTENSITY, features.STAGE):
        known = run_stage(stage, known, info)
    names = list(known["attributes"]["edges/features"]["names"])
    nodes, edges = known["nodes"], known["edges"]
    mean = edges["features"][:, names.index("boundary/mean")]
    return real_graph(nodes, edges, mean, info)


def solvers(options: argparse.Namespace) -> None:
    """Energies, times and memory of the solvers."""
    real = isbi_graph(options)
    sizes = options.sizes[:1] if options.quick else options.sizes
    chosen = [(solver, threads) for solver, threads in TABLE if solver in options.solvers]
    problems = []
    for size in sizes:
        problem = tiled_problem(real, SIZES[size], options.seed)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "problem.npz"
            save_problem(path, problem)
            sizes_of = {
                "nodes": problem.number_of_nodes,
                "edges": len(problem.uv),
                "lifted_edges": len(problem.lifted_uv),
            }
            del problem
            for lifted in (False, True):
                runs = solver_runs(path, lifted, chosen, options)
                problems.append({"size": size, "lifted": lifted, **sizes_of, "runs": runs})
    publish(
        options.output,
        "graph_solvers",
        "Solvers",
        (),
        text=solvers_markdown(problems),
        quick=options.quick,
        values={"problems": problems},
    )


def solver_runs(
    path: Path, lifted: bool, chosen: Sequence[tuple[str, int]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Medians over repetitions in which the solvers take turns."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {key: [] for key in chosen}
    for _ in range(options.repeats):
        for solver, threads in chosen:
            job = {"problem": str(path), "lifted": lifted, "solver": solver, "threads": threads}
            result = measured(
                "benchmarks.graph_solvers", job, threads=threads, timeout_s=options.timeout
            )
            found[solver, threads].append(result)
            print(f"{solver}, {threads} thread(s), lifted {lifted}: {result}", flush=True)
    return [
        {"solver": solver, "threads": threads, **_median_run(runs)}
        for (solver, threads), runs in found.items()
    ]


def _median_run(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    failed = [run for run in runs if "error" in run]
    if failed:
        return failed[0]
    return {key: median(run[key] for run in runs) for key in runs[0]}


def solvers_markdown(problems: Sequence[dict[str, Any]]) -> str:
    """One table a problem; gaps are to its lowest energy, ratios to the library's Kernighan-Lin."""
    lines = []
    for problem in problems:
        kind = "lifted multicut" if problem["lifted"] else "multicut"
        lifted = f", {problem['lifted_edges']:,} lifted" if problem["lifted"] else ""
        lines += [
            f"## {problem['size']}, {kind}\n",
            f"{problem['nodes']:,} nodes, {problem['edges']:,} edges{lifted}.\n",
            _solver_table(problem["runs"]),
            *(_rest_sentence(problem, run) for run in problem["runs"] if "rest_nodes" in run),
        ]
    return "\n".join(lines)


def _rest_sentence(problem: dict[str, Any], run: dict[str, Any]) -> str:
    """What the decomposition left to be solved as a whole."""
    lifted = problem["lifted_edges"] if problem["lifted"] else 0
    left = run["rest_edges"] + run["rest_lifted_edges"]
    share = 100 * left / (problem["edges"] + lifted)
    return (
        f"{run['domains']:,} domains, {run['levels']} levels; the rest has {run['rest_nodes']:,} "
        f"nodes and {left:,} edges, {share:.0f} % of all.\n"
    )


def _solver_table(runs: Sequence[dict[str, Any]]) -> str:
    solved = [run for run in runs if "error" not in run]
    best = min((run["energy"] for run in solved), default=0.0)
    slow = {run["solver"]: run["wall"] for run in solved}.get(LIBRARY)
    one = {run["solver"]: run["wall"] for run in solved if run["threads"] == 1}
    rows = []
    for run in runs:
        title = [run["solver"].replace("_", " "), run["threads"]]
        if "error" in run:
            rows.append([*title, run["error"], *[None] * 6])
            continue
        alone = one.get(run["solver"]) if run["threads"] > 1 else None
        rows.append(
            [
                *title,
                f"{run['energy']:.1f}",
                f"{100 * (run['energy'] - best) / max(abs(best), 1e-12):.3f}",
                f"{run['wall']:.2f}",
                f"{run['cpu']:.2f}",
                f"{slow / run['wall']:.2f}" if slow else None,
                f"{alone / run['wall']:.2f}" if alone else None,
                f"{run['bytes_per_edge']:.0f}",
            ]
        )
    head = ("solver", "threads", "energy", "gap, %", "s", "CPU s")
    ratios = ("times faster than library Kernighan-Lin", "times faster than 1 thread")
    return markdown_table([*head, *ratios, "bytes per edge"], rows)


def feature_times(options: argparse.Namespace) -> None:
    """Seconds of the stage of features, alternating between one thread and two."""
    raw, boundaries = isbi_map(options.data, options.output, options.boundaries, options.device)
    depth = QUICK_SECTIONS if options.quick else len(raw)
    runs: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        job: dict[str, Any] = {}
        for name, array in {"raw": raw[:depth], "boundaries": boundaries[:depth]}.items():
            job[name] = str(Path(folder) / f"{name}.npy")
            np.save(job[name], array)
        for _ in range(options.repeats):
            for threads, results in runs.items():
                results.append(
                    measured(
                        "benchmarks.feature_speed",
                        {**job, "threads": threads},
                        threads=threads,
                        timeout_s=options.timeout,
                    )
                )
    publish(
        options.output,
        "graph_features",
        "Features",
        (),
        text=features_markdown(runs),
        quick=options.quick,
        values={"runs": {str(threads): found for threads, found in runs.items()}},
    )


def features_markdown(runs: dict[int, list[dict[str, Any]]]) -> str:
    """Wall seconds by family, and per channel and column of all."""
    failed = [run["error"] for results in runs.values() for run in results if "error" in run]
    if failed:
        return f"Failed: {failed[0]}\n"
    first = runs[1][0]
    steps = {threads: medians([run["steps"] for run in found]) for threads, found in runs.items()}
    rows = [
        [
            family,
            columns,
            *(f"{steps[threads][family]['wall']:.2f}" for threads in steps),
            f"{steps[1][family]['wall'] / steps[2][family]['wall']:.2f}",
            f"{1000 * steps[1][family]['cpu'] / columns:.1f}",
        ]
        for family, columns in first["columns"].items()
    ]
    alone = steps[1]["all"]["cpu"]
    return (
        f"{first['voxels']:,} voxels, {first['edges']:,} edges; a family by itself also pays for "
        "what it shares with others.\n\n"
        + markdown_table(
            ["family", "columns", "s, 1 thread", "s, 2 threads", "ratio", "CPU ms per column"], rows
        )
        + f"\n{first['channels']} channels: {alone / first['channels']:.3f} CPU seconds per "
        "channel.\n"
    )


PARTS = {
    "solvers": solvers,
    "features": feature_times,
    "quality": quality,
    "ablation": ablation,
}

if __name__ == "__main__":
    as_program(main)

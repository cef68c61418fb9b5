"""Our graph stages beside nifty and vigra, where these are installed.

They come from conda-forge only: ``conda install -c conda-forge nifty vigra``. PyPI's ``nifty``
is another project; what counts is that ``nifty.graph.rag.gridRag`` exists.

Superpixels need not be equal, so their number and sizes are shown. On equal superpixels the
edges must be the same, mean boundaries and contact lengths agree, and on equal costs the
energies of the same solver lie close.

``python -m benchmarks.nifty_parity --data DATA``
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.boundary_maps import isbi_map
from benchmarks.datasets import ISBI2012, require_folder
from benchmarks.endings import as_program
from benchmarks.published import publish
from benchmarks.reports import markdown_table
from benchmarks.stage_runs import run_stage
from pipeline import features, graph, superpixels
from pipeline.contract import UINT8_MAX, VolumeInfo
from pipeline.multicut.costs import signed_costs
from pipeline.multicut.problem import Problem
from pipeline.multicut.solvers import solve
from pipeline.normalisation import STAGE as INTENSITY

INSTALL = "`conda install -c conda-forge {0}`; PyPI does not have it"
THRESHOLD, SIGMA_SEEDS, SIGMA_HEIGHT, ALPHA, MIN_SIZE = 0.25, 2.0, 2.0, 0.9, 100
"""Of the distance-transform watershed by vigra, as elf has them."""


@dataclass(frozen=True)
class Line:
    """One compared number; ``None`` where only one side has it."""

    what: str
    peer: float | None
    ours: float | None


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--boundaries", type=Path, help="map of all sections, TIFF or npy")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    require_folder(options.data)
    if nifty() is None and vigra() is None:
        text, values = compared(np.zeros((0, 0, 0), np.uint8), np.zeros((0, 0, 0), np.uint8))
    else:
        maps = isbi_map(options.data, options.output, options.boundaries, options.device)
        text, values = compared(*maps)
    publish(options.output, "nifty_parity", "Beside nifty and vigra", (), text=text, values=values)


def nifty() -> Any | None:
    """The graph library nifty, not PyPI's package of the same name."""
    return _library("nifty", ("nifty.graph.rag", "nifty.graph.opt.multicut"), "gridRag")


def vigra() -> Any | None:
    """The image analysis library vigra."""
    return _library("vigra", ("vigra.analysis", "vigra.filters"), "watershedsNew")


def _library(name: str, modules: tuple[str, ...], attribute: str) -> Any | None:
    """A library whose first submodule has an attribute; ``None`` for any other of its name."""
    try:
        found = [importlib.import_module(module) for module in modules]
    except ImportError:
        return None
    return importlib.import_module(name) if hasattr(found[0], attribute) else None


def compared(raw: NDArray[np.uint8], boundaries: NDArray[np.uint8]) -> tuple[str, dict[str, Any]]:
    """The report, with a line for what is skipped.

    Parameters
    ----------
    raw, boundaries
        (Z, Y, X) uint8 of a stack like ISBI 2012; not read where both libraries are missing.
    """
    found = {"nifty": nifty(), "vigra": vigra()}
    skipped = [
        f"Skipped: {name} is not installed ({INSTALL.format(name)}).\n"
        for name, library in found.items()
        if library is None
    ]
    lines: list[Line] = []
    if len(skipped) < len(found):
        known = our_tables(raw, boundaries)
        if found["vigra"] is not None:
            lines += compare_superpixels(found["vigra"], boundaries, known["superpixels"])
        if found["nifty"] is not None:
            lines += compare_graphs(found["nifty"], known)
    rows = [[line.what, line.peer, line.ours] for line in lines]
    text = "\n".join(["## nifty and vigra\n", *skipped])
    if rows:
        text += "\n" + markdown_table(["", "nifty, vigra", "ours"], rows)
    values = {"skipped": skipped, "lines": [asdict(line) for line in lines]}
    return text, values


def our_tables(raw: NDArray[np.uint8], boundaries: NDArray[np.uint8]) -> dict[str, Any]:
    """Superpixels, graph and features of a stack."""
    z, y, x = raw.shape
    info = VolumeInfo((z, y, x), ISBI2012.voxel_size_nm, raw.dtype.name)
    known: dict[str, Any] = {
        "raw": raw,
        "boundaries": boundaries,
        "foreground": np.ones(raw.shape, np.uint8),
    }
    for stage in (superpixels.STAGE, graph.STAGE, INTENSITY, features.STAGE):
        known = run_stage(stage, known, info)
    return known


def compare_graphs(nifty: Any, known: dict[str, Any]) -> list[Line]:
    """Edges, mean boundaries, lengths and energies on equal superpixels and costs."""
    ids, edges = known["nodes"]["id"], known["edges"]
    dense = np.searchsorted(ids, known["superpixels"]).astype(np.uint32)
    rag = nifty.graph.rag.gridRag(dense, numberOfLabels=len(ids), numberOfThreads=1)
    theirs = np.asarray(rag.uvIds(), np.uint64)
    order = np.lexsort((theirs[:, 1], theirs[:, 0]))
    same = np.array_equal(theirs[order], edges["uv"])
    lines = [
        Line("edges", float(len(theirs)), float(len(edges["uv"]))),
        Line("edges are the same (1 = yes)", None, float(same)),
    ]
    if not same:
        return lines
    boundaries = known["boundaries"].astype(np.float32) / UINT8_MAX
    measured = np.asarray(
        nifty.graph.rag.accumulateEdgeMeanAndLength(rag, boundaries, numberOfThreads=1)
    )[order]
    names = known["attributes"]["edges/features"]["names"]
    mean = edges["features"][:, names.index("boundary/mean")]
    lines += [
        Line("mean of the edges' mean boundary", float(measured[:, 0].mean()), float(mean.mean())),
        Line("largest difference of a mean", None, float(np.abs(measured[:, 0] - mean).max())),
        Line("contact length, all edges", float(measured[:, 1].sum()), _total(edges)),
    ]
    return lines + compare_energies(nifty, len(ids), edges["uv"], signed_costs(mean, 0.5, "edge"))


def compare_energies(
    nifty: Any, nodes: int, uv: NDArray[np.uint64], costs: NDArray[np.float64]
) -> list[Line]:
    """Energies of the same solvers on the same costs; lower is better."""
    their_graph = nifty.graph.undirectedGraph(nodes)
    their_graph.insertEdges(uv)
    objective = nifty.graph.opt.multicut.multicutObjective(their_graph, costs)
    factories: dict[str, Callable[[], Any]] = {
        "greedy_additive": objective.greedyAdditiveFactory,
        "kernighan_lin": lambda: objective.kernighanLinFactory(warmStartGreedy=True),
    }
    problem = Problem(nodes, uv, costs)
    lines = []
    for solver, factory in factories.items():
        labels = factory().create(objective).optimize()
        theirs = problem.energy(np.asarray(labels).astype(np.uint64))
        lines.append(Line(f"energy, {solver}", theirs, solve(solver, problem).energy))
    return lines


def compare_superpixels(
    vigra: Any, boundaries: NDArray[np.uint8], ours: NDArray[np.uint64]
) -> list[Line]:
    """Number and sizes of superpixels; they need not be equal."""
    theirs = [vigra_watershed(vigra, plane.astype(np.float32) / UINT8_MAX) for plane in boundaries]
    sizes = np.concatenate([np.bincount(plane.ravel())[1:] for plane in theirs])
    their_sizes = sizes[sizes > 0]
    our_sizes = np.unique(ours[ours > 0], return_counts=True)[1]
    return [
        Line("superpixels", float(len(their_sizes)), float(len(our_sizes))),
        *(
            Line(f"their size, {q} % quantile", *(float(np.percentile(s, q)) for s in both))
            for both in [(their_sizes, our_sizes)]
            for q in (10, 50, 90)
        ),
    ]


def vigra_watershed(vigra: Any, boundaries: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Distance-transform watershed of one section (Beier et al. 2017) by vigra.

    Parameters
    ----------
    boundaries
        (Y, X) float32, 0..1.

    Returns
    -------
    labels
        (Y, X) uint32, from 1.
    """
    distance = vigra.filters.distanceTransform((boundaries > THRESHOLD).astype(np.uint32))
    smooth = vigra.filters.gaussianSmoothing(distance.astype(np.float32), SIGMA_SEEDS)
    maxima = vigra.analysis.localMaxima(
        smooth, marker=np.nan, allowAtBorder=True, allowPlateaus=True
    )
    seeds = vigra.analysis.labelImageWithBackground(np.isnan(maxima).astype(np.uint8))
    inverted = 1 - (smooth - smooth.min()) / max(float(smooth.max()), 1e-6)
    height = ALPHA * vigra.filters.gaussianSmoothing(boundaries, SIGMA_HEIGHT)
    height = np.asarray(height + (1 - ALPHA) * inverted, np.float32)
    labels, _ = vigra.analysis.watershedsNew(height, seeds=np.asarray(seeds, np.uint32))
    sizes = np.bincount(np.asarray(labels).ravel())
    kept = np.where(sizes[labels] >= MIN_SIZE, labels, 0).astype(np.uint32)
    if not kept.any():
        return np.asarray(labels, np.uint32)
    grown, _ = vigra.analysis.watershedsNew(height, seeds=kept)
    return np.asarray(grown, np.uint32)


def _total(edges: dict[str, NDArray[Any]]) -> float:
    return float(edges["length_voxels"].sum())


if __name__ == "__main__":
    as_program(main)

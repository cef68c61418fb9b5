"""Two routes from a boundary map to neurons, step by step: elf's own and ours.

``peers.py`` starts ``python -m benchmarks.peer_routes`` once for every route and repetition.
Both routes learn from the same sections with the same true labels, and are scored on the same
other sections. Converting the inputs to what a library reads, and making the labels, is not
timed. A run on a small corner comes first, so that neither imports nor compilation count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.children import Steps, child_main, resident_bytes
from benchmarks.stage_runs import run_stage
from pipeline import features, graph, superpixels
from pipeline.contract import UINT8_MAX, VolumeInfo
from pipeline.edges.targets import edge_targets, overlaps
from pipeline.forests import fit_forest, predict
from pipeline.multicut.costs import signed_costs
from pipeline.multicut.problem import Problem
from pipeline.multicut.solvers import solve
from pipeline.normalisation import STAGE as INTENSITY

VOXEL_SIZE_NM = (50.0, 4.0, 4.0)
TREES = 50
MAX_DEPTH, MIN_LEAF = 12, 20
"""Of our forests; elf's grow until their leaves are pure."""
ELF_WATERSHED = {
    "threshold": 0.25,
    "sigma_seeds": 2.0,
    "sigma_weights": 2.0,
    "min_size": 100,
    "alpha": 0.9,
}
"""The defaults of ``elf.segmentation.workflows``."""
WARM_UP = np.s_[:4, :128, :128]


@dataclass(frozen=True, eq=False)
class Volume:
    """What both routes are given.

    Parameters
    ----------
    raw, boundaries
        (Z, Y, X) uint8, 255 = boundary.
    truth
        (Z', Y, X), Z' <= Z: true ids of the first sections, 0 = unlabelled.
    fit, score
        Sections whose edges the forests learn from, and are scored on.
    """

    raw: NDArray[np.uint8]
    boundaries: NDArray[np.uint8]
    truth: NDArray[np.uint64]
    fit: tuple[int, int]
    score: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Edges with their true label where it is clear.

    Parameters
    ----------
    cut
        (m,) uint8, 1 = cut.
    fit, score
        (m,) bool, edges that are learned from, or scored on.
    across
        (m,) bool, edges between sections.
    """

    cut: NDArray[np.uint8]
    fit: NDArray[np.bool_]
    score: NDArray[np.bool_]
    across: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Result:
    """What a route hands back beside its times."""

    fragments: NDArray[np.uint64]
    columns: int
    auc: dict[str, float | None]
    edges: int
    learned_from: int


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run one route; the job names the arrays' files."""
    volume = Volume(
        np.load(job["raw"]),
        np.load(job["boundaries"]),
        np.load(job["truth"]).astype(np.uint64),
        tuple(job["fit"]),
        tuple(job["score"]),
    )
    given = np.load(job["superpixels"]) if job.get("superpixels") else None
    route = ROUTES[job["route"]]
    corner = Volume(
        volume.raw[WARM_UP].copy(),
        volume.boundaries[WARM_UP].copy(),
        volume.truth[WARM_UP].copy(),
        (0, 2),
        (2, 4),
    )
    route(corner, Steps(), job, given[WARM_UP].copy() if given is not None else None)
    steps = Steps()
    resident = resident_bytes()
    result = route(volume, steps, job, given)
    if job.get("save"):
        np.save(job["save"], result.fragments)
    return {
        "steps": steps.measured,
        "resident_bytes": resident,
        "peak_bytes": max(step["peak_bytes"] for step in steps.measured.values()),
        "superpixels": len(np.unique(result.fragments)),
        "edges": result.edges,
        "columns": result.columns,
        "learned_from": result.learned_from,
        "auc": result.auc,
    }


def our_route(
    volume: Volume, steps: Steps, job: dict[str, Any], given: NDArray[np.uint64] | None
) -> Result:
    """Superpixels (unless given), graph, features, two forests, multicut."""
    threads = job["threads"]
    info = VolumeInfo(_triple(volume.raw.shape), VOXEL_SIZE_NM, volume.raw.dtype.name)
    known: dict[str, Any] = {
        "raw": volume.raw,
        "boundaries": volume.boundaries,
        "foreground": np.ones(volume.raw.shape, np.uint8),
    }
    if given is not None:
        known["superpixels"] = given.astype(np.uint64)
    else:
        with steps.step("superpixels"):
            known = run_stage(superpixels.STAGE, known, info, threads=threads)
    with steps.step("graph"):
        known = run_stage(graph.STAGE, known, info, threads=threads)
    with steps.step("features"):
        known = run_stage(INTENSITY, known, info, threads=threads)
        known = run_stage(features.STAGE, known, info, threads=threads)
    edges, ids = known["edges"], known["nodes"]["id"]
    names = known["attributes"]["edges/features"]["names"]
    labelled = labelled_edges(known["superpixels"], ids, edges["uv"], volume)
    table = edges["features"]
    forests = {}
    with steps.step("forest fit"):
        for kind in (False, True):
            rows = labelled.fit & (labelled.across == kind)
            if len(np.unique(labelled.cut[rows])) == 2:
                forests[kind], _ = fit_forest(
                    table[rows],
                    labelled.cut[rows],
                    names,
                    trees=TREES,
                    max_depth=MAX_DEPTH,
                    min_leaf=MIN_LEAF,
                    seed=0,
                    threads=threads,
                )
    p_cut = np.full(len(table), 0.5, np.float32)
    with steps.step("forest prediction"):
        for kind, forest in forests.items():
            rows = labelled.across == kind
            p_cut[rows] = predict(forest, table[rows], names)
    with steps.step("multicut"):
        costs = signed_costs(p_cut, 0.5, "edge")
        solve("kernighan_lin", Problem(len(ids), edges["uv"], costs))
    return Result(
        known["superpixels"],
        table.shape[1],
        auc(labelled, p_cut),
        len(table),
        int(labelled.fit.sum()),
    )


def elf_route(
    volume: Volume, steps: Steps, job: dict[str, Any], given: NDArray[np.uint64] | None
) -> Result:
    """The same steps by the functions of ``elf.segmentation`` that its workflows call."""
    import elf.segmentation.features as elf_features
    import elf.segmentation.learning as elf_learning
    import elf.segmentation.multicut as elf_multicut
    import elf.segmentation.watershed as elf_watershed

    threads = job["threads"]
    raw = volume.raw.astype(np.float32) / UINT8_MAX
    boundaries = volume.boundaries.astype(np.float32) / UINT8_MAX
    filtered = {"boundary": [boundaries], "both": [raw, boundaries]}[job["elf_filters"]]
    if given is not None:
        fragments = given
    else:
        with steps.step("superpixels"):
            fragments, _ = elf_watershed.stacked_watershed(
                boundaries, n_threads=threads, **ELF_WATERSHED
            )
    with steps.step("graph"):
        rag = elf_features.compute_rag(fragments, n_threads=threads)
        uv = np.asarray(rag.uv_ids())
    with steps.step("boundary features"):
        columns = [
            elf_features.compute_boundary_features(rag, fragments, boundaries, n_threads=threads)
        ]
    with steps.step("filter features"):
        columns += [
            elf_features.compute_boundary_features_with_filters(
                rag, fragments, image, apply_2d=True, n_threads=threads
            )
            for image in filtered
        ]
    with steps.step("region features"):
        columns.append(
            elf_features.compute_region_features(
                uv, raw, fragments.astype(np.uint32), n_threads=threads
            )
        )
        table = np.concatenate(columns, axis=1)
    ids = np.unique(fragments)
    labelled = labelled_edges(
        fragments.astype(np.uint64), ids, np.searchsorted(ids, uv).astype(np.uint64), volume
    )
    with steps.step("forest fit"):
        forests = elf_learning.learn_random_forests_for_xyz_edges(
            table,
            labelled.cut,
            labelled.across,
            edge_mask=labelled.fit,
            n_threads=threads,
            n_estimators=TREES,
            random_state=0,
        )
    with steps.step("forest prediction"):
        p_cut = _elf_prediction(elf_learning, forests, table, labelled.across, threads)
    with steps.step("multicut"):
        costs = elf_multicut.compute_edge_costs(p_cut, beta=0.5)
        elf_multicut.multicut_kernighan_lin(rag, costs)
    return Result(
        fragments, table.shape[1], auc(labelled, p_cut), len(table), int(labelled.fit.sum())
    )


def _elf_prediction(
    elf_learning: Any,
    forests: Any,
    table: NDArray[Any],
    across: NDArray[np.bool_],
    threads: int,
) -> NDArray[np.float64]:
    """P(cut); elf's own call fails for a forest that saw one class, as in a tiny warm-up run."""
    if all(len(forest.classes_) == 2 for forest in forests):
        p: NDArray[np.float64] = elf_learning.predict_edge_random_forests_for_xyz_edges(
            *forests, table, across, n_threads=threads
        )
        return p
    return np.full(len(table), 0.5)


def labelled_edges(
    fragments: NDArray[np.uint64],
    ids: NDArray[np.uint64],
    uv: NDArray[np.uint64],
    volume: Volume,
) -> Labelled:
    """True labels of edges between 2D superpixels.

    Parameters
    ----------
    fragments
        (Z, Y, X) ids; every superpixel lies in one section.
    ids
        (n,) its sorted ids.
    uv
        (m, 2) rows of ``ids``.
    volume
        True ids, and the sections to learn from and to score on.
    """
    depth = len(volume.truth)
    shares = overlaps(fragments[:depth], volume.truth, ids)
    cut, clear = edge_targets(uv, shares)
    section = np.zeros(len(ids), np.int64)
    for z, plane in enumerate(fragments):
        section[np.searchsorted(ids, np.unique(plane[plane > 0]))] = z
    ends = section[uv.astype(np.int64)]

    def within(sections: tuple[int, int]) -> NDArray[np.bool_]:
        begin, end = sections
        return np.asarray(((ends >= begin) & (ends < end)).all(1))

    return Labelled(
        cut,
        clear & within(volume.fit),
        clear & within(volume.score),
        np.asarray(ends[:, 0] != ends[:, 1]),
    )


def auc(labelled: Labelled, p_cut: NDArray[Any]) -> dict[str, float | None]:
    """Area under the ROC curve of P(cut) on the scored edges: all, in a section, across.

    ``None`` where the edges are all of one kind.
    """
    chosen = {
        "all": labelled.score,
        "in section": labelled.score & ~labelled.across,
        "across sections": labelled.score & labelled.across,
    }
    return {
        name: float(roc_auc_score(labelled.cut[rows], p_cut[rows]))
        if len(np.unique(labelled.cut[rows])) == 2
        else None
        for name, rows in chosen.items()
    }


def _triple(shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = shape
    return z, y, x


ROUTES: dict[str, Callable[..., Result]] = {"elf": elf_route, "ours": our_route}

if __name__ == "__main__":
    child_main(measure)

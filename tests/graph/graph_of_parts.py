"""The graph out of what blocks kept: by the stage's steps, and in one go as a reference."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

import pipeline.contract
import pipeline.graph.half_edges
import pipeline.graph.ranges
import pipeline.intervals
import pipeline.tables
from pipeline.contract import BLOCKS, Resources, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.graph import STAGE
from pipeline.graph.moments import central_moments, means
from pipeline.graph.stage import GraphConfig
from pipeline.graph.unions import UNKNOWN
from pipeline.grid import blocks
from pipeline.held import HeldInputs
from pipeline.tables import row_tasks

CONFIG = GraphConfig()
FLAT_NM = (40.0, 4.0, 4.0)
CUBIC_NM = (8.0, 8.0, 8.0)


def resources_of(superpixels, voxel_size=FLAT_NM, corrections=None):
    """``corrections``: none are made by default."""
    corrections = corrections or Corrections.none(len(superpixels), 0, 1)
    volume = VolumeInfo(superpixels.shape, voxel_size, "uint8")
    return Resources(volume, corrections=corrections)


def parts_of(superpixels, block_shape, voxel_size=FLAT_NM, corrections=None):
    resources = resources_of(superpixels, voxel_size, corrections)
    return [
        STAGE.compute(b, {"superpixels": superpixels[b.read.slices]}, CONFIG, resources)
        for b in blocks(superpixels.shape, block_shape, STAGE.halo(CONFIG, resources))
    ]


def finished(parts, resources, rng=None, inputs_of=HeldInputs):
    """The final tables by the stage's steps; with ``rng`` their tasks run in any order."""
    kept, tables = {BLOCKS: parts}, {}
    for step in STAGE.after:
        inputs = inputs_of(tables, kept)
        count = (
            step.tasks(inputs, CONFIG, resources)
            if step.tasks
            else row_tasks(step.rows(inputs, CONFIG, resources))
        )
        order = np.arange(count) if rng is None else rng.permutation(count)
        done = {int(i): step.compute(int(i), inputs, CONFIG, resources) for i in order}
        if step.tasks:
            kept = {**kept, step.name: [done[i] for i in range(count)]}
            continue
        for spec in step.writes:
            written = [done[i][spec.name] for i in range(count)]
            columns = {c: np.concatenate([one[c] for one in written]) for c in spec.columns}
            tables = {**tables, spec.name: {**tables.get(spec.name, {}), **columns}}
    return tables


@contextmanager
def small_tasks(rows, voxels, pairs=1 << 19, edges=1 << 20, blocks_at_once=256):
    """Tasks of fewer rows, voxels, edges and blocks than in a real volume."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.contract, "ROWS", rows)
        patch.setattr(pipeline.tables, "ROWS", rows)
        patch.setattr(pipeline.graph.ranges, "LONGEST", voxels)
        patch.setattr(pipeline.graph.ranges, "PAIRS", pairs)
        patch.setattr(pipeline.intervals, "BLOCKS_AT_ONCE", blocks_at_once)
        patch.setattr(pipeline.graph.half_edges, "EDGES", edges)
        yield


def in_one_go(parts, resources):
    """The final tables, row by row in dicts."""
    nodes, edges, overlaps = (_united(name, parts) for name in ("nodes", "edges", "overlaps"))
    ids = nodes["id"].tolist()
    number = {i: row for row, i in enumerate(ids)}
    uv = [[number[u], number[v]] for u, v in edges["ids"].tolist()]
    length = edges["faces"].sum(1, dtype=np.uint64)
    deep = (nodes["box"][:, 3] - nodes["box"][:, 0]).tolist()
    flat = resources.volume.flat_sections
    halves = sorted(
        [(u, v, row) for row, (u, v) in enumerate(uv)]
        + [(v, u, row) for row, (u, v) in enumerate(uv)]
    )
    return {
        "nodes": {
            "id": nodes["id"],
            "size_voxels": nodes["size_voxels"],
            "centre": means(nodes["size_voxels"], nodes["sums"]),
            "moments": central_moments(nodes["size_voxels"], nodes["sums"], nodes["products"]),
            "box": nodes["box"],
            "first_neighbour": np.array(
                [sum(half[0] < row for half in halves) for row in range(len(ids))], np.uint64
            ),
        },
        "edges": {
            "uv": np.array(uv, np.uint64).reshape(-1, 2),
            "across_sections": np.array(
                [
                    not faces[1] and not faces[2] and (flat or deep[u] == deep[v] == 1)
                    for (u, v), faces in zip(uv, edges["faces"].tolist(), strict=True)
                ],
                bool,
            ),
            "length_voxels": length,
            "faces": edges["faces"],
            "centre": means(length, edges["sums"]) / 2,
            "moments": central_moments(length, edges["sums"], edges["products"]) / 4,
        },
        "overlaps": {
            "uv": np.array(
                [[number[u], number[v]] for u, v in overlaps["ids"].tolist()], np.uint64
            ).reshape(-1, 2),
            "voxels": overlaps["voxels"],
        },
        "neighbours": {
            "other": np.array([other for _, other, _ in halves], np.uint64),
            "edge": np.array([row for _, _, row in halves], np.uint64),
        },
    }


def _united(table, parts):
    name, *others = UNKNOWN[table]
    found = {}
    for part in parts:
        for i, ids in enumerate(part[table][name].tolist()):
            row = {other: part[table][other][i] for other in others}
            key = tuple(ids) if isinstance(ids, list) else ids
            found[key] = _added(found[key], row) if key in found else row
    keys = sorted(found)
    empty = UNKNOWN[table]
    return {
        name: np.array(keys, empty[name].dtype).reshape(-1, *empty[name].shape[1:]),
        **{
            other: np.array([found[k][other] for k in keys], empty[other].dtype).reshape(
                -1, *empty[other].shape[1:]
            )
            for other in others
        },
    }


def _added(a, b):
    total = {name: a[name] + b[name] for name in a}
    if "box" in a:
        low, high = np.minimum(a["box"], b["box"]), np.maximum(a["box"], b["box"])
        total["box"] = np.concatenate([low[:3], high[3:]])
    return total


def assert_same(a, b):
    assert a.keys() == b.keys()
    for table in a:
        assert a[table].keys() == b[table].keys()
        for name, column in a[table].items():
            assert column.dtype == b[table][name].dtype, name
            assert np.array_equal(column, b[table][name]), (table, name)

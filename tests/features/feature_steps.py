"""Features of small volumes, by the steps of the stages, in tasks as small as one likes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

import pipeline.contract
import pipeline.features.contacts
import pipeline.features.index
import pipeline.features.totals
import pipeline.intervals
import pipeline.tables
from pipeline.contract import BLOCKS
from pipeline.corrections import Corrections
from pipeline.features import STAGE
from pipeline.features.config import FeaturesConfig
from pipeline.graph import STAGE as GRAPH
from pipeline.graph.stage import GraphConfig
from pipeline.grid import blocks, whole
from pipeline.held import HeldInputs
from pipeline.tables import row_tasks

FLAT_NM = (40.0, 4.0, 4.0)
CUBIC_NM = (8.0, 8.0, 8.0)
CONFIG = FeaturesConfig(sigmas_voxels=(0.8, 1.2))
LOW, HIGH = 100.0, 900.0
"""Grey values that become 0 and 1."""


def volume_of(rng, shape, flat):
    """Raw, boundary map, superpixels; some voxels masked."""
    points = rng.uniform(0, shape, (60, 3)) * ([4, 1, 1] if flat else [1, 1, 1])
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    near = cKDTree(points).query(voxels * ([4, 1, 1] if flat else [1, 1, 1]))[1]
    ids = near + (1000 * np.arange(shape[0])[:, None, None] if flat else 0)
    superpixels = np.where(near % 7 == 0, 0, ids * 1_000_003 + 5).astype(np.uint64)
    return {
        "raw": rng.integers(0, 1024, shape, dtype=np.uint16),
        "boundaries": rng.integers(0, 256, shape, dtype=np.uint8),
        "superpixels": superpixels,
    }


def finished(stage, known, parts, config, resources, inputs_of=HeldInputs):
    """What the steps of a stage write, given what its blocks kept."""
    kept, tables = {BLOCKS: parts}, dict(known)
    for step in stage.after:
        inputs = inputs_of(tables, kept)
        seen = (inputs, config, resources)
        count = step.tasks(*seen) if step.tasks else row_tasks(step.rows(*seen))
        done = [step.compute(task, *seen) for task in range(count)]
        if step.tasks:
            kept = {**kept, step.name: done}
            continue
        for spec in step.writes:
            columns = {c: np.concatenate([one[spec.name][c] for one in done]) for c in spec.columns}
            tables = {**tables, spec.name: {**tables.get(spec.name, {}), **columns}}
    return tables


def corrected(resources):
    """The same; where sections have no corrections, those of a volume without defects."""
    none = Corrections.none(resources.volume.shape[0], LOW, HIGH)
    return replace(resources, corrections=resources.corrections or none)


def graph_of(superpixels, resources):
    config, block, resources = GraphConfig(), whole(superpixels.shape), corrected(resources)
    part = GRAPH.compute(block, {"superpixels": superpixels}, config, resources)
    return finished(GRAPH, {}, [part], config, resources)


def parts_of(arrays, resources, block_shape, config=CONFIG):
    """What every block keeps."""
    parts, resources = [], corrected(resources)
    for block in blocks(resources.volume.shape, block_shape, STAGE.halo(config, resources)):
        crop = {name: array[block.read.slices] for name, array in arrays.items()}
        parts.append(STAGE.compute(block, HeldInputs(crop), config, resources))
    return parts


def run(arrays, resources, block_shape, rng=None, config=CONFIG):
    """The features, and all tables; with ``rng`` the blocks come in any order."""
    graph = graph_of(arrays["superpixels"], resources)
    parts = parts_of(arrays, resources, block_shape, config)
    if rng is not None:
        rng.shuffle(parts)
    tables = finished(STAGE, graph, parts, config, resources)
    return {name: {"features": tables[name]["features"]} for name in ("nodes", "edges")}, graph


def columns(table, result, resources, config=CONFIG):
    names = STAGE.attributes(config, resources)[f"{table}/features"]["names"]
    return dict(zip(names, result[table]["features"].T, strict=True))


@contextmanager
def small_tasks(rows, rows_at_once, half_edges):
    """Tasks of fewer rows than in a real volume."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.contract, "ROWS", rows)
        patch.setattr(pipeline.tables, "ROWS", rows)
        patch.setattr(pipeline.features.index, "INTERVAL_ROWS", rows // 4)
        patch.setattr(pipeline.intervals, "BLOCKS_AT_ONCE", 3)
        patch.setattr(pipeline.features.totals, "ROWS_AT_ONCE", rows_at_once)
        patch.setattr(pipeline.features.contacts, "HALF_EDGES_AT_ONCE", half_edges)
        yield

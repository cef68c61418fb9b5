"""Memory of the steps."""

from __future__ import annotations

import tracemalloc

import numpy as np
from feature_steps import CUBIC_NM

from pipeline.contract import BLOCKS, ROWS, Resources, VolumeInfo
from pipeline.features import STAGE
from pipeline.features.channels import channel_names
from pipeline.features.config import FeaturesConfig
from pipeline.features.statistics import Statistics
from pipeline.features.totals import ROWS_AT_ONCE, UPPER
from pipeline.held import HeldInputs, HeldRows
from pipeline.intervals import INDEX

CONFIG = FeaturesConfig(sigmas_voxels=(1.0,), mode="3d")
RESOURCES = Resources(VolumeInfo((9, 9, 9), CUBIC_NM, "uint8"))
STEPS = {step.name: step for step in STAGE.after}
EDGES = STEPS["edges"]


class Copied(HeldRows):
    """Rows that take memory when they are read, as rows of a file do."""

    def read(self, column, begin, end):
        return super().read(column, begin, end).copy()


def chain(count):
    """Superpixels in a row, each touching the next one by 4 faces, all kept by one block."""
    nodes, faces = count + 1, 4
    u = np.arange(count)
    first = np.maximum(2 * np.arange(nodes) - 1, 0)
    other = np.stack([u + 1, u], 1).ravel()  # of 0: 1; of 1: 0, 2; of 2: 1, 3; ...
    ids = np.arange(1, nodes + 1, dtype=np.uint64)
    kept = Statistics.empty(count, len(channel_names(CONFIG)), narrow=True)
    kept.count[...], kept.high[...], kept.histogram[:, :, 0] = faces, 9, faces
    moments = np.tile([2.0, 0, 0, 2, 0, 2], (nodes, 1))
    known = {
        "nodes": {
            "id": ids,
            "size_voxels": np.full(nodes, 9, np.uint64),
            "centre": np.stack([np.arange(nodes, dtype=float)] * 3, 1),
            "moments": moments,
            "first_neighbour": first.astype(np.uint64),
            "features": np.zeros((nodes, 27), np.float32),
        },
        "edges": {
            "uv": np.stack([u, u + 1], 1).astype(np.uint64),
            "length_voxels": np.full(count, faces, np.uint64),
            "across_sections": np.zeros(count, bool),
            "faces": np.full((count, 3), [0, 0, faces], np.uint64),
            "centre": np.stack([u + 0.5] * 3, 1),
            "moments": moments[:-1],
        },
        "neighbours": {
            "other": other.astype(np.uint64),
            "edge": np.repeat(u, 2).astype(np.uint64),
        },
    }
    part = {
        "nodes": {"key": ids},
        "edges": {"key": ids[:-1], UPPER: ids[1:], **kept.table()},
    }
    return known, part


def inputs_of(count):
    known, part = chain(count)
    kept = {BLOCKS: [part]}
    index = STEPS[INDEX].compute(0, HeldInputs(known, kept), CONFIG, RESOURCES)
    return HeldInputs(known, {**kept, INDEX: [index]})


def test_a_task_of_edges_takes_no_more_memory_than_the_step_says(monkeypatch):
    monkeypatch.setattr("pipeline.held.HeldRows", Copied)
    EDGES.compute(0, inputs_of(9), CONFIG, RESOURCES)  # compiled before it is measured
    inputs = inputs_of(ROWS_AT_ONCE + 3000)
    tracemalloc.start()
    features = EDGES.compute(0, inputs, CONFIG, RESOURCES)["edges"]["features"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(features) == inputs["edges"].count < ROWS
    assert peak <= EDGES.memory(inputs, CONFIG, RESOURCES)

"""Contacts of the ends of edges, against sets of the whole graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features import contacts as contacts_module
from pipeline.features.contacts import Contacts
from pipeline.held import HeldInputs


def graph_of(pairs, nodes, rng):
    """Tables of a graph with contacts of any length, some of them across sections."""
    uv = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    half = np.concatenate([uv, uv[:, ::-1]])
    edge = np.tile(np.arange(len(uv)), 2)
    order = np.lexsort([half[:, 1], half[:, 0]])
    return HeldInputs(
        {
            "nodes": {"first_neighbour": np.searchsorted(half[order, 0], np.arange(nodes))},
            "edges": {
                "uv": uv,
                "length_voxels": rng.integers(1, 1000, len(uv)).astype(np.uint64),
                "across_sections": rng.random(len(uv)) < 0.5,
            },
            "neighbours": {"other": half[order, 1], "edge": edge[order]},
        }
    )


def slow(inputs, some):
    """The same out of loops over all edges."""
    edges = inputs["edges"]
    rows = list(zip(edges["uv"].tolist(), edges["length_voxels"].tolist(), strict=True))
    kinds = edges["across_sections"].tolist()

    def lengths(node, kind):
        return [n for (uv, n), k in zip(rows, kinds, strict=True) if node in uv and k == kind]

    def around(node):
        return {n for uv, _ in rows if node in uv for n in uv} - {node}

    return {
        "degree": [[len(around(n)) for n in uv] for uv in some],
        "surface": [[[sum(lengths(n, k)) for k in (0, 1)] for n in uv] for uv in some],
        "longest": [[[max(lengths(n, k), default=0) for k in (0, 1)] for n in uv] for uv in some],
        "common": [len(around(u) & around(v)) for u, v in some],
    }


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    nodes=st.integers(2, 16),
    share=st.floats(0.05, 1),
    at_once=st.sampled_from([1, 10, 30, 10**6]),
)
def test_contacts_of_some_edges_are_those_in_the_whole_graph(seed, nodes, share, at_once):
    rng = np.random.default_rng(seed)
    pairs = [(u, v) for u in range(nodes) for v in range(u + 1, nodes) if rng.random() < share]
    inputs = graph_of(pairs or [(0, 1)], nodes, rng)
    begin = int(rng.integers(inputs["edges"].count))
    some = inputs["edges"]["uv"][begin : begin + 9]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contacts_module, "HALF_EDGES_AT_ONCE", at_once)
        found = Contacts.of(some, inputs)
    for name, expected in slow(inputs, some.tolist()).items():
        assert getattr(found, name).tolist() == expected, name


def test_no_edges_have_no_contacts():
    inputs = graph_of([], 3, np.random.default_rng(0))
    found = Contacts.of(np.zeros((0, 2), np.int64), inputs)
    assert found.degree.shape == (0, 2)
    assert found.surface.shape == (0, 2, 2)
    assert found.common.shape == (0,)


def test_a_hub_does_not_bring_more_neighbours_into_memory_than_it_has(monkeypatch):
    leaves, limit = 5000, 6000
    star = [(0, leaf) for leaf in range(1, leaves + 1)]
    ring = [(leaf, leaf + 1) for leaf in range(1, leaves)]
    inputs = graph_of(star + ring, leaves + 1, np.random.default_rng(1))
    held = []
    read = contacts_module.neighbours_of_set

    def spied(*args):
        around = read(*args)
        held.append(len(around.other))
        return around

    monkeypatch.setattr(contacts_module, "neighbours_of_set", spied)
    monkeypatch.setattr(contacts_module, "HALF_EDGES_AT_ONCE", limit)
    found = Contacts.of(inputs["edges"]["uv"], inputs)
    assert max(held) <= limit
    assert found.degree[:leaves, 0].tolist() == [leaves] * leaves
    assert found.common[:leaves].tolist() == [1, *[2] * (leaves - 2), 1]
    assert found.common[leaves:].tolist() == [1] * (leaves - 1)
    total = inputs["edges"]["length_voxels"][:leaves].sum()
    assert (found.surface[:leaves, 0].sum(1) == total).all()

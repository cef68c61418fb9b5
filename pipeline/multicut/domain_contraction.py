"""What a level joined is contracted, domain by domain.

All edges with an end in the domain are mapped to clusters, and parallel ones add up. An edge
between two domains is summed for both, from the same rows in the same order. The row of a
cluster is its number in its domain, after the clusters of all domains before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import Cells
from pipeline.contract import Inputs, Outputs, Parts, Resources, Table
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.contraction import contract
from pipeline.multicut.domain_solver import problem_of
from pipeline.multicut.levels import Chain, Levels, levels
from pipeline.multicut.problem import Labels
from pipeline.multicut.scatter import crossing, rows_where
from pipeline.subgraphs import by_cell, rows_in_cells

Int = NDArray[np.int64]
Ids = NDArray[np.uint64]


def contract_domain(
    chain: Chain,
    level: int,
    task: int,
    inputs: Inputs,
    config: MulticutConfig,
    resources: Resources,
) -> Outputs:
    """The clusters of a domain, the edges between them, and those to other domains.

    Returns
    -------
    kept
        Tables as of ``scatter``, keyed by the domain; ``costs``: the sums over the edges whose
        lower cluster lies here, and over those of them that attract.
    """
    known = levels(inputs, chain, config, resources.volume, level)
    domains = known.domains[level]
    solved = inputs.parts(chain.solve_step(level))
    entered = inputs.parts(chain.entered_step(level))
    pairs = {name: touching(entered, name, known, level, task) for name in chain.pairs}
    ends = Ends.of(pairs, domains, solved)
    found = contract(problem_of(len(ends.nodes), ends.numbered(pairs)), ends.labels)
    kept: Outputs = {"nodes": keyed(clusters(solved, task), task)}
    sums = np.zeros(2)
    for name, uv, costs in (
        ("edges", found.uv, found.costs),
        ("lifted", found.lifted_uv, found.lifted_costs),
    ):
        table = {"uv": ends.rows[uv].astype(np.uint64), "id": ends.ids[uv], "cost": costs}
        own = domains.of_ids(ends.ids[uv[:, 0]]) == task
        sums += costs[own].sum(), np.maximum(costs[own], 0).sum()
        kept[name] = keyed(rows_where(table, own), task)
        kept[crossing(name)] = keyed(rows_where(table, ~own), task)
    return {**kept, "costs": {"all": sums[:1], "attractive": sums[1:]}}


def touching(entered: Parts, name: str, known: Levels, level: int, task: int) -> Table:
    """All edges with at least one end in a domain, each once.

    Those that begin in it, or end in it and are stored with both ends, are found by their lower
    node, the others by their upper one.
    """
    domains, stored = known.domains[level], known.stored_by(level)
    numbers = stored.touched(domains.box(task))

    def by_lower(ids: Ids) -> NDArray[np.bool_]:
        lower, upper = (domains.of_ids(ids[:, side]) == task for side in (0, 1))
        together = stored.of_ids(ids[:, 0]) == stored.of_ids(ids[:, 1])
        found: NDArray[np.bool_] = lower | (upper & together)
        return found

    def by_upper(ids: Ids) -> NDArray[np.bool_]:
        lower, upper = (domains.of_ids(ids[:, side]) == task for side in (0, 1))
        found: NDArray[np.bool_] = upper & ~lower
        return found

    tables = (
        rows_in_cells(entered, name, numbers, "id", by_lower),
        rows_in_cells(entered, crossing(name), numbers, "id", by_upper),
    )
    return {column: np.concatenate([t[column] for t in tables]) for column in tables[0]}


@dataclass(frozen=True, eq=False)
class Ends:
    """The ends of some edges, and the clusters that these became.

    Parameters
    ----------
    nodes
        (n,) rows of the ends before contraction, ascending.
    labels
        (n,) cluster of each, from 0.
    rows, ids
        (c,) of the clusters: rows after contraction, ascending, and places.
    """

    nodes: Int
    labels: Labels
    rows: Int
    ids: Ids

    @classmethod
    def of(cls, pairs: Mapping[str, Table], domains: Cells, solved: Parts) -> Ends:
        """Look up the ends in what their domains joined."""
        uv = np.concatenate([table["uv"].ravel() for table in pairs.values()])
        ids = np.concatenate([table["id"].ravel() for table in pairs.values()])
        nodes, first = np.unique(uv.astype(np.int64), return_index=True)
        rows, places = mapped(solved, nodes, domains.of_ids(ids[first]))
        distinct, first, labels = np.unique(rows, return_index=True, return_inverse=True)
        return cls(nodes, labels.astype(np.uint64), distinct, places[first])

    def numbered(self, pairs: Mapping[str, Table]) -> dict[str, Table]:
        """The edges between the ends, numbered from 0."""
        return {
            name: {
                "uv": np.searchsorted(self.nodes, table["uv"].astype(np.int64)),
                "cost": table["cost"],
            }
            for name, table in pairs.items()
        }


def mapped(solved: Parts, rows: Int, of_domain: Int) -> tuple[Int, Ids]:
    """Row and place of the clusters that nodes became.

    Parameters
    ----------
    solved
        What ``solve_domain`` kept.
    rows
        (n,) of the nodes before contraction.
    of_domain
        (n,) in which each lies.
    """
    offsets = offsets_of(solved)
    found, places = np.empty(len(rows), np.int64), np.empty(len(rows), np.uint64)
    for domain in np.unique(of_domain):
        here = np.flatnonzero(of_domain == domain)
        mapping, part = solved[int(domain)]["mapping"], solved[int(domain)]["clusters"]
        cluster = mapping["cluster"][np.searchsorted(mapping["row"], rows[here])]
        found[here] = offsets[domain] + cluster
        places[here] = part["id"][cluster]
    return found, places


def clusters(solved: Parts, domain: int) -> Table:
    """Row and place of the clusters of a domain."""
    ids = solved[domain]["clusters"]["id"]
    return {"row": offsets_of(solved)[domain] + np.arange(len(ids), dtype=np.int64), "id": ids}


def offsets_of(solved: Parts) -> Int:
    """(t,) row of the first cluster of every domain."""
    counts = solved.counts("clusters")
    return np.cumsum(counts) - counts


def keyed(table: Table, domain: int) -> Table:
    """A table of one domain, to be kept."""
    count = len(next(iter(table.values())))
    return by_cell(table, np.full(count, domain, np.int64))

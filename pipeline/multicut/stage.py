"""The neuron of every node: costs from probabilities, then the (lifted) multicut.

1. ``scatter``: nodes, edges and costs are kept by cells of the volume.
2. For each level, with and without lifted edges: ``solve``, one task for each domain, and
   ``contract``; there are as many levels as the size of the problem asks for (``levels``).
3. ``rest``: the last contracted problem is solved in one process.
4. ``expand``: its clusters are followed back to the nodes of each domain; ``neurons`` writes
   them in the order of the nodes.

A small problem has no levels: ``rest`` solves it as it is.
"""

from __future__ import annotations

from functools import partial

from pipeline.contract import Inputs, Resources, Stage, Step, TableSpec
from pipeline.multicut.at_once import partition
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.domain_contraction import contract_domain
from pipeline.multicut.domain_solver import solve_domain
from pipeline.multicut.expansion import (
    EXPAND,
    REST,
    count_nodes,
    expand_domain,
    expand_tasks,
    neurons,
)
from pipeline.multicut.levels import (
    CHAINS,
    LEVELS,
    SCATTER,
    Chain,
    at_once,
    chains,
    edges_of_a_domain,
    levels,
)
from pipeline.multicut.rest import BASE_BYTES, BYTES_PER_EDGE, rest_memory, rest_tasks, solve_rest
from pipeline.multicut.scatter import scatter, scatter_tasks

__all__ = ["STAGE", "MulticutConfig", "partition"]

UNEVEN = 4
"""A domain may hold so many times the edges of the average one, with its overlap."""


def domain_tasks(
    chain: Chain, level: int, inputs: Inputs, config: MulticutConfig, resources: Resources
) -> int:
    """Domains of a level; none where it is not needed."""
    if chain not in chains(inputs, config) or at_once(inputs, config, resources.volume):
        return 0
    return levels(inputs, chain, config, resources.volume, level).count(level)


def domain_memory(
    chain: Chain, level: int, inputs: Inputs, config: MulticutConfig, resources: Resources
) -> int:
    """Bytes for a domain that is ``UNEVEN`` times the average one; 0 where there is none."""
    if not domain_tasks(chain, level, inputs, config, resources):
        return 0
    known = levels(inputs, chain, config, resources.volume, level)
    edges = edges_of_a_domain(known.sizes[level], known.domains[level])
    return BASE_BYTES + int(UNEVEN * BYTES_PER_EDGE * edges)


def level_steps(chain: Chain, level: int) -> tuple[Step, Step]:
    """The two steps of a level."""
    tasks, memory = (partial(f, chain, level) for f in (domain_tasks, domain_memory))
    return (
        Step(chain.solve_step(level), partial(solve_domain, chain, level), tasks, memory=memory),
        Step(
            chain.contract_step(level), partial(contract_domain, chain, level), tasks, memory=memory
        ),
    )


STAGE = Stage(
    name="multicut",
    version=2,
    config=MulticutConfig,
    reads=("nodes", "edges", "lifted"),
    after=(
        Step(SCATTER, scatter, scatter_tasks),
        *(
            step
            for chain in CHAINS
            for level in range(LEVELS)
            for step in level_steps(chain, level)
        ),
        Step(
            REST,
            solve_rest,
            rest_tasks,
            memory=rest_memory,
            smaller_by="multicut.solve_at_once_edges",
        ),
        Step(EXPAND, expand_domain, expand_tasks),
        Step(
            "neurons",
            neurons,
            rows=count_nodes,
            writes=(TableSpec("nodes", {"neuron": "uint64", "multicut": "uint64"}),),
        ),
    ),
)

"""Levels of the decomposition: how large the problem is, and by which domains it is solved.

A domain is a box of voxels; a node lies in that of its seed, a contracted one in that of the
mean place of its nodes.

1. Domains of the first level hold about ``domain_nodes`` nodes.
2. From level to level domains are doubled along their shortest axes: as often as what is left
   of the problem allows if a domain is to hold no more edges than at first, and from the third
   level on once at least.
3. Their borders lie in the middle of the domains of the level before, so that what no
   sub-problem could decide there is decided now.
4. Levels end when the problem is small enough to be solved at once, or lies in one domain.

Everything follows from the volume, the configuration and the sizes of the problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import Cells, seeds
from pipeline.contract import Inputs, Triple, VolumeInfo
from pipeline.multicut.config import MulticutConfig, decided

LEVELS = 8
"""More are never begun; with a third of the problem left by each, 6,000 times as many edges as
can be solved at once."""
SCATTER = "scatter"


@dataclass(frozen=True)
class Chain:
    """One of the two problems on the graph, followed through its levels.

    Parameters
    ----------
    column
        Of ``nodes``, that its solution becomes.
    pairs
        Tables of its edges.
    """

    column: str
    pairs: tuple[str, ...]

    def solve_step(self, level: int) -> str:
        """Name of the step that solves the domains of a level, from 0."""
        return f"{self.column}-solve-{level + 1}"

    def contract_step(self, level: int) -> str:
        """Name of the step that contracts what they joined."""
        return f"{self.column}-contract-{level + 1}"

    def entered_step(self, level: int) -> str:
        """Name of the step that kept the problem that enters a level."""
        return SCATTER if level == 0 else self.contract_step(level - 1)


PLAIN = Chain("multicut", ("edges",))
LIFTED = Chain("neuron", ("edges", "lifted"))
CHAINS = (PLAIN, LIFTED)


@dataclass(frozen=True)
class Size:
    """Of a problem: its nodes, regular and lifted edges."""

    nodes: int
    edges: int
    lifted_edges: int

    @property
    def all_edges(self) -> int:
        """Regular and lifted ones."""
        return self.edges + self.lifted_edges


@dataclass(frozen=True)
class Levels:
    """The levels of a chain, as far as they are known.

    Parameters
    ----------
    sizes
        ``sizes[k]``: of the problem that enters level k, or that is solved at last.
    domains
        Of the levels that are needed.
    overlap
        zyx, voxels, by which a domain of any level grows on every side.
    """

    sizes: tuple[Size, ...]
    domains: tuple[Cells, ...]
    overlap: Triple

    def count(self, level: int) -> int:
        """Number of domains of a level; 0 where it is not needed."""
        return self.domains[level].count if level < len(self.domains) else 0

    def stored_by(self, level: int) -> Cells:
        """Cells by which the problem that enters a level is kept."""
        return storage(self.domains[0]) if level == 0 else self.domains[level - 1]


def levels(
    inputs: Inputs, chain: Chain, config: MulticutConfig, volume: VolumeInfo, last: int = LEVELS
) -> Levels:
    """The levels of a chain.

    Parameters
    ----------
    inputs
        All steps before level ``last`` are done.
    chain
        With or without lifted edges.
    config
        Resolved for the volume.
    volume
        Where the nodes lie.
    last
        Level to look at last.
    """
    first = first_domains(inputs, config, volume)
    sizes = [whole_size(inputs, chain, config)]
    content = edges_of_a_domain(sizes[0], first)
    domains: list[Cells] = []
    while len(domains) <= last:
        number, size = len(domains), sizes[-1]
        following = next_domains(domains[-1], number, size, content, volume) if domains else first
        if solved_at_once(size, config) or following.count == 1 or number == LEVELS:
            break
        domains.append(following)
        if number < last:
            sizes.append(contracted_size(inputs, chain, number))
    return Levels(tuple(sizes), tuple(domains), overlap_of(first, config))


def at_once(inputs: Inputs, config: MulticutConfig, volume: VolumeInfo) -> bool:
    """Whether the whole problem is solved in one process, with and without lifted edges."""
    return not levels(inputs, chains(inputs, config)[-1], config, volume, 0).domains


def chains(inputs: Inputs, config: MulticutConfig) -> tuple[Chain, ...]:
    """The problems that are asked for: the last one gives the neurons."""
    if not has_lifted(inputs, config):
        return (PLAIN,)
    return CHAINS if config.without_lifted else (LIFTED,)


def has_lifted(inputs: Inputs, config: MulticutConfig) -> bool:
    """Whether lifted edges play a part."""
    weight = decided(config.lifted_weight, "lifted_weight")
    return bool(weight > 0 and inputs["lifted"].count > 0)


def solved_at_once(size: Size, config: MulticutConfig) -> bool:
    """Whether a problem is solved as it is; always by a solver that was chosen by name."""
    chosen = config.solver not in (None, "hierarchical")
    return chosen or size.all_edges <= config.solve_at_once_edges


def whole_size(inputs: Inputs, chain: Chain, config: MulticutConfig) -> Size:
    """Size of the problem before any contraction."""
    lifted = chain is LIFTED and has_lifted(inputs, config)
    return Size(
        inputs["nodes"].count, inputs["edges"].count, inputs["lifted"].count if lifted else 0
    )


def contracted_size(inputs: Inputs, chain: Chain, level: int) -> Size:
    """Size of the problem after a level."""
    parts = inputs.parts(chain.contract_step(level))
    nodes, edges, lifted = (int(parts.counts(t).sum()) for t in ("nodes", "edges", "lifted"))
    return Size(nodes, edges, lifted)


def first_domains(inputs: Inputs, config: MulticutConfig, volume: VolumeInfo) -> Cells:
    """Domains of the first level, the same with and without lifted edges."""
    return Cells.of(volume, inputs["nodes"].count, config.domain_nodes)


def storage(domains: Cells) -> Cells:
    """Cells by which the whole problem is kept: half as long, so that less is read in vain."""
    return Cells(domains.volume_shape, _per_axis(domains, lambda s: -(-s // 2), lambda s: s))


def overlap_of(domains: Cells, config: MulticutConfig) -> Triple:
    """The overlap in voxels; 0 along an axis with one domain."""
    return _per_axis(domains, lambda s: math.ceil(config.domain_overlap * s), lambda _: 0)


def next_domains(
    previous: Cells, number: int, size: Size, content: float, volume: VolumeInfo
) -> Cells:
    """Domains of level ``number``, from 1, that hold about ``content`` edges at most."""
    shape = previous.shape if number == 1 else _doubled(previous.shape, volume)
    found = _between(previous, shape)
    while found.count > 1:
        larger = _between(previous, _doubled(found.shape, volume))
        if edges_of_a_domain(size, larger) > content:
            break
        found = larger
    return found


def edges_of_a_domain(size: Size, domains: Cells) -> float:
    """Regular and lifted edges of a domain, if they lie evenly."""
    return size.all_edges * math.prod(domains.shape) / math.prod(domains.volume_shape)


def _doubled(shape: Triple, volume: VolumeInfo) -> Triple:
    """Twice as long along the shortest axis that does not cover the volume yet."""
    lengths = [
        s * nm if s < n else math.inf
        for s, n, nm in zip(shape, volume.shape, volume.voxel_size_nm, strict=True)
    ]
    axis = int(np.argmin(lengths))
    longer = list(shape)
    longer[axis] = min(2 * shape[axis], volume.shape[axis])
    return longer[0], longer[1], longer[2]


def _between(previous: Cells, shape: Triple) -> Cells:
    """Cells of a multiple of the shape, whose borders lie in the middle of those before."""
    z, y, x = (
        (t + p // 2) % s if s < n else 0
        for t, p, s, n in zip(
            previous.shift, previous.shape, shape, previous.volume_shape, strict=True
        )
    )
    return Cells(previous.volume_shape, shape, (z, y, x))


def _per_axis(
    cells: Cells, of_several: Callable[[int], int], of_one: Callable[[int], int]
) -> Triple:
    """A length for each axis, from that of a cell, by whether there are several along it."""
    z, y, x = (
        of_several(s) if s < n else of_one(s)
        for s, n in zip(cells.shape, cells.volume_shape, strict=True)
    )
    return z, y, x


def alone(
    ids: NDArray[np.uint64], domains: Cells, domain: int, overlap: Triple
) -> NDArray[np.bool_]:
    """(n,) Whether no other domain, grown by the overlap, holds a node of this domain."""
    box = domains.box(domain)
    low = [b + r if b > 0 else 0 for b, r in zip(box.begin, overlap, strict=True)]
    high = [
        e - r if e < n else n
        for e, r, n in zip(box.end, overlap, domains.volume_shape, strict=True)
    ]
    zyx = seeds(ids, domains.volume_shape)
    inner: NDArray[np.bool_] = np.all((zyx >= low) & (zyx < high), axis=1)
    return inner

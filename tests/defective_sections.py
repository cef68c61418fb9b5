"""Corrections of sections with defects, made by hand and at random; links one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from pipeline.contract import Triple
from pipeline.corrections import Corrections


def corrected(
    depth: int,
    bad: Sequence[int] = (),
    slips: Mapping[int, tuple[int, int]] | None = None,
    low: float = 0.0,
    high: float = 255.0,
) -> Corrections:
    """Of ``depth`` sections: some are bad; from others on, the stack lies further on in y, x."""
    usable = [z for z in range(depth) if z not in bad]
    place = np.zeros((depth, 2), np.int64)
    for z, shift in (slips or {}).items():
        place[z:] += shift
    return Corrections(
        np.full(depth, low),
        np.full(depth, high),
        np.array([min(usable, key=lambda u: (abs(u - z), u)) for z in range(depth)], np.int64),
        place,
    )


@st.composite
def corrections_of(draw: st.DrawFn, depth: int, slip: int = 2) -> Corrections:
    """Any sections bad but one, and slips of up to ``slip`` voxels."""
    bad = draw(st.sets(st.integers(0, depth - 1), max_size=depth - 1))
    shift = st.tuples(st.integers(-slip, slip), st.integers(-slip, slip))
    return corrected(
        depth, sorted(bad), draw(st.dictionaries(st.integers(0, depth - 1), shift, max_size=3))
    )


def slow_steps(corrections: Corrections) -> list[tuple[int, Triple]]:
    """Section and step of every link between two sections, from the definition."""
    depth, source = len(corrections.source), corrections.source.tolist()
    pairs = [(z, z + 1) for z in range(depth - 1)]
    usable = [z for z in range(depth) if source[z] == z]
    pairs += [(a, b) for a, b in pairwise(usable) if b - a > 1]
    return [(a, slow_step(corrections, a, b)) for a, b in pairs]


def slow_step(corrections: Corrections, below: int, above: int) -> Triple:
    """From a section to a later one, by the places of what stands in them."""
    here, there = (corrections.place[corrections.source[z]].tolist() for z in (below, above))
    return above - below, there[0] - here[0], there[1] - here[1]


def slow_columns(corrections: Corrections, depth: int) -> list[tuple[int, Triple]]:
    """Section and step from every section to that ``depth`` further on."""
    last = len(corrections.source) - depth
    return [(z, slow_step(corrections, z, z + depth)) for z in range(last)]

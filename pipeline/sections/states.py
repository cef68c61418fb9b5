"""Which sections can be used: empty ones, damaged ones, duplicates, and those between them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.sections.config import SectionsConfig
from pipeline.sections.stack import Flags, Floats, Stack, around, median


class State(IntEnum):
    """What a section is found to be; the first and the duplicates are used."""

    GOOD = 0
    EMPTY = 1
    DAMAGED = 2
    DUPLICATE = 3
    EXCLUDED = 4


NEARLY_ALL, NEARLY_NONE = 0.99, 0.01
"""Shares of an empty section's voxels: of one grey value, and of tissue."""
LITTLE_DETAIL = 0.25
"""Detail of a section that lost its contrast, over that of the sections around. In six
real stacks the least is 0.86."""
MUCH_NOISE = 0.35
"""Coarse over fine detail of a section that is noise, likewise; the least is 0.82."""
MORE_SATURATED = 0.4
"""Share of the voxels that are saturated, beyond that of the sections around."""
UNLIKE = 0.25
"""Correlation of a section that belongs to neither neighbour, over the stack's. Real sections
have at least 0.45 with the better neighbour."""
DUPLICATE, FINE_DUPLICATE = 0.5, 0.2
"""How far the correlation with the section below goes from the stack's towards 1, of coarse bins
and of voxels, whose noise differs even where sections are thin. No real neighbours exceed 0.28
in both; near duplicates of SNEMI3D have 0.93 and 0.33, copies in EPFL's stack 0.97 and 0.82."""


def states_of(stack: Stack, config: SectionsConfig) -> NDArray[np.uint8]:
    """State of every section.

    Returns
    -------
    state
        (Z,) uint8, of ``State``.
    """
    state = np.full(stack.depth, State.GOOD, np.uint8)
    empty = _empty(stack)
    state[empty] = State.EMPTY
    if stack.comparable:
        state[_damaged(stack, ~empty, config.longest_gap + 1)] = State.DAMAGED
        state[_unlike(stack, state == State.GOOD)] = State.DAMAGED
        state[_duplicates(stack, state == State.GOOD)] = State.DUPLICATE
    state[list(config.bad)] = State.EXCLUDED
    return state


def usable(state: NDArray[np.uint8]) -> Flags:
    """Whether sections are used."""
    good: Flags = np.isin(state, (State.GOOD, State.DUPLICATE))
    return good


def sources(state: NDArray[np.uint8], config: SectionsConfig) -> NDArray[np.int64]:
    """The section whose grey values are used.

    Returns
    -------
    source
        (Z,) int64: itself, or the nearest usable section (of two, the lower) of one that lies in
        a gap of ``longest_gap`` sections or fewer. Empty sections at the stack's ends stay, and so
        do bad ones beyond them: there the tissue ends.
    """
    source = np.arange(len(state))
    if not config.bridge:
        return source
    good = usable(state)
    for begin, end in runs(~good):
        if end - begin > config.longest_gap or end - begin == len(state):
            continue
        for z in range(begin, end):
            sides = [n for n in (begin - 1, end) if 0 <= n < len(state)]
            between = state[begin : z + 1] if begin else state[z:end]
            if len(sides) == 2 or not (between == State.EMPTY).any():
                source[z] = min(sides, key=lambda n: (abs(n - z), n))
    return source


def runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """First of every run of True, and one past its last.

    >>> list(runs(np.array([True, False, True, True])))
    [(0, 1), (2, 4)]
    """
    steps = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    yield from zip(
        np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist(), strict=True
    )


def _empty(stack: Stack) -> Flags:
    """One grey value in nearly all voxels, or no tissue, where the stack has more of it."""
    sparse = np.median(stack.commonest) > 1 - 5 * NEARLY_NONE
    one_value = stack.commonest >= (1 if sparse else NEARLY_ALL)
    none = (stack.tissue < NEARLY_NONE) & (np.median(stack.tissue) > 10 * NEARLY_NONE)
    empty: Flags = one_value | none
    return empty


def _damaged(stack: Stack, filled: Flags, reach: int) -> Flags:
    """Contrast lost, noise in place of tissue, or saturated, beside the sections around."""
    contrast = _beside(stack.detail, filled, reach) < LITTLE_DETAIL
    noise = _beside(stack.detail / np.maximum(stack.fine, 1e-9), filled, reach) < MUCH_NOISE
    known = np.where(filled, stack.saturated, np.nan)
    saturated = known - around(known, reach) > MORE_SATURATED
    damaged: Flags = filled & (contrast | noise | saturated)
    return damaged


def _beside(values: Floats, known: Flags, reach: int) -> Floats:
    """Values over their median in the sections around."""
    here = np.where(known, values, np.nan)
    usual = around(here, reach)
    ratio: Floats = here / np.where(usual > 0, usual, np.nan)
    return ratio


def _unlike(stack: Stack, good: Flags) -> Flags:
    """Sections that resemble neither neighbour, where others do."""
    with_below = _pairs(stack.alike[:, 0], good)
    usual = float(median(with_below))
    if not usual > 2 * stack.chance:
        return np.zeros(stack.depth, np.bool_)
    with_above = np.append(with_below[1:], np.nan)
    unlike: Flags = np.maximum(with_below, with_above) < UNLIKE * usual
    return unlike


def _duplicates(stack: Stack, good: Flags) -> Flags:
    """Sections that resemble the one below far more than is usual."""
    found = np.ones(stack.depth, np.bool_)
    for values, least in ((stack.alike[:, 0], DUPLICATE), (stack.fine_alike, FINE_DUPLICATE)):
        pairs = _pairs(values, good)
        usual = float(median(pairs))
        found &= pairs > usual + least * (1 - usual)
    return found


def _pairs(values: Floats, good: Flags) -> Floats:
    """Correlations with the section below where both are good, else NaN."""
    return np.where(good & np.append(False, good[:-1]), values, np.nan)

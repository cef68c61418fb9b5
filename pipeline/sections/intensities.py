"""Grey ranges: inverted contrast, and sections that are darker or brighter than the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.sections.config import SectionsConfig
from pipeline.sections.evidence import MEDIAN, QUARTERS
from pipeline.sections.stack import Flags, Floats, Stack, median
from pipeline.sections.states import runs

UNSURE = 0.02
"""Of the median share of dark ridges around one half. Six real stacks have 0.56 to 0.72."""
FEWEST_ALIKE = 0.8
"""Share of the sections that must say the same."""

SHIFT_LIMITS = 0.5, 1.5
"""Of the median's deviation, in interquartile ranges: what a section may deviate at least, and
at most. Between them ``NATURAL`` times what neighbours usually differ by."""
SPREAD_LIMITS = float(np.log(1.35)), float(np.log(1.6))
"""Likewise of the logarithm of the interquartile range over the stack's."""
NATURAL = 5.0
BESIDE = 0.7
"""Of the limit: sections beside one that has drifted have drifted too if they deviate by this."""
LINEAR = 0.1
"""Root mean square, in interquartile ranges, by which quantiles may miss a line. Grey values that
were changed miss it by 0.03; a section with other tissue misses it by more."""
FEWEST_QUANTILES = 3

Contrast = Literal["dark_membranes", "bright_membranes", "unsure"]


def contrast_of(dark: Floats, good: Flags) -> Contrast:
    """Whether membranes are dark.

    Parameters
    ----------
    dark
        (Z,) share of dark ridges, NaN where there are no ridges.
    good
        (Z,) which sections are used.
    """
    known = dark[good & ~np.isnan(dark)]
    if len(known) == 0 or abs(float(np.median(known)) - 0.5) < UNSURE:
        return "unsure"
    if np.mean(known > 0.5) >= FEWEST_ALIKE:
        return "dark_membranes"
    return "bright_membranes" if np.mean(known < 0.5) >= FEWEST_ALIKE else "unsure"


@dataclass(frozen=True, eq=False)
class Drift:
    """Sections whose grey values are not those of the stack.

    Parameters
    ----------
    found
        (Z,) whether a section has drifted.
    gain, offset
        (Z,) its grey values are ``offset + gain *`` those of the stack; 1 and 0 of the others.
    """

    found: Flags
    gain: Floats
    offset: Floats

    @classmethod
    def none(cls, depth: int) -> Drift:
        """Of a stack without drift."""
        return cls(np.zeros(depth, np.bool_), np.ones(depth), np.zeros(depth))


def drift_of(stack: Stack, good: Flags, config: SectionsConfig) -> Drift:
    """Sections that deviate beyond what is natural, along a line.

    Where one of a run deviates beyond the limit, all do that deviate nearly as far on the same
    side.
    """
    found = Drift.none(stack.depth)
    known = good & ~np.isnan(stack.quantiles).any(1)
    if config.drift == "ignore" or not stack.comparable or not known.any():
        return found
    usual = np.median(stack.quantiles[known], 0)
    spread = stack.quantiles[:, QUARTERS[1]] - stack.quantiles[:, QUARTERS[0]]
    usual_spread = float(np.median(spread[known]))
    if usual_spread <= 0:
        return found
    shift = (stack.quantiles[:, MEDIAN] - usual[MEDIAN]) / usual_spread
    widening = np.log(np.maximum(spread, usual_spread / 100) / usual_spread)
    drifts = _deviates(shift, known, SHIFT_LIMITS) | _deviates(widening, known, SPREAD_LIMITS)
    for z in np.flatnonzero(drifts):
        gain, offset, missed = _line(usual, stack.quantiles[z])
        if gain > 0 and missed < LINEAR * gain * usual_spread:
            found.found[z], found.gain[z], found.offset[z] = True, gain, offset
    return found


def _deviates(deviation: Floats, known: Flags, limits: tuple[float, float]) -> Flags:
    """Whether sections deviate, with those beside them that do so nearly as far."""
    values = np.where(known, deviation, np.nan)
    steps = np.abs(np.diff(values[known]))
    natural = NATURAL * 1.48 * float(np.nan_to_num(median(steps))) / np.sqrt(2)
    limit = float(np.clip(natural, *limits))
    found = np.zeros(len(values), np.bool_)
    for side in (values, -values):
        for begin, end in runs(side > BESIDE * limit):
            found[begin:end] |= bool(np.any(side[begin:end] > limit))
    return found


def _line(usual: Floats, quantiles: Floats) -> tuple[float, float, float]:
    """Gain, offset and root mean square residual of a section's quantiles over the stack's.

    Quantiles that fall together at either end were clipped, and are left out.
    """
    inside = (quantiles > quantiles[0]) & (quantiles < quantiles[-1])
    inside[0] = quantiles[0] < quantiles[1]
    inside[-1] = quantiles[-1] > quantiles[-2]
    if np.count_nonzero(inside) < FEWEST_QUANTILES:
        return 1.0, 0.0, np.inf
    usual, quantiles = usual[inside], quantiles[inside]
    centre = usual.mean()
    gain = float(((usual - centre) @ quantiles) / ((usual - centre) ** 2).sum())
    offset = float(quantiles.mean() - gain * centre)
    missed = float(np.sqrt(np.mean((quantiles - offset - gain * usual) ** 2)))
    return gain, offset, missed

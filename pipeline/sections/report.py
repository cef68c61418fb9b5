"""What was found and done, in the sentences that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.sections.intensities import contrast_of
from pipeline.sections.states import State, runs, usable

LISTED = 6
"""Runs of sections, or slips, that a sentence names."""
SAID = {
    State.EMPTY: "empty",
    State.DAMAGED: "damaged (saturated, without contrast, or unlike its neighbours)",
    State.EXCLUDED: "excluded by sections.bad",
}


def describe(sections: Mapping[str, NDArray[Any]]) -> list[str]:
    """Sentences about the defects of a volume; none if there are none.

    Parameters
    ----------
    sections
        The table ``sections``.

    Returns
    -------
    sentences
        E.g. ``section 12 is empty: bridged by 11``.
    """
    return [
        *_contrast(sections),
        *_unusable(sections),
        *_duplicates(sections),
        *_drift(sections),
        *_slips(sections),
    ]


def _contrast(sections: Mapping[str, NDArray[Any]]) -> list[str]:
    if sections["low"][0] > sections["high"][0]:
        return ["contrast is inverted (bright membranes): grey values are turned round"]
    found = contrast_of(sections["dark"], usable(sections["state"]))
    if found == "bright_membranes":
        return ["membranes look bright, but are taken for dark as sections.contrast says"]
    return []


def _unusable(sections: Mapping[str, NDArray[Any]]) -> list[str]:
    state, source = sections["state"], sections["source"]
    bridged = source != np.arange(len(source))
    found = []
    for kind, words in SAID.items():
        if (here := (state == kind) & bridged).any():
            found.append(f"{_named(here)} {words}: {_by(here, source)}")
        if (here := (state == kind) & ~bridged).any():
            left = f"left as {'it is' if _one(here) else 'they are'}"
            kept = "taken for background" if kind == State.EMPTY else left
            found.append(f"{_named(here)} {words}: {kept}")
    return found


def _by(here: NDArray[np.bool_], source: NDArray[np.int64]) -> str:
    by = _numbers(np.isin(np.arange(len(here)), source[here]))
    return f"bridged by {by}"


def _duplicates(sections: Mapping[str, NDArray[Any]]) -> list[str]:
    z = np.flatnonzero(sections["state"] == State.DUPLICATE)
    pairs = [f"{n - 1} and {n}" for n in z.tolist()]
    return [f"sections {_some(pairs)} are near duplicates: kept"] if pairs else []


def _drift(sections: Mapping[str, NDArray[Any]]) -> list[str]:
    drift = sections["drift"].astype(bool)
    if not drift.any():
        return []
    its = "its" if _one(drift) else "their"
    return [f"{_named(drift)} of other brightness or contrast: {its} grey values are adjusted"]


def _slips(sections: Mapping[str, NDArray[Any]]) -> list[str]:
    slip = sections["slip"]
    moved = np.flatnonzero(slip.any(1)).tolist()
    if not moved:
        return []
    listed = _some([f"{z} ({slip[z, 0]:+d}, {slip[z, 1]:+d})" for z in moved])
    done = "followed" if sections["place"].any() else "not followed"
    return [f"slips aside (y, x voxels) at section{'s' * (len(moved) > 1)} {listed}: {done}"]


def _named(flags: NDArray[np.bool_]) -> str:
    return f"section {_numbers(flags)} is" if _one(flags) else f"sections {_numbers(flags)} are"


def _one(flags: NDArray[np.bool_]) -> bool:
    return bool(np.count_nonzero(flags) == 1)


def _numbers(flags: NDArray[np.bool_]) -> str:
    """Runs of sections, e.g. ``3, 7-9``."""
    found = runs(flags.astype(np.bool_))
    return _some([str(b) if e == b + 1 else f"{b}-{e - 1}" for b, e in found])


def _some(parts: Sequence[str]) -> str:
    more = [f"and {len(parts) - LISTED} more"] if len(parts) > LISTED else []
    return ", ".join([*parts[:LISTED], *more])

"""Families of feature columns, and what each is worth to a forest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.forests import Learned, count_votes
from workflows.machine import available_cores

CLIP = 1e-3


def family_of(column: str) -> str:
    """Family of a column, which its name begins with.

    >>> family_of("boundary_gaussian_1.6/q90"), family_of("paths/cost")
    ('boundary', 'paths')
    """
    return column.split("/", maxsplit=1)[0].split("_", maxsplit=1)[0]


def columns_of(names: Sequence[str], families: Sequence[str] | None) -> list[int]:
    """Columns that belong to the families, in their order; all for None.

    Raises
    ------
    ConfigError
        If a family has no column.
    """
    known = [family_of(name) for name in names]
    for family in families or ():
        if family not in known:
            raise ConfigError(
                f"no feature belongs to the family {family!r}, only to "
                f"{', '.join(dict.fromkeys(known))}"
            )
    return [n for n, family in enumerate(known) if families is None or family in families]


def family_loss(
    learned: Learned, features: NDArray[np.float32], label: NDArray[np.uint8], seed: int
) -> dict[str, float]:
    """How much the out-of-bag log loss rises if the rows of a family's columns are shuffled.

    Breiman's permutation importance, for families: columns of one family resemble each other,
    so that shuffling one alone says little.

    Parameters
    ----------
    learned
        Forest and which rows its trees saw.
    features
        (n, f) float32 of those rows.
    label
        (n,) 1 = cut.
    seed
        Of the shuffling.

    Returns
    -------
    rise
        Family -> nats a row, in the order of the columns; 0 = of no use, may be below 0.
    """
    names = learned.forest.feature_names
    order = np.random.default_rng(seed).permutation(len(features))
    before = log_loss(learned.out_of_bag, label)
    result = {}
    for family in dict.fromkeys(map(family_of, names)):
        columns = columns_of(names, [family])
        shuffled = features.copy()
        shuffled[:, columns] = features[:, columns][order]
        votes, _ = count_votes(
            learned.forest, shuffled, names, threads=available_cores(), skip=learned.seen
        )
        result[family] = log_loss(votes, label) - before
    return result


def log_loss(p_cut: NDArray[Any], label: NDArray[Any]) -> float:
    """Mean of -log of the probability that was given to what is true, in nats.

    P(cut) is clipped to 0.001..0.999, as the costs of the multicut are.
    """
    p = np.clip(np.asarray(p_cut, np.float64), CLIP, 1 - CLIP)
    return float(-np.log(np.where(label, p, 1 - p)).mean())

"""Family: how two superpixels look, and how they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Table
from pipeline.errors import ConfigError
from pipeline.lifted.config import LiftedConfig

STATISTICS = ("difference", "min", "max", "sum")


def units(config: LiftedConfig) -> dict[str, str]:
    """Name -> unit of every column."""
    return {
        f"regions/{name}/{statistic}": "as of superpixels"
        for name in config.region_features
        for statistic in STATISTICS
    }


def values(
    pairs: NDArray[np.int64], nodes: Table, columns: Sequence[int]
) -> Iterator[NDArray[np.generic]]:
    """Columns of (k,), in the order of ``units``.

    Parameters
    ----------
    pairs
        (k, 2) nodes.
    nodes
        ``features`` float32 (n, f), read only where there are columns.
    columns
        Of the nodes' features.
    """
    for column in columns:
        of_u, of_v = (nodes["features"][side, column] for side in pairs.T)
        yield np.abs(of_u - of_v)
        yield np.minimum(of_u, of_v)
        yield np.maximum(of_u, of_v)
        yield of_u + of_v


def chosen_columns(names: Sequence[str], config: LiftedConfig) -> list[int]:
    """Columns of the nodes' features that the configuration names.

    Raises
    ------
    ConfigError
        If one does not exist.
    """
    missing = [name for name in config.region_features if name not in names]
    if missing:
        raise ConfigError(
            f"lifted.region_features {', '.join(missing)}: not among the nodes' features "
            f"({', '.join(names) or 'none'})"
        )
    return [list(names).index(name) for name in config.region_features]

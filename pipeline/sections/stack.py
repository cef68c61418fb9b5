"""The evidence of all sections, and what is usual in the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Parts, Resources
from pipeline.sections.config import FEWEST_BINS, Geometry, SectionsConfig
from pipeline.sections.evidence import EVIDENCE, HISTOGRAMS

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Stack:
    """Evidence, a row a section; see ``evidence.sum_sections`` for what is not told here.

    Parameters
    ----------
    bins
        Coarse bins of a section.
    alike, second, straight
        (Z, depths) correlation with the sections below: at the best shift, elsewhere, without
        a shift; NaN where there is none.
    fine_alike
        (Z,) that of voxels with the section below, without a shift; NaN where there is none.
    shift
        (Z, depths, 2) the best shift, in voxels; NaN where there is none.
    """

    bins: int
    quantiles: Floats
    mean: Floats
    tissue: Floats
    commonest: Floats
    saturated: Floats
    dark: Floats
    detail: Floats
    fine: Floats
    alike: Floats
    second: Floats
    straight: Floats
    fine_alike: Floats
    shift: Floats

    @classmethod
    def of(cls, sums: Parts, config: SectionsConfig, resources: Resources) -> Self:
        """From what the step ``sums`` kept."""
        geometry = Geometry.of(config, resources.volume)
        names = set(sums[0][EVIDENCE])
        columns = {n: np.concatenate([part[EVIDENCE][n] for part in sums]) for n in names}
        squares, fine = columns["squares"], columns["fine_squares"]
        below = np.stack([_below(squares, d) for d in range(1, geometry.depths + 1)], 1)
        norm = _root(squares[:, None] * below)
        shift = columns["shift"].reshape(*norm.shape, 2)
        own = cls.__dataclass_fields__.keys() & columns.keys() - {"second", "straight", "shift"}
        return cls(
            **{name: columns[name] for name in own},
            bins=geometry.bins(resources.volume),
            alike=columns["height"] / norm,
            second=columns["second"] / norm,
            straight=columns["straight"] / norm,
            fine_alike=columns["fine_product"] / _root(fine * _below(fine, 1)),
            shift=np.where(np.isnan(norm)[..., None], np.nan, shift),
        )

    @property
    def depth(self) -> int:
        """Sections."""
        return len(self.mean)

    @property
    def comparable(self) -> bool:
        """Whether sections are large enough to tell defects from tissue."""
        return self.bins >= FEWEST_BINS

    @property
    def chance(self) -> float:
        """Correlation that unrelated sections reach at some shift."""
        return 4 * float(np.sqrt(2 / max(self.bins, 1)))


def pooled(sums: Parts, column: str, chosen: Flags) -> NDArray[np.int64]:
    """(levels,) voxels per level of some sections; the tables are read one after the other."""
    total = np.zeros(1, np.int64)
    begin = 0
    for part in sums:
        counts = part[HISTOGRAMS][column]
        total = total + counts[chosen[begin : begin + len(counts)]].sum(0)
        begin += len(counts)
    return total


def around(values: Floats, reach: int) -> Floats:
    """Median over ``reach`` sections on each side and the section itself; NaN are left out."""
    padded = np.pad(values, reach, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    return median(windows)


def median(values: Floats) -> Floats:
    """Median over the last axis of what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(values).all(-1)
    found = np.full(values.shape[:-1], np.nan)
    found[known] = np.nanmedian(values[known], axis=-1)
    return found


def _below(values: NDArray[Any], depth: int) -> Floats:
    """Of the section ``depth`` below each; NaN where there is none."""
    found = np.full(len(values), np.nan)
    found[depth:] = values[: max(len(values) - depth, 0)]
    return found


def _root(products: Floats) -> Floats:
    """Square root; NaN instead of 0."""
    root = np.sqrt(products)
    return np.where(root > 0, root, np.nan)

"""Evidence of whole sections: what the blocks measured, added up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import BLOCKS, KEY, Inputs, Outputs, Parts, Resources, Table
from pipeline.sections.config import Geometry, SectionsConfig
from pipeline.sections.correlation import DETAIL, peak_of
from pipeline.sections.greys import Greys
from pipeline.sections.measuring import DTYPES, MEASURES

SUMS = "sums"
"""Name of the step."""
EVIDENCE, HISTOGRAMS = "evidence", "histograms"
"""Tables that it keeps, a row a section each."""
COUNTS, TISSUE = "counts", "tissue"
"""Columns of the histograms."""
GROUP = 32
"""Sections of one task."""
SHARES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
"""Quantiles of the grey values of a section's tissue."""
MEDIAN, QUARTERS = SHARES.index(0.5), (SHARES.index(0.25), SHARES.index(0.75))
PADDING, IN_SQUARES = 0.01, 0.7
"""Shares of a section's voxels, and of those of the grey value, that lie in squares of one grey
value, from which on it is padding."""
FINE_UNIT = 9
"""Of ``loops.fine_detail``, in grey steps."""


def groups(inputs: Inputs, config: SectionsConfig, resources: Resources) -> int:
    """Number of tasks of the step."""
    return -(-resources.volume.shape[0] // GROUP)


def sum_sections(
    task: int, inputs: Inputs, config: SectionsConfig, resources: Resources
) -> Outputs:
    """Evidence of some sections.

    Returns
    -------
    outputs
        ``histograms``: ``key``, the section; ``counts`` and ``tissue`` (n, levels), its voxels
        per level, in all and without padding.
        ``evidence``: ``key``;
        ``quantiles`` (n, 7) grey values of tissue, which is all but padding, NaN where there is
        none; ``mean`` grey value; shares of the voxels: ``tissue``,
        ``commonest`` grey value, ``saturated`` (of the section's darkest or brightest one);
        ``dark``, share of dark ridges among all ridges, NaN where there are none;
        ``detail`` and ``fine``, root mean squares in grey steps over coarse bins and voxels;
        ``squares``, ``fine_squares``, ``fine_product`` as measured; and for every depth
        below ``height``, ``second``, ``straight`` and, (n, depths * 2), ``shift`` (``Peak``).
    """
    geometry = Geometry.of(config, resources.volume)
    greys = Greys.of(inputs["intensity"], resources.volume.dtype)
    begin = task * GROUP
    end = min(begin + GROUP, resources.volume.shape[0])
    sums = _summed(inputs.parts(BLOCKS), begin, end)
    sums["tissue"] = _tissue(sums["counts"], sums["constant"])
    key = np.arange(begin, end, dtype=np.uint64)
    evidence: Table = {KEY: key, **_of_greys(sums, greys), **_of_bins(sums, geometry, resources)}
    return {
        EVIDENCE: {**evidence, **_peaks(sums["products"], geometry)},
        HISTOGRAMS: {
            KEY: key,
            COUNTS: sums["counts"],
            TISSUE: sums["tissue"],
        },
    }


def _summed(parts: Parts, begin: int, end: int) -> Table:
    """Columns of ``measures`` of sections ``begin .. end - 1``, over all blocks."""
    sums: Table = {}
    for rows, first, last in parts.between(MEASURES, begin, end):
        sections = rows.read(KEY, first, last).astype(np.int64) - begin
        for name in DTYPES:
            found = rows.read(name, first, last)
            if name not in sums:
                sums[name] = np.zeros((end - begin, *found.shape[1:]), np.int64)
            np.add.at(sums[name], sections, found)
    return sums


def _tissue(counts: NDArray[np.int64], constant: NDArray[np.int64]) -> NDArray[np.int64]:
    """Voxels per level without padding: grey values that mostly lie in squares of their own.

    Those of a clipped section lie scattered, and stay.
    """
    voxels = counts.sum(1, keepdims=True)
    padding = constant > np.maximum(PADDING * voxels, IN_SQUARES * counts)
    return np.where(padding, 0, counts)


def _of_greys(sums: Table, greys: Greys) -> Table:
    """Quantiles, mean, and shares of voxels."""
    counts, tissue = sums["counts"], sums["tissue"]
    voxels = counts.sum(1)
    used = counts > 0
    rows = np.arange(len(counts))
    darkest = counts[rows, used.argmax(1)]
    brightest = counts[rows, counts.shape[1] - 1 - used[:, ::-1].argmax(1)]
    return {
        "quantiles": quantiles(tissue, greys.value),
        "mean": (counts @ greys.value) / voxels,
        "tissue": tissue.sum(1) / voxels,
        "commonest": counts.max(1) / voxels,
        "saturated": np.maximum(darkest, brightest) / voxels,
    }


def quantiles(counts: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grey values at ``SHARES`` of histograms.

    Parameters
    ----------
    counts
        (n, levels).
    values
        (levels,) ascending.

    Returns
    -------
    quantiles
        (n, 7); NaN where a histogram is empty.
    """
    found = np.full((len(counts), len(SHARES)), np.nan)
    for row in np.flatnonzero(counts.any(1)):
        cumulative = counts[row].cumsum()
        found[row] = values[np.searchsorted(cumulative, np.array(SHARES) * cumulative[-1])]
    return found


def _of_bins(sums: Table, geometry: Geometry, resources: Resources) -> Table:
    """Detail and ridges; the sums that correlations are divided by."""
    _, height, width = resources.volume.shape
    bins = max(geometry.bins(resources.volume), 1)
    voxels = max((height - 2) * (width - 2), 1)
    every = sums["dark"] + sums["bright"]
    dark = np.full(len(every), np.nan)
    np.divide(sums["dark"], every, out=dark, where=every > 0)
    return {
        "detail": np.sqrt(sums["detail"] / bins) / DETAIL,
        "fine": np.sqrt(sums["fine_squares"] / voxels) / FINE_UNIT,
        "dark": dark,
        **{name: sums[name] for name in ("squares", "fine_squares", "fine_product")},
    }


def _peaks(products: NDArray[np.int64], geometry: Geometry) -> Table:
    surfaces = products.reshape(len(products), geometry.depths, *geometry.shifts)
    peaks = [[peak_of(one, geometry.coarse) for one in section] for section in surfaces]
    found: dict[str, Any] = {
        name: np.array([[getattr(peak, name) for peak in row] for row in peaks])
        for name in ("height", "second", "straight")
    }
    shifts = np.array([[peak.shift for peak in row] for row in peaks])
    return {**found, "shift": shifts.reshape(len(products), -1)}

"""What the blocks measure of every section: integers that add up to those of the section."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import KEY, Block, Inputs, Outputs, Resources, Table
from pipeline.sections.config import SQUARE, Geometry, SectionsConfig
from pipeline.sections.correlation import Spectra, local_contrast
from pipeline.sections.footprint import Footprint, Span
from pipeline.sections.greys import Greys
from pipeline.sections.loops import (
    bin_sums,
    constant_bins,
    constant_squares,
    fine_detail,
    product,
)
from pipeline.sections.ridges import REACH, ridges

MEASURES = "measures"
"""The kept table: a row for every section of a block."""
DTYPES: Mapping[str, type[np.generic]] = {
    "counts": np.uint32,
    "constant": np.uint32,
    "detail": np.int64,
    "squares": np.int64,
    "dark": np.int64,
    "bright": np.int64,
    "fine_squares": np.int64,
    "fine_product": np.int64,
    "products": np.int32,
}
"""Its columns beside the key. A product of two bins has 8 bits, so 32 bits hold those of the 8
million coarse bins of a section of some 500 million voxels in one block."""


FEWEST_VOXELS = 4
"""Of a bin that can be padding."""

Sums = dict[str, NDArray[np.integer] | np.int64]
"""One row of it."""


@dataclass(frozen=True, eq=False)
class Section:
    """What is kept of a section to compare the next ones with.

    Parameters
    ----------
    spectra
        Of its coarse bins.
    fine
        Of the block's own voxels, see ``loops.fine_detail``.
    """

    spectra: Spectra
    fine: NDArray[np.int16]


def measure_sections(
    block: Block, inputs: Inputs, config: SectionsConfig, resources: Resources
) -> Outputs:
    """Sums over the voxels and bins of a block, section by section.

    Reads ``raw`` (Z, Y, X) over ``block.read`` and the table ``intensity``.

    Returns
    -------
    outputs
        ``measures``: ``key``, the section; ``counts`` and ``constant`` (n, levels), voxels per
        level, in all and in squares of one grey value; ``detail`` and ``squares``, sums of
        squares over coarse bins; ``dark`` and ``bright`` ridges; ``fine_squares`` and
        ``fine_product`` over voxels, the latter with the section below; ``products``
        (n, depths * shifts), those of coarse bins with the sections below.
    """
    volume = resources.volume
    greys = Greys.of(inputs["intensity"], volume.dtype)
    geometry, footprint = Geometry.of(config, volume), Footprint.of(block)
    raw, first = inputs["raw"], block.read.begin[0]
    below: deque[Section] = deque(maxlen=geometry.depths)
    rows: list[Sums] = []
    for z in range(first, block.write.end[0]):
        bins = Greys.bins(raw[z - first])
        grey = greys.step[bins]
        section, sums = _compressed(bins, grey, geometry, footprint)
        if z >= block.write.begin[0]:
            sums |= _histograms(bins, greys, footprint)
            sums |= _ridge_sums(bins, grey, geometry, footprint)
            rows.append(sums | _compared(section, below, geometry))
        below.appendleft(section)
    table: Table = {n: np.array([row[n] for row in rows], d) for n, d in DTYPES.items()}
    table[KEY] = np.arange(block.write.begin[0], block.write.end[0], dtype=np.uint64)
    return {MEASURES: table}


def _compressed(
    bins: NDArray[np.uint16], grey: NDArray[np.int32], geometry: Geometry, footprint: Footprint
) -> tuple[Section, Sums]:
    """A section for comparisons, and sums of its own."""
    height, width = geometry.coarse
    sums = bin_sums(footprint.bins(grey, geometry.coarse), height, width)
    constant = constant_bins(footprint.bins(bins, geometry.coarse), height, width)
    contrast, detail = local_contrast(sums, constant, height * width)
    around = footprint.around(contrast, geometry.coarse, geometry.radius, padded=True)
    own, own_detail = (
        footprint.around(part, geometry.coarse, (0, 0), padded=False).astype(np.int64)
        for part in (contrast, detail)
    )
    fine = fine_detail(footprint.part(grey, Span.inner))
    return Section(Spectra.of(around, geometry.radius), fine), {
        "detail": np.sum(own_detail**2),
        "squares": np.sum(own**2),
        "fine_squares": product(fine, fine),
    }


def _histograms(bins: NDArray[np.uint16], greys: Greys, footprint: Footprint) -> Sums:
    """Voxels per level: of the block, and in constant squares of which the first voxel is its."""
    levels = len(greys.first)
    own = greys.level[bins[footprint.y.voxels, footprint.x.voxels]]
    squares = footprint.part(bins, lambda span: span.squares(SQUARE))
    return {
        "counts": np.bincount(own.ravel(), minlength=levels),
        "constant": constant_squares(squares, greys.level, SQUARE, levels),
    }


def _ridge_sums(
    bins: NDArray[np.uint16], grey: NDArray[np.int32], geometry: Geometry, footprint: Footprint
) -> Sums:
    size, reach = geometry.ridge, (REACH, REACH)
    sums = bin_sums(footprint.bins(grey, size), *size)
    constant = np.zeros_like(sums)
    if size[0] * size[1] >= FEWEST_VOXELS:
        constant = constant_bins(footprint.bins(bins, size), *size)
    dark, bright = ridges(
        footprint.around(sums, size, reach, padded=False),
        footprint.around(constant, size, reach, padded=False),
        size[0] * size[1],
    )
    return {"dark": np.sum(dark), "bright": np.sum(bright)}


def _compared(section: Section, below: Sequence[Section], geometry: Geometry) -> Sums:
    """Products with the sections below; 0 where there is none."""
    products = np.zeros((geometry.depths, *geometry.shifts), np.int32)
    for depth, lower in enumerate(below):
        products[depth] = section.spectra.over(lower.spectra, geometry.radius)
    fine = product(section.fine, below[0].fine) if below else np.int64(0)
    return {"fine_product": fine, "products": products.ravel()}

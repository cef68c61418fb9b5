"""Tissue and background of one block: the user's mask volume, less the padding.

1. Background where the mask volume is 0, if the run has one.
2. Background where the raw data are padding: squares of one grey value in a section. A section
   that is bridged has the padding of that in its place. In an empty section that is not bridged
   any grey value is padding: without tissue it would join all neurons that it touches.
3. Blocks without tissue are listed in the table ``background``: no later stage computes them.
   The list is about work only. It differs between stores with other blocks; results do not,
   because every later stage gives 0 wherever there is no tissue.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from pipeline.contract import (
    BLOCKS,
    KEY,
    ArraySpec,
    Block,
    Halo,
    Inputs,
    Outputs,
    Resources,
    Stage,
    StageConfig,
    Step,
    TableSpec,
    VolumeInfo,
)
from pipeline.corrections import Corrections
from pipeline.foreground.padding import frequent_values, section_padding
from pipeline.tables import row_range

BACKGROUND = "background"
EMPTY = 1
"""Column ``state`` of the table ``sections`` where a section is empty."""


class ForegroundConfig(StageConfig):
    """Which voxels are tissue; ``run --mask`` takes more away."""

    padding: Literal["squares", "none"] = Field(
        "squares",
        description="squares: a square of one padding value within a section is background; "
        "none: grey values make no background.",
    )
    padding_values: Literal["auto"] | tuple[FiniteFloat, ...] = Field(
        "auto",
        description="Grey values, as in the raw data, that fill what was not imaged (auto: 0 and "
        "the highest that the data type holds; of float32 0, the volume's lowest and highest).",
    )
    padding_width_voxels: int = Field(
        32,
        ge=1,
        le=1024,
        description="Edge of the square, in voxels; black or white tissue that is smaller stays "
        "tissue.",
    )

    def resolved(self, volume: VolumeInfo) -> Self:
        """The padding of integers decided by their type; that of floats is in their grey values."""
        if self.padding_values != "auto" or np.dtype(volume.dtype).kind == "f":
            return self
        return self.model_copy(update={"padding_values": (0.0, float(np.iinfo(volume.dtype).max))})

    @property
    def looks_for_padding(self) -> bool:
        """Whether the raw data are looked at."""
        return self.padding == "squares" and self.padding_values != ()


def halo(config: ForegroundConfig, resources: Resources) -> Halo:
    """All squares that hold a voxel of the block, and sections in the place of others."""
    if not config.looks_for_padding:
        return Halo()
    reach, corrections = config.padding_width_voxels - 1, resources.corrections
    return Halo.symmetric(corrections.reach if corrections else 0, reach, reach)


def compute(
    block: Block, inputs: Inputs, config: ForegroundConfig, resources: Resources
) -> Outputs:
    """Foreground of ``block.write``: ``foreground`` uint8, 1 = tissue, 0 = background.

    Reads ``raw`` and, if the run has one, ``mask`` ((Z, Y, X), 0 = background) over
    ``block.read``, and the tables ``intensity`` and ``sections``. Keeps ``background``: a row
    with the flat index in the volume of the block's first voxel, if it has no tissue.
    """
    mask = inputs.get("mask")
    tissue = np.ones(block.write.shape, np.bool_) if mask is None else mask[block.inner] != 0
    if config.looks_for_padding and tissue.any():
        depth, rows, columns = block.inner
        assert resources.corrections is not None
        raw = resources.corrections.bridged(inputs["raw"], block.read.begin[0])[depth]
        values, width = _padding_values(inputs, config), config.padding_width_voxels
        empty_sections = _empty_sections(block, inputs, resources.corrections)

        def unpadded(z: int) -> None:
            here = frequent_values(raw[z], width) if empty_sections[z] else values
            found = section_padding(raw[z], here, width)
            tissue[z] &= ~found[rows, columns]

        with ThreadPoolExecutor(resources.threads) as pool:
            list(pool.map(unpadded, range(len(raw))))
    first = np.ravel_multi_index(block.write.begin, block.volume_shape)
    empty = np.full(0 if tissue.any() else 1, first, np.uint64)
    return {"foreground": tissue.astype(np.uint8), BACKGROUND: {KEY: empty}}


def _padding_values(inputs: Inputs, config: ForegroundConfig) -> Sequence[float]:
    """Each once, for a second search finds nothing."""
    if config.padding_values != "auto":
        return config.padding_values
    extremes = (float(inputs["intensity"][name][0]) for name in ("least", "greatest"))
    return sorted({0.0, *extremes})


def _empty_sections(block: Block, inputs: Inputs, corrections: Corrections) -> NDArray[np.bool_]:
    """Whether sections of ``block.write`` are empty, and nothing stands in their place.

    None are where the table holds corrections alone, as one that is given may.
    """
    begin, end = block.write.begin[0], block.write.end[0]
    if "state" not in inputs["sections"]:
        return np.zeros(end - begin, np.bool_)
    itself = corrections.source[begin:end] == np.arange(begin, end)
    found: NDArray[np.bool_] = (inputs["sections"].read("state", begin, end) == EMPTY) & itself
    return found


def count_background(inputs: Inputs, config: ForegroundConfig, resources: Resources) -> int:
    """Number of blocks without tissue.

    Where no block has any, none counts as background: a pass over blocks has at least one.
    """
    counts = inputs.parts(BLOCKS).counts(BACKGROUND)
    return 0 if counts.all() else int(counts.sum())


def list_background(
    task: int, inputs: Inputs, config: ForegroundConfig, resources: Resources
) -> Outputs:
    """Blocks without tissue, in their order.

    Returns
    -------
    outputs
        ``background``: ``first_voxel`` (b,) uint64, flat index in the volume of the first voxel
        of every write block that is background.
    """
    parts = inputs.parts(BLOCKS)
    begin, end = row_range(task, count_background(inputs, config, resources))
    first = parts.keys(BACKGROUND)[parts.counts(BACKGROUND) > 0, 0]
    return {BACKGROUND: {"first_voxel": first[begin:end]}}


STAGE = Stage(
    name="foreground",
    version=3,
    config=ForegroundConfig,
    reads=("raw", "mask", "intensity", "sections"),
    arrays=(ArraySpec("foreground", "uint8", "labels"),),
    compute=compute,
    halo=halo,
    after=(
        Step(
            name="background",
            compute=list_background,
            rows=count_background,
            writes=(TableSpec(BACKGROUND, {"first_voxel": "uint64"}),),
        ),
    ),
)

"""Tissue and background of one block: the user's mask volume, less the padding.

1. Background where the mask volume is 0, if the run has one.
2. Background where the raw data are padding: squares of one grey value in a section.
3. Blocks without tissue are listed in the table ``background``: no later stage computes them.
   The list is about work only. It differs between stores with other blocks; results do not,
   because every later stage gives 0 wherever there is no tissue.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
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
)
from pipeline.foreground.padding import section_padding
from pipeline.tables import row_range

BACKGROUND = "background"


class ForegroundConfig(StageConfig):
    """Which voxels are tissue; ``run --mask`` takes more away."""

    padding: Literal["squares", "none"] = Field(
        "squares",
        description="squares: a square of one padding value within a section is background; "
        "none: grey values make no background.",
    )
    padding_values: tuple[FiniteFloat, ...] = Field(
        (0.0,), description="Grey values, as in the raw data, that fill what was not imaged."
    )
    padding_width_voxels: int = Field(
        32,
        ge=1,
        le=1024,
        description="Edge of the square, in voxels; black tissue that is smaller stays tissue.",
    )

    @property
    def looks_for_padding(self) -> bool:
        """Whether the raw data are looked at."""
        return self.padding == "squares" and len(self.padding_values) > 0


def halo(config: ForegroundConfig, resources: Resources) -> Halo:
    """All squares that hold a voxel of the block."""
    reach = config.padding_width_voxels - 1 if config.looks_for_padding else 0
    return Halo.symmetric(0, reach, reach)


def compute(
    block: Block, inputs: Inputs, config: ForegroundConfig, resources: Resources
) -> Outputs:
    """Foreground of ``block.write``: ``foreground`` uint8, 1 = tissue, 0 = background.

    Reads ``raw`` and, if the run has one, ``mask`` ((Z, Y, X), 0 = background) over
    ``block.read``. Keeps ``background``: a row with the flat index in the volume of the
    block's first voxel, if it has no tissue.
    """
    mask = inputs.get("mask")
    tissue = np.ones(block.write.shape, np.bool_) if mask is None else mask[block.inner] != 0
    if config.looks_for_padding and tissue.any():
        depth, rows, columns = block.inner
        raw = inputs["raw"][depth]

        def unpadded(z: int) -> None:
            found = section_padding(raw[z], config.padding_values, config.padding_width_voxels)
            tissue[z] &= ~found[rows, columns]

        with ThreadPoolExecutor(resources.threads) as pool:
            list(pool.map(unpadded, range(len(raw))))
    first = np.ravel_multi_index(block.write.begin, block.volume_shape)
    empty = np.full(0 if tissue.any() else 1, first, np.uint64)
    return {"foreground": tissue.astype(np.uint8), BACKGROUND: {KEY: empty}}


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
    version=2,
    config=ForegroundConfig,
    reads=("raw", "mask"),
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

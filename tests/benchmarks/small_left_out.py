"""A training on two painted volumes, small enough for networks to be left out in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from small_pipeline import paint_tissue

TISSUE = paint_tissue((6, 64, 64), cells=15, z_step=5)
CONFIG = """\
name: all
licence: none
training:
  {steps: 3, batch: 2, crop: 32, network: {stem: 8, widths: [8, 16], units: [1, 1, 1, 1, 1, 1]}}
volumes:
  - {name: one, raw: one.tif, truth: ids.tif, truth_kind: labels, sections: [0, 3],
     voxel_size_nm: [40, 8, 8]}
  - {name: two, raw: two.tif, truth: cells.tif, truth_kind: cells, sections: [3, 6],
     voxel_size_nm: [40, 8, 8]}
"""


def two_volumes(folder: Path) -> Path:
    """The folder with the volumes ``one``, which has ids, and ``two``, and ``all.yaml``."""
    tifffile.imwrite(folder / "one.tif", TISSUE.raw)
    tifffile.imwrite(folder / "two.tif", TISSUE.raw)
    tifffile.imwrite(folder / "ids.tif", TISSUE.cells.astype(np.uint16))
    inside = TISSUE.cells == np.roll(TISSUE.cells, 2, axis=2)
    tifffile.imwrite(folder / "cells.tif", inside.astype(np.uint8) * 255)
    (folder / "all.yaml").write_text(CONFIG)
    return folder

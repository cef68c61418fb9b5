"""PNG files that appear whole or not at all, drawn without matplotlib's global state."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

DOTS_PER_INCH = 150


def save_picture(path: Path, picture: NDArray[np.uint8]) -> Path:
    """Write (Y, X, 3) uint8 as a PNG of X by Y pixels; returns ``path``."""
    return _replace(path, lambda target: imsave(target, picture, format="png"))


def save_figure(path: Path, figure: Figure) -> Path:
    """Write a figure as a PNG; returns ``path``."""
    canvas = FigureCanvasAgg(figure)
    return _replace(
        path, lambda target: canvas.print_figure(target, format="png", dpi=DOTS_PER_INCH)
    )


def _replace(path: Path, write: Callable[[Any], object]) -> Path:
    """Write beside ``path``, then rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".png")
    try:
        with os.fdopen(handle, "wb") as target:
            write(target)
        # mkstemp makes files private; pictures are to be looked at.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path

"""How fast this machine is: a small piece of the volume is reconstructed in a temporary folder.

The same stages run on it with the same parameters, but that the network predicts one of its 8
orientations. A first, smaller piece compiles and loads what the second should not wait for.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.contract import Box, Triple
from pipeline.errors import InputError, PipelineError
from workflows.cluster import Workplace
from workflows.estimates import Pace, Work, measured
from workflows.prepare import Run, prepare
from workflows.reconstruct import reconstruct

FLAT_PIECE: Triple = (4, 256, 256)
CUBIC_PIECE: Triple = (48, 64, 64)
WARM_UP = 4
"""The first piece is so many times shorter along y and x."""
PLACES = (0.5, 0.3, 0.7)
"""Along the diagonal; the first is the middle, the others are tried where that is empty."""


@dataclass(frozen=True)
class _Share(Workplace):
    """The calling process, with the threads that one of several workers would have."""

    share: int = 1

    def task_threads(self, tasks: int, *, on_device: bool = False) -> int:
        """The same whatever there is to do."""
        return self.share


def calibrate(run: Run, work: Work, threads: int) -> Pace:
    """Pace of all stages.

    Parameters
    ----------
    run
        What is to be reconstructed; its output is not touched.
    work
        Of the run.
    threads
        That a worker would use.

    Raises
    ------
    InputError
        If no piece that is tried can be reconstructed; says why the last could not.
    """
    size = FLAT_PIECE if work.memory.tile[0] == 1 else CUBIC_PIECE
    problem: PipelineError | None = None
    for box in _boxes(run.volume.shape, size):
        try:
            with TemporaryDirectory(prefix="calibration-") as folder, redirect_stderr(_Nowhere()):
                z, y, x = box.begin
                depth, height, width = box.shape
                warm = (z + depth, y + max(1, height // WARM_UP), x + max(1, width // WARM_UP))
                _reconstructed(run, Box(box.begin, warm), Path(folder) / "a.zarr", threads)
                piece = _reconstructed(run, box, Path(folder) / "b.zarr", threads)
                return measured(piece, Work.of(piece), _described(box))
        except PipelineError as error:
            problem = error
    raise InputError(f"no piece of the volume could be tried: {problem}")


class _Nowhere(io.StringIO):
    """Takes the messages of the runs on pieces."""


def _reconstructed(run: Run, box: Box, output: Path, threads: int) -> Run:
    boundaries: Any = run.config.section("boundaries")
    once = boundaries.model_copy(update={"augmentation": "none"})
    all_good = run.config.section("sections").model_copy(update={"bad": ()})
    offset = run.source.roi.begin if run.source.roi else (0, 0, 0)
    region = Box(_moved(box.begin, offset), _moved(box.end, offset))
    piece = prepare(
        replace(run.source, roi=region, mask=None, finest=None),
        run.config.model_copy(update={"boundaries": once, "sections": all_good}),
        output,
        device=run.device,
    )
    reconstruct(piece, _Share(share=threads))
    return piece


def _boxes(shape: Triple, size: Triple) -> Iterator[Box]:
    """The middle of the volume, then other places."""
    for place in PLACES:
        begin = [int(max(0, n - side) * place) for n, side in zip(shape, size, strict=True)]
        end = [min(b + side, n) for b, side, n in zip(begin, size, shape, strict=True)]
        yield Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))


def _described(box: Box) -> str:
    return f"a piece of {' x '.join(map(str, box.shape))} voxels"


def _moved(place: Triple, by: Triple) -> Triple:
    z, y, x = (p + b for p, b in zip(place, by, strict=True))
    return z, y, x

"""Ground truth for an output: of its own grid, or of the input's finest one; read by boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.registry import stage
from pipeline.store import InputGrid, Output, StoredVolume, is_output, stored_labels
from pipeline.store.volume import shifted

NEURONS = stage("labels").arrays[0]


@dataclass(frozen=True)
class Truth:
    """Labels on disk, or a region of them.

    Parameters
    ----------
    stored
        All that the file holds.
    shape
        zyx, of what is read here.
    begin
        Voxel of ``stored`` at which it begins.
    finest
        Where ``stored`` lies on the input's finest grid, but a coarser one is read: that grid.
    """

    stored: StoredVolume
    shape: Triple
    begin: Triple = (0, 0, 0)
    finest: InputGrid | None = None

    def read(self, box: Box) -> NDArray[Any]:
        """(Z, Y, X) labels of a box; of a finer grid the nearest voxels.

        Raises
        ------
        PipelineError
            If they are damaged.
        """
        if self.finest is None:
            return self.stored.read(shifted(box, self.begin))
        fine, index = self.finest.around(box)
        return self.stored.read(shifted(fine, self.begin))[index]


def open_truth(
    truth: Path, shape: Triple, region: Box | None, finest: InputGrid | None = None
) -> Truth:
    """Labels of a volume, or of the uncut volume that it is a region of.

    Parameters
    ----------
    truth
        Output store, array inside a store, or TIFF.
    shape
        Of the volume, zyx.
    region
        Of the uncut volume.
    finest
        Grid on which the labels may lie instead, cut or uncut.

    Returns
    -------
    labels
        Of ``shape``, or of that of ``finest``.

    Raises
    ------
    InputError
        If the labels fit none.
    """
    labels = stored_labels(truth)
    if labels.shape == shape or (finest and labels.shape == finest.shape):
        return Truth(labels, labels.shape)
    if finest and labels.shape == finest.whole:
        return Truth(labels, finest.shape, finest.begin)
    or_finest = f" or, on the input's finest grid, {finest.shape}" if finest else ""
    if region is None:
        raise InputError(f"{truth}: shape {labels.shape} is not the volume's {shape}{or_finest}")
    held = all(end <= n for end, n in zip(region.end, labels.shape, strict=True))
    if region.shape != shape or not held:
        raise InputError(
            f"{truth}: shape {labels.shape} is neither that of the region, {shape}{or_finest}, nor "
            "that of a volume that holds it"
        )
    return Truth(labels, shape, region.begin)


def truth_on_volume(
    truth: Path, shape: Triple, region: Box | None, finest: InputGrid | None
) -> Truth:
    """As ``open_truth``, but of ``shape``: of a finer grid the nearest voxels are taken."""
    labels = open_truth(truth, shape, region, finest)
    if finest is None or labels.shape == shape:
        return labels
    return replace(labels, shape=shape, finest=finest)


def input_grid_of(prediction: Path) -> InputGrid | None:
    """The input's finest grid, if a prediction is an output of ours with labels on it."""
    if not is_output(prediction):
        return None
    output = Output.open(prediction)
    found = output.attributes.get("input", {}).get("finest")
    return InputGrid.of_json(found) if found and output.has_array(NEURONS.at_input) else None


def labels_to_score(prediction: Path, grid: InputGrid | None, shape: Triple) -> StoredVolume:
    """Labels of a prediction; those on the input's finest grid if truth of ``shape`` lies there.

    Raises
    ------
    PipelineError
        If they cannot be read.
    """
    if grid is None or shape != grid.shape or shape == Output.open(prediction).shape:
        return stored_labels(prediction)
    labels = Output.open(prediction).input_labels(NEURONS.at_input, NEURONS.name, grid)
    labels.check()
    return StoredVolume(
        prediction,
        grid.shape,
        labels.dtype,
        labels.chunk,
        grid.voxel_size_nm,
        labels.read,
        labels.add_stamps,
    )

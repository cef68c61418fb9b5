"""Ground truth for an output: of its own grid, or of the input's finest one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.registry import stage
from pipeline.store import InputGrid, LabelVolume, Output, is_output, open_labels, read_labels

NEURONS = stage("labels").arrays[0]


def read_truth(
    truth: Path, shape: Triple, region: Box | None, finest: InputGrid | None = None
) -> NDArray[Any]:
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
    labels = read_labels(truth)
    if labels.shape == shape or (finest and labels.shape == finest.shape):
        return labels
    if finest and labels.shape == finest.whole:
        return labels[finest.region.slices]
    or_finest = f" or, on the input's finest grid, {finest.shape}" if finest else ""
    if region is None:
        raise InputError(f"{truth}: shape {labels.shape} is not the volume's {shape}{or_finest}")
    cut = labels[region.slices]
    if cut.shape != shape:
        raise InputError(
            f"{truth}: shape {labels.shape} is neither that of the region, {shape}{or_finest}, nor "
            "that of a volume that holds it"
        )
    return cut


def truth_on_volume(
    truth: Path, shape: Triple, region: Box | None, finest: InputGrid | None
) -> NDArray[Any]:
    """As ``read_truth``, but of ``shape``: of a finer grid the nearest voxels are taken."""
    labels = read_truth(truth, shape, region, finest)
    if finest is None or labels.shape == shape:
        return labels
    fine, index = finest.around(Box((0, 0, 0), shape))
    return labels[fine.slices][index]


def input_grid_of(prediction: Path) -> InputGrid | None:
    """The input's finest grid, if a prediction is an output of ours with labels on it."""
    if not is_output(prediction):
        return None
    output = Output.open(prediction)
    found = output.attributes.get("input", {}).get("finest")
    return InputGrid.of_json(found) if found and output.has_array(NEURONS.at_input) else None


def labels_to_score(prediction: Path, grid: InputGrid | None, shape: Triple) -> LabelVolume:
    """Labels of a prediction; those on the input's finest grid if truth of ``shape`` lies there.

    Raises
    ------
    PipelineError
        If they cannot be read.
    """
    if grid is None or shape != grid.shape or shape == Output.open(prediction).shape:
        return open_labels(prediction)
    labels = Output.open(prediction).input_labels(NEURONS.at_input, NEURONS.name, grid)
    return LabelVolume(labels.read(), grid.voxel_size_nm)

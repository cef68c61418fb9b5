"""What people look at after a run: pictures and scores; and synthetic stacks to try."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.families import evaluate_families, evaluate_families_of_map
from pipeline.evaluation.isbi import TruthKind
from pipeline.evaluation.markdown import as_markdown, families_as_markdown
from pipeline.evaluation.regions import scored_voxels
from pipeline.evaluation.scores import as_json, evaluate_labels, evaluate_map
from pipeline.store import InputGrid, LabelVolume, Output, open_labels, read_map
from pipeline.store.importers import import_volume
from pipeline.views.pictures import save_pictures
from workflows.prepare import Run
from workflows.score_options import (
    ScoreOptions,
    chosen_families,
    id_numbers,
    score_skeletons,
    with_families,
)
from workflows.truth import input_grid_of, labels_to_score, read_truth, truth_on_volume

LARGEST_3D = 1 << 27
"""Voxels of the pyramid level that the 3D picture is made of, at most."""


def draw_pictures(run: Run, truth: Path | None = None) -> Path:
    """PNGs of the middle section, of a cut across the sections, and of neurons in 3D.

    Parameters
    ----------
    run
        A finished reconstruction.
    truth
        Labels to show beside, of the same shape as the volume, of the uncut one, or of the
        input's finest grid.

    Returns
    -------
    folder
        ``<output without .zarr>.pictures``.
    """
    true = None
    if truth is not None:
        true = truth_on_volume(truth, run.volume.shape, run.source.roi, run.source.finest)
    depth, height, width = run.volume.shape
    z, y = depth // 2, height // 2
    section = Box((z, 0, 0), (z + 1, height, width))
    cut = Box((0, y, 0), (depth, y + 1, width))
    planes = {}
    for name, box in (("section", section), ("cut", cut)):
        planes[name] = {"raw": run.volume.read(box).reshape(_plane(box.shape))}
        for array in ("boundaries", "superpixels", "neurons"):
            planes[name][array] = run.output.read(array, box).reshape(_plane(box.shape))
        if true is not None:
            planes[name]["truth"] = true[box.slices].reshape(_plane(box.shape))
    folder = run.output.path.with_name(f"{run.output.path.name.removesuffix('.zarr')}.pictures")
    neurons = None
    if depth * height * width <= LARGEST_3D:
        neurons = run.output.read("neurons", Box((0, 0, 0), run.volume.shape))
    save_pictures(
        folder,
        section=planes["section"],
        z=z,
        voxel_size_nm=run.volume.voxel_size_nm,
        cut=planes["cut"] if depth > 1 else None,
        neurons=neurons,
    )
    return folder


def _plane(shape: Triple) -> tuple[int, int]:
    z, y, x = shape
    return (y, x) if z == 1 else (z, x)


def print_scores(
    prediction: Path,
    truth: Path,
    json_file: Path | None = None,
    sections: str | None = None,
    truth_kind: Literal["auto", "labels", "mask"] = "auto",
    score_map: bool = False,
    region: Box | None = None,
    options: ScoreOptions | None = None,
) -> None:
    """Print the scores as a table; on request write all of them as JSON.

    Parameters
    ----------
    prediction, truth
        Output store, array inside a store, or TIFF.
    json_file
        Gets every score, by section too.
    sections
        ``z0:z1``, applied to both.
    truth_kind
        Labels of neurons, or a mask whose 0 is membrane; ``auto``: mask if it has but one
        value beside 0.
    score_map
        Score the boundary map of ``prediction`` instead of its neurons.
    region
        Of the truth that ``prediction`` covers, if the truth is larger.
    options
        Further families, each one table and one key more, and what is not scored.

    Raises
    ------
    InputError
        If the shapes differ, or a family cannot be scored on these volumes.
    ConfigError
        If ``sections`` do not exist, or the folder of ``json_file`` does not, or ids to ignore
        are no numbers.
    """
    options = options or ScoreOptions()
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise ConfigError(f"--json {json_file}: there is no folder {json_file.parent}")
    grid = input_grid_of(prediction)
    labels, predicted, true = _pair(prediction, truth, region, grid, score_map=score_map)
    kind: TruthKind = _kind(true) if truth_kind == "auto" else truth_kind
    shape = predicted.shape
    predicted, true = _cut(predicted, sections), _cut(true, sections)
    within = grid.region if grid and shape == grid.shape else region
    mask = None if options.mask is None else read_truth(options.mask, shape, within)
    scored = scored_voxels(
        true,
        ignore_ids=id_numbers(options.ignore_ids),
        ignore_band=options.ignore_band,
        mask=None if mask is None else _cut(mask, sections),
    )
    families = chosen_families(options, kind, score_map)
    scores: Any
    if labels is None:
        if options.worst or options.skeletons:
            raise ConfigError("--worst and --skeletons need labels; leave --map out")
        scores = evaluate_map(predicted, true, truth_kind=kind, scored=scored)
        more = evaluate_families_of_map(predicted, true, families, truth_kind=kind, scored=scored)
    else:
        first = 0 if sections is None else int(sections.split(":")[0])
        run_length = score_skeletons(labels, predicted, options.skeletons, first)
        scores = evaluate_labels(
            predicted, true, truth_kind=kind, voxel_size_nm=labels.voxel_size_nm, scored=scored
        )
        more = evaluate_families(
            predicted,
            true,
            families,
            truth_kind=kind,
            scored=scored,
            worst=options.worst,
            origin=(first, 0, 0),
        )
        more = replace(more, run_length=run_length)
    print(as_markdown(scores) + families_as_markdown(more), end="")
    if json_file is not None:
        json_file.write_text(with_families(as_json(scores), more) + "\n")


def _pair(
    prediction: Path,
    truth: Path,
    region: Box | None,
    grid: InputGrid | None,
    *,
    score_map: bool,
) -> tuple[LabelVolume | None, NDArray[Any], NDArray[Any]]:
    """Labels (``None``: a map is scored), what is scored, and truth of the same shape."""
    if score_map:
        predicted = read_map(prediction)
        return None, predicted, truth_on_volume(truth, predicted.shape, region, grid)
    if grid is None:
        labels = open_labels(prediction)
        return labels, labels.labels, read_truth(truth, labels.labels.shape, region)
    true = read_truth(truth, Output.open(prediction).shape, region, grid)
    labels = labels_to_score(prediction, grid, true.shape)
    return labels, labels.labels, true


def _kind(truth: NDArray[Any]) -> TruthKind:
    values = np.unique(truth)
    return "mask" if np.count_nonzero(values) <= 1 else "labels"


def _cut(stack: NDArray[Any], sections: str | None) -> NDArray[Any]:
    if sections is None:
        return stack
    try:
        begin, end = (int(n) for n in sections.split(":"))
    except ValueError:
        raise ConfigError(f"--sections {sections!r}: give z0:z1") from None
    if not 0 <= begin < end <= len(stack):
        raise ConfigError(f"--sections {sections!r}: there are sections 0:{len(stack)}")
    return stack[begin:end]


def write_synthetic(
    folder: Path,
    raw: NDArray[np.uint8],
    neurons: NDArray[np.uint64],
    voxel_size_nm: tuple[float, float, float],
) -> tuple[Path, Path]:
    """``volume.zarr``, ``truth.tif`` and ``raw.tif`` of a synthetic stack; none may exist yet."""
    volume, truth, stack = folder / "volume.zarr", folder / "truth.tif", folder / "raw.tif"
    if any(path.exists() for path in (volume, truth, stack)):
        raise InputError(f"{folder} holds a stack already; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    tifffile.imwrite(stack, raw, **options)
    tifffile.imwrite(truth, neurons.astype(np.uint16), **options)
    import_volume(stack, volume, voxel_size_nm=voxel_size_nm)
    return volume, truth

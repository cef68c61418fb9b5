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
from pipeline.evaluation.isbi import TruthKind
from pipeline.evaluation.markdown import as_markdown, families_as_markdown
from pipeline.evaluation.regions import Region
from pipeline.evaluation.scores import MapScores, Scores, as_json
from pipeline.store import InputGrid, Output, StoredVolume, stored_labels, stored_map
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
from workflows.scored_sections import StoredSections, kind_of
from workflows.scoring import score_label_sections, score_map_sections
from workflows.seen_output import check_scored, print_seen, with_seen
from workflows.truth import (
    Truth,
    input_grid_of,
    labels_to_score,
    open_truth,
    truth_on_volume,
)

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
    true: Truth | None = None
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
            planes[name]["truth"] = true.read(box).reshape(_plane(box.shape))
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
    allow_seen: bool = False,
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
    allow_seen
        Score what the models of ``prediction`` learned from, too, and say so.

    Raises
    ------
    LeakageError
        If a scored section was learned from, unless ``allow_seen``.
    InputError
        If the shapes differ, or a family cannot be scored on these volumes.
    ConfigError
        If ``sections`` do not exist, or the folder of ``json_file`` does not, or ids to ignore
        are no numbers.
    """
    options = options or ScoreOptions()
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise ConfigError(f"--json {json_file}: there is no folder {json_file.parent}")
    if json_file is not None and json_file.is_dir():
        raise ConfigError(f"--json {json_file}: is a folder; give a file")
    if score_map and (options.worst or options.skeletons):
        raise ConfigError("--worst and --skeletons need labels; leave --map out")
    grid = input_grid_of(prediction)
    predicted, true = _pair(prediction, truth, region, grid, score_map=score_map)
    shape = predicted.shape
    kind: TruthKind = kind_of(true) if truth_kind == "auto" else truth_kind
    families = chosen_families(options, kind, score_map)
    first, end = _range(sections, shape[0])
    box = Box((first, 0, 0), (end, *shape[1:]))
    verdict = check_scored(prediction, box, shape, maps=score_map, allow=allow_seen)
    within = grid.region if grid and shape == grid.shape else region
    scored = StoredSections(
        predicted,
        true,
        first,
        end,
        Region(tuple(id_numbers(options.ignore_ids)), options.ignore_band),
        None if options.mask is None else open_truth(options.mask, shape, within),
    )
    scores: Scores | MapScores
    if score_map:
        scores, more = score_map_sections(
            scored, kind, families, workers=options.workers, keep=options.keep
        )
    else:
        run_length = score_skeletons(predicted, options.skeletons, first, end)
        scores, more = score_label_sections(
            scored,
            kind,
            families,
            worst=options.worst,
            origin=(first, 0, 0),
            voxel_size_nm=predicted.voxel_size_nm,
            workers=options.workers,
            keep=options.keep,
        )
        more = replace(more, run_length=run_length)
    print_seen(verdict)
    print(as_markdown(scores) + families_as_markdown(more), end="")
    if json_file is not None:
        content = with_seen(with_families(as_json(scores), more), verdict)
        json_file.write_text(f"{content}\n")


def _pair(
    prediction: Path,
    truth: Path,
    region: Box | None,
    grid: InputGrid | None,
    *,
    score_map: bool,
) -> tuple[StoredVolume, Truth]:
    """What is scored, and truth of the same shape."""
    if score_map:
        predicted = stored_map(prediction)
        return predicted, truth_on_volume(truth, predicted.shape, region, grid)
    if grid is None:
        predicted = stored_labels(prediction)
        return predicted, open_truth(truth, predicted.shape, region)
    true = open_truth(truth, Output.open(prediction).shape, region, grid)
    return labels_to_score(prediction, grid, true.shape), true


def _range(sections: str | None, count: int) -> tuple[int, int]:
    """First section to score, and the one after the last, of ``count``."""
    if sections is None:
        return 0, count
    try:
        begin, end = (int(n) for n in sections.split(":"))
    except ValueError:
        raise ConfigError(f"--sections {sections!r}: give z0:z1") from None
    if not 0 <= begin < end <= count:
        raise ConfigError(f"--sections {sections!r}: there are sections 0:{count}")
    return begin, end


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

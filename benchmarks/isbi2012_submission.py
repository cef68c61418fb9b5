"""Stacks for the test sections of ISBI 2012, in the form that the challenge took.

A stack is a TIFF of 30 sections of 512 x 512 pixels, float32, the probability of cell: 0 =
certainly membrane, 1 = certainly cell. Two are made: of the boundary map, the maximum of 8
orientations; and of the lifted multicut's labels as a boundary image, so only 0 and 1.

The challenge's server is closed. Who has the organisers' ground truth of the test sections (a
mask, 0 = membrane; it is not used here) scores a stack as the challenge did, with the best
threshold after thinning, by ``python -m benchmarks.isbi2012_submission STACK TRUTH``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.endings import as_program
from benchmarks.isbi2012_maps import Predictor
from benchmarks.mean_boundary import labels_of
from benchmarks.published import Table
from benchmarks.quality import models_of
from benchmarks.reports import write_whole
from pipeline.contract import UINT8_MAX, VolumeInfo
from pipeline.errors import InputError, OutputError
from pipeline.evaluation.isbi import ThresholdScore, best, score_map, truth_sections
from pipeline.evaluation.thinning import cell_mask
from pipeline.registry import STAGES
from workflows.fingerprints import file_hash
from workflows.training_data import read_tiff

VERSION = 1
"""Of the form; stacks of another one are made again."""
METHODS = {"max_tta": "max TTA", "lifted_multicut": "lifted multicut"}


@dataclass(frozen=True)
class Stack:
    """A stack as it lies on the disk.

    Parameters
    ----------
    method
        How it was made.
    path
        Of the TIFF.
    sections, height, width
        Its shape.
    low, high
        Its range.
    cell_share
        Mean of all pixels.
    sha256
        Of the file.
    """

    method: str
    path: Path
    sections: int
    height: int
    width: int
    low: float
    high: float
    cell_share: float
    sha256: str


def main() -> None:
    """Score a stack against the truth that its owner has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stack", type=Path)
    parser.add_argument("truth", type=Path, help="TIFF of a mask, 0 = membrane")
    options = parser.parse_args()
    scores = score_stack(options.stack, read_tiff(options.truth))
    for score in ("v_rand", "v_info"):
        row = best(scores, score)
        print(f"{score} {getattr(row, score):.6f} at P(cell) > {row.threshold:g}")


def submission(raw: NDArray[Any], predictor: Predictor, folder: Path) -> list[Stack]:
    """The stacks of the test sections, made unless they are kept, and checked.

    Parameters
    ----------
    raw
        (Z, Y, X) grey values of the test sections.
    predictor
        Its configuration names the network and the forests; the augmentation is the maximum.
    folder
        Of the stacks.

    Raises
    ------
    OutputError
        If a written stack is not what the challenge took.
    """
    key = fingerprint(raw, predictor)
    note = folder / "made-from.json"
    paths = {method: folder / f"{method}.tif" for method in METHODS}
    known = json.loads(note.read_text()) if note.is_file() else {}
    kept = known.get("made_from") == key and all(
        path.is_file() and file_hash(path) == known["sha256"].get(method)
        for method, path in paths.items()
    )
    if not kept:
        note.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        result = predictor.reconstructed(raw, predictor.configured(augmentation="max"))
        write_stack(paths["max_tta"], cell_of_map(result["boundaries"]))
        labels = labels_of(result, result["nodes"]["neuron"])
        write_stack(paths["lifted_multicut"], cell_of_labels(labels))
    stacks = [checked(METHODS[method], path, raw.shape) for method, path in paths.items()]
    hashes = {method: stack.sha256 for method, stack in zip(METHODS, stacks, strict=True)}
    write_whole(note, json.dumps({"made_from": key, "sha256": hashes}, indent=1) + "\n")
    return stacks


def fingerprint(raw: NDArray[Any], predictor: Predictor) -> str:
    """Hash of all that decides the stacks."""
    z, y, x = raw.shape
    volume = VolumeInfo((z, y, x), predictor.voxel_size_nm, raw.dtype.name)
    content = {
        "version": VERSION,
        "raw": hashlib.sha256(np.ascontiguousarray(raw).tobytes()).hexdigest(),
        "stages": [[stage.name, stage.version] for stage in STAGES],
        "files": [file_hash(path) for path in models_of(predictor.config, volume)],
        "config": predictor.config.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def cell_of_map(boundaries: NDArray[np.uint8]) -> NDArray[np.float32]:
    """P(cell), float32 0..1, of P(boundary), uint8 0..255.

    >>> cell_of_map(np.array([[[0, 255, 51]]], np.uint8)).tolist()
    [[[1.0, 0.0, 0.800000011920929]]]
    """
    cell: NDArray[np.float32] = (UINT8_MAX - boundaries.astype(np.float32)) / np.float32(UINT8_MAX)
    return cell


def cell_of_labels(labels: NDArray[Any]) -> NDArray[np.float32]:
    """1 inside labels, 0 on the lines between them and where there is none, by section."""
    return np.stack([cell_mask(section) for section in labels]).astype(np.float32)


def write_stack(path: Path, cell: NDArray[np.float32]) -> None:
    """Write a TIFF, one page a section, under another name, then rename it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    tifffile.imwrite(partial, cell, photometric="minisblack")
    partial.replace(path)


def checked(method: str, path: Path, shape: tuple[int, ...]) -> Stack:
    """A stack read back.

    Raises
    ------
    OutputError
        Unless it is float32 of the shape, a page a section, in 0..1 and not all the same.
    """
    with tifffile.TiffFile(path) as file:
        pages = [page.asarray() for page in file.pages]
    for page in pages:
        if page.dtype != np.float32 or page.shape != shape[1:]:
            raise OutputError(
                f"{path}: a page is {page.dtype} {page.shape}, not float32 {shape[1:]}"
            )
    if len(pages) != shape[0]:
        raise OutputError(f"{path}: {len(pages)} pages, not {shape[0]}")
    stack = np.stack(pages)
    low, high = float(stack.min()), float(stack.max())
    if not 0 <= low < high <= 1:
        raise OutputError(f"{path}: values from {low:g} to {high:g}, but both lie in 0..1, apart")
    return Stack(
        method, path, *stack.shape, low, high, float(stack.mean(dtype=np.float64)), file_hash(path)
    )


def submission_table(stacks: Sequence[Stack]) -> Table:
    """What the stacks are."""
    rows = [
        (
            stack.method,
            stack.path.name,
            f"{stack.sections} x {stack.height} x {stack.width}",
            stack.low,
            stack.high,
            stack.cell_share,
            stack.sha256[:16],
        )
        for stack in stacks
    ]
    return Table(
        "Stacks for the test sections",
        ("made by", "file", "sections, rows, columns", "lowest", "highest", "mean", "SHA-256"),
        tuple(rows),
        "float32, the probability of cell, a page a section, in `isbi2012_submission` of the "
        "output folder. Not scored: the challenge's server is closed, and its truth is not used "
        "here; who has it scores a stack by `python -m benchmarks.isbi2012_submission STACK "
        "TRUTH`.",
        decimals=3,
    )


def score_stack(path: Path, membranes: NDArray[Any]) -> list[ThresholdScore]:
    """Scores of a stack over the challenge's thresholds.

    Parameters
    ----------
    path
        Of the stack.
    membranes
        (Z, Y, X), 0 = membrane.
    """
    stack = tifffile.imread(path)
    if stack.dtype != np.float32:
        raise InputError(f"{path} is {stack.dtype}, but a stack is float32, P(cell)")
    return score_map(1 - stack, truth_sections(membranes, kind="mask"))


if __name__ == "__main__":
    as_program(main)

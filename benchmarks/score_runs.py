"""One measurement of ``benchmarks.scores``, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from benchmarks.children import child_main, forget_peak, peak_bytes, resident_bytes
from pipeline.contract import Triple
from pipeline.evaluation.blockwise import Measures, measure_labels
from pipeline.evaluation.contingency import contingency
from pipeline.evaluation.information import variation_of_information
from pipeline.evaluation.rand import adapted_rand
from pipeline.evaluation.regions import Region
from pipeline.store import stored_labels
from workflows.scored_sections import StoredSections
from workflows.scoring import score_label_sections
from workflows.truth import open_truth

CELL, MEMBRANE = 32, 2
"""Edge of a body in a section, and width of its membrane, in pixels."""
BODY_SECTIONS = 64
CHUNK: Triple = (16, 256, 256)

Ids = NDArray[np.uint32]
Numbers = dict[str, float]


def section_ids(z: int, height: int, width: int) -> tuple[Ids, Ids]:
    """Predicted and true ids of a section of wavy columns, with shifts, splits and merges.

    Returns
    -------
    prediction, truth
        (Y, X) uint32, 0 = membrane, others small.
    """
    truth = _columns(z, height, width, 0.0)
    prediction = _columns(z, height, width, 1.5)
    prediction[prediction % 7 == 3] -= 1
    split = (prediction % 5 == 1) & (z % BODY_SECTIONS >= BODY_SECTIONS // 2)
    prediction[split] += np.uint32(_most(height) * _most(width))
    return prediction, truth


def _most(pixels: int) -> int:
    """Columns side by side, and room for waves."""
    return pixels // CELL + 2


def _columns(z: int, height: int, width: int, shift: float) -> Ids:
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    down = y + 6 * np.sin(x / 37) + 5 * np.sin(z / 23) + shift + 16
    right = x + 6 * np.sin(y / 31) + 5 * np.cos(z / 19) + shift + 16
    ids = (down // CELL) * _most(width) + right // CELL + 1
    # Every other range of ids is kept for what splits cut off.
    ids += z // BODY_SECTIONS * 2 * _most(height) * _most(width)
    ids[(down % CELL < MEMBRANE) | (right % CELL < MEMBRANE)] = 0
    return ids.astype(np.uint32)


def write_arrays(folder: Path, shape: Triple) -> None:
    """``prediction.npy`` and ``truth.npy``, section by section."""
    files = [
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint32, shape)
        for name in ("prediction", "truth")
    ]
    for z in range(shape[0]):
        for file, ids in zip(files, section_ids(z, *shape[1:]), strict=True):
            file[z] = ids


def write_stores(folder: Path, shape: Triple) -> None:
    """``prediction.zarr`` and ``truth.zarr``, a layer of chunks at a time."""
    arrays = [
        zarr.create_array(folder / f"{name}.zarr", shape=shape, chunks=CHUNK, dtype="uint32")
        for name in ("prediction", "truth")
    ]
    for begin in range(0, shape[0], CHUNK[0]):
        end = min(begin + CHUNK[0], shape[0])
        pairs = [section_ids(z, *shape[1:]) for z in range(begin, end)]
        for array, sections in zip(arrays, zip(*pairs, strict=True), strict=True):
            array[begin:end] = np.stack(sections)


def _ours(prediction: Ids, truth: Ids) -> Numbers:
    return _numbers(contingency(truth, prediction))


def _numbers(table: Any) -> Numbers:
    voi = variation_of_information(table)
    return {"arand_error": adapted_rand(table).error, "split": voi.split, "merge": voi.merge}


def _scikit_image(prediction: Ids, truth: Ids) -> Numbers:
    from skimage import metrics

    table = metrics.contingency_table(truth, prediction, ignore_labels=[0], sparse_type="array")
    error, _, _ = metrics.adapted_rand_error(table=table)
    shares = table / table.sum()
    split, merge = metrics.variation_of_information(truth, prediction, table=shares)
    return {"arand_error": float(error), "split": float(split), "merge": float(merge)}


def _elf(prediction: Ids, truth: Ids) -> Numbers:
    from elf.evaluation import cremi_score

    split, merge, error, _ = cremi_score(prediction, truth, ignore_gt=[0])
    return {"arand_error": float(error), "split": float(split), "merge": float(merge)}


IN_MEMORY: dict[str, Callable[[Ids, Ids], Numbers]] = {
    "ours": _ours,
    "scikit-image": _scikit_image,
    "elf": _elf,
}


def _streamed(folder: Path) -> StoredSections:
    prediction = stored_labels(folder / "prediction.zarr")
    truth = open_truth(folder / "truth.zarr", prediction.shape, None)
    return StoredSections(prediction, truth, 0, prediction.shape[0], Region())


def _in_3d(sections: StoredSections) -> Numbers:
    table = measure_labels(sections, Measures("labels", tables=True)).table
    assert table is not None
    return _numbers(table.without_truth((0,)))


def _all_main(sections: StoredSections) -> Numbers:
    scores, _ = score_label_sections(sections, "labels")
    assert scores.volume is not None
    found = scores.volume
    main = {"arand_error": found.arand_error, "split": found.voi_split, "merge": found.voi_merge}
    return {**main, "v_rand": scores.section_boundary.v_rand}


ON_DISK: dict[str, Callable[[StoredSections], Numbers]] = {
    "3D scores": _in_3d,
    "all main scores": _all_main,
}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds, memory beyond what was there before, and the numbers of one program."""
    folder, what = Path(job["folder"]), job["what"]
    if job["on_disk"]:
        sections = _streamed(folder)
        return _measured(lambda: ON_DISK[what](sections))
    program = IN_MEMORY[what]
    for arrays in (_small(), [np.load(folder / f"{name}.npy") for name in ("prediction", "truth")]):
        found = _measured(lambda arrays=arrays: program(*arrays))
    return found


def _small() -> list[Ids]:
    """So that imports and first calls are not measured."""
    return list(section_ids(0, 64, 64))


def _measured(score: Callable[[], Numbers]) -> dict[str, Any]:
    before = resident_bytes()
    forget_peak()
    began = time.perf_counter()
    numbers = score()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "bytes": peak_bytes() - before, "numbers": numbers}


if __name__ == "__main__":
    child_main(measure)

"""Defects of real volumes: whether each is recognised, and what it costs with and without.

1. Every defect is put into the training part of every data set, and looked for.
2. It is put into the validation part of ISBI 2012, SNEMI3D and FIB-25; the volume is segmented
   as if it had no defects, and with what the stage ``sections`` found. One pass of the network
   without test-time augmentation: all rows of a data set are made alike.

``python -m benchmarks.defects --data DATA``
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import FIB25, ISBI2012, SNEMI3D, Dataset
from benchmarks.endings import as_program
from benchmarks.mean_boundary import labels_of
from benchmarks.published import publish
from benchmarks.quality import arguments, models_of, object_scores, volume_info
from benchmarks.reports import markdown_table
from pipeline.config import PipelineSections, load_config
from pipeline.contract import Table
from pipeline.corrections import SECTIONS, Corrections
from pipeline.sections.report import describe
from pipeline.sections.states import State
from pipeline.synthesis import defects
from workflows.in_memory import reconstruct_array
from workflows.seen_data import SEEN, require_unseen
from workflows.training_data import read_tiff

Stack = NDArray[Any]
SLIP_NM = (100.0, -70.0)
BORDER = 36
"""Voxels; a border narrower than ``foreground.padding_width_voxels`` is no padding."""
FURTHEST_NM = 16.0
"""How far a slip may be found from where it is."""


@dataclass(frozen=True)
class Volume:
    """A stack into which defects are put.

    Parameters
    ----------
    raw
        (Z, Y, X) grey values.
    truth
        (Z, Y, X) labels; ``None`` where only recognition is asked.
    voxel_size_nm
        z, y, x.
    """

    raw: Stack
    truth: Stack | None
    voxel_size_nm: tuple[float, float, float]

    @property
    def z(self) -> int:
        """The section with the defect."""
        return len(self.raw) // 2

    @property
    def slip(self) -> tuple[int, int]:
        """In voxels."""
        y, x = (round(nm / size) for nm, size in zip(SLIP_NM, self.voxel_size_nm[1:], strict=True))
        return y, x

    @property
    def flat(self) -> bool:
        """Whether slips are followed."""
        return self.voxel_size_nm[0] >= 3 * min(self.voxel_size_nm[1:])


Found = Callable[[Table, Table, Volume], bool]
"""Table with the defect, and without it -> whether it was recognised."""


@dataclass(frozen=True)
class Case:
    """One defect.

    Parameters
    ----------
    name
        For the table.
    put
        Puts it into a volume.
    found
        Whether it was recognised, in the right place.
    flat_only
        Whether nothing is done about it in isotropic volumes.
    """

    name: str
    put: Callable[[Volume], Volume]
    found: Found
    flat_only: bool = False


def _state(*states: State, sections: Sequence[int] = (0,)) -> Found:
    """Exactly these sections, counted from that with the defect, get one of the states."""

    def found(table: Table, before: Table, volume: Volume) -> bool:
        other = np.flatnonzero(table["state"] != before["state"]).tolist()
        right = np.isin(table["state"][other], states).all()
        return bool(right) and other == [volume.z + step for step in sections]

    return found


def _inverted(table: Table, before: Table, volume: Volume) -> bool:
    return bool((table["low"] > table["high"]).all())


def _levelled(table: Table, before: Table, volume: Volume) -> bool:
    return np.flatnonzero(table["drift"]).tolist() == [volume.z]


def _ends_levelled(table: Table, before: Table, volume: Volume) -> bool:
    return bool(table["drift"][[0, -1]].any())


def _padding(table: Table, before: Table, volume: Volume) -> bool:
    """The grey range is that of the tissue."""
    width = before["high"][0] - before["low"][0]
    moved = max(abs(table[end][0] - before[end][0]) for end in ("low", "high"))
    return not table["state"].any() and bool(moved < 0.1 * width)


def _slip(steps: Mapping[int, int]) -> Found:
    """Slips of these sections, by sign, on top of where they were; and those that were there."""

    def found(table: Table, before: Table, volume: Volume) -> bool:
        expected = before["slip"].astype(float)
        for step, sign in steps.items():
            z = volume.z + step
            expected[z] = before["shift"][z] + sign * np.array(volume.slip)
        nm = np.abs(table["slip"] - expected) * np.array(volume.voxel_size_nm[1:])
        return bool(nm.max() <= FURTHEST_NM)

    return found


def _raw(put: Callable[[Stack, int], Stack]) -> Callable[[Volume], Volume]:
    """A defect of the grey values alone."""
    return lambda volume: Volume(put(volume.raw, volume.z), volume.truth, volume.voxel_size_nm)


def _padded(width: int, *, white: bool) -> Callable[[Volume], Volume]:
    """A border, beneath which there is no truth."""

    def put(volume: Volume) -> Volume:
        raw = defects.padded(volume.raw, width, white=white)
        truth = None if volume.truth is None else defects.padded(volume.truth, width)
        return Volume(raw, truth, volume.voxel_size_nm)

    return put


def _slipped(*, lasting: bool) -> Callable[[Volume], Volume]:
    """Grey values and labels are displaced together; what comes in has no truth."""

    def put(volume: Volume) -> Volume:
        z, slip, truth = volume.z, volume.slip, volume.truth
        raw = defects.slipped(volume.raw, z, slip, lasting=lasting)
        if truth is not None:
            truth = defects.slipped(truth, z, slip, lasting=lasting, fill="zero")
        return Volume(raw, truth, volume.voxel_size_nm)

    return put


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


CASES = (
    Case("inverted contrast", _raw(lambda raw, z: defects.inverted(raw)), _inverted),
    Case("black border", _padded(BORDER, white=False), _padding),
    Case("white border", _padded(BORDER, white=True), _padding),
    Case("missing section", _raw(defects.missing), _state(State.EMPTY)),
    Case(
        "two missing sections",
        _raw(lambda raw, z: defects.missing(defects.missing(raw, z), z + 1)),
        _state(State.EMPTY, sections=(0, 1)),
    ),
    Case("saturated section", _raw(defects.saturated), _state(State.DAMAGED)),
    Case(
        "section of noise",
        _raw(lambda raw, z: defects.noise_only(raw, z, _rng())),
        _state(State.DAMAGED),
    ),
    Case(
        "section twice",
        _raw(lambda raw, z: defects.duplicated(raw, z, _rng())),
        _state(State.DUPLICATE),
    ),
    Case(
        "section of half the contrast",
        _raw(lambda raw, z: defects.jumped(raw, z, 0.5, 0.15)),
        _levelled,
    ),
    Case("darker section", _raw(lambda raw, z: defects.jumped(raw, z, 1, -0.4)), _levelled),
    Case("drift", _raw(lambda raw, z: defects.drifted(raw, 1.4, 0.3)), _ends_levelled),
    Case("one section slipped", _slipped(lasting=False), _slip({0: 1, 1: -1}), flat_only=True),
    Case("all above slipped", _slipped(lasting=True), _slip({0: 1}), flat_only=True),
)

TRAINING: Mapping[str, tuple[str, tuple[int, int], tuple[float, float, float]]] = {
    "isbi2012": (ISBI2012.raw, (0, 14), ISBI2012.voxel_size_nm),
    "snemi3d": (SNEMI3D.raw, (0, 20), SNEMI3D.voxel_size_nm),
    "vnc": ("vnc/raw.tif", (0, 20), (50, 4.6, 4.6)),
    "fib25": (FIB25.raw, (0, 30), FIB25.voxel_size_nm),
    "gala": ("gala/raw_train.tif", (0, 30), (10, 10, 10)),
    "epfl": ("epfl/train_raw.tif", (0, 18), (5, 5, 5)),
}
"""Raw TIFF, sections and voxel size of the parts in which defects are looked for."""
LARGEST_SECTION = 512
VALIDATION = ((ISBI2012, 6, 320), (SNEMI3D, 8, 320), (FIB25, 24, 160))
"""Data set, sections and edge of the part whose segmentation is scored."""


def main() -> None:
    """Recognition, then scores."""
    options = arguments(__doc__ or "")
    config = load_config(options.config, ["boundaries.augmentation=none", *options.set])
    recognised = recognition(options, config)
    rows = [row for given in VALIDATION for row in scores(given, options, config)]
    text = "## Recognised, in training parts\n\n"
    text += recognition_table(recognised) + "\n## Scores of validation parts\n\n"
    text += "Adapted Rand error and VOI (bits); less is better.\n\n" + score_table(rows)
    values = {"recognised": recognised, "scores": [asdict(row) for row in rows]}
    publish(
        options.output,
        "defects",
        "Defects of sections",
        (),
        text=text,
        quick=options.quick,
        values=values,
    )


def recognition(
    options: argparse.Namespace, config: PipelineSections
) -> dict[str, dict[str, bool | str]]:
    """Data set -> defect -> whether it was recognised; what is found without any."""
    found: dict[str, dict[str, bool | str]] = {}
    names = list(TRAINING)[:1] if options.quick else list(TRAINING)
    for name in names:
        path, (begin, end), voxel_size_nm = TRAINING[name]
        raw = read_tiff(options.data / path)[begin:end, :LARGEST_SECTION, :LARGEST_SECTION]
        volume = Volume(np.ascontiguousarray(raw), None, voxel_size_nm)
        before = sections_of(volume, config)
        found[name] = {"nothing put in": "; ".join(describe(before))}
        for case in CASES:
            table = sections_of(case.put(volume), config)
            found[name][case.name] = case.found(table, before, volume)
        print(f"{name}: {found[name]}", flush=True)
    return found


def sections_of(volume: Volume, config: PipelineSections) -> Table:
    """The table ``sections``."""
    known = reconstruct_array(volume.raw, volume.voxel_size_nm, config, until=SECTIONS)
    table: Table = known[SECTIONS]
    return table


def recognition_table(found: Mapping[str, Mapping[str, bool | str]]) -> str:
    """Defects below each other, data sets side by side."""
    words = {True: "yes", False: "no"}
    rows = [[case.name, *(words[bool(of[case.name])] for of in found.values())] for case in CASES]
    sentences = [f"{name}: {of['nothing put in'] or 'nothing'}." for name, of in found.items()]
    table = markdown_table(["defect", *found], rows)
    return f"{table}\nFound where nothing was put in: {' '.join(sentences)}\n"


@dataclass(frozen=True)
class Row:
    """Scores of one segmentation."""

    dataset: str
    defect: str
    handling: str
    arand: float
    voi_split: float
    voi_merge: float
    seconds: float


def scores(
    given: tuple[Dataset, int, int], options: argparse.Namespace, config: PipelineSections
) -> list[Row]:
    """Of one data set: without a defect, then each with the handling off and on."""
    dataset, sections, side = given
    begin = dataset.validate[0]
    if options.quick:
        sections, side = 4, 96
    raw, truth = (
        dataset.load(options.data, path, (begin, begin + sections))[:, :side, :side].copy()
        for path in (dataset.raw, dataset.truth)
    )
    volume = Volume(raw, truth, dataset.voxel_size_nm)
    seen = require_unseen(
        raw,
        models_of(config, volume_info(dataset, raw)),
        what=f"{dataset.name}, sections {begin}-{begin + sections - 1}",
        allow=options.allow_seen,
    )
    name = f"{dataset.name} ({SEEN})" if seen else dataset.name
    segment = _Segmenter(name, config, options.device)
    rows = [segment(volume, "none", handling) for handling in ("off", "on")]
    for case in CASES[: 2 if options.quick else None]:
        if volume.flat or not case.flat_only:
            changed = case.put(volume)
            rows += [segment(changed, case.name, handling) for handling in ("off", "on")]
    return rows


@dataclass(frozen=True)
class _Segmenter:
    """Segments a volume and scores it."""

    dataset: str
    config: PipelineSections
    device: str

    def __call__(self, volume: Volume, defect: str, handling: str) -> Row:
        began = time.monotonic()
        given = None if handling == "on" else {SECTIONS: self._untouched(volume)}
        result = reconstruct_array(
            volume.raw, volume.voxel_size_nm, self.config, device=self.device, given=given
        )
        assert volume.truth is not None
        found = object_scores(labels_of(result, result["nodes"]["neuron"]), volume.truth)
        row = Row(
            self.dataset,
            defect,
            handling,
            found.arand_error,
            found.voi_split,
            found.voi_merge,
            time.monotonic() - began,
        )
        print(row, flush=True)
        return row

    def _untouched(self, volume: Volume) -> Table:
        """The table ``sections`` of a run that looks for no defects."""
        known = reconstruct_array(volume.raw, volume.voxel_size_nm, self.config, until="intensity")
        low, high = (float(known["intensity"][end][0]) for end in ("low", "high"))
        return Corrections.none(len(volume.raw), low, high).table()


def score_table(rows: Sequence[Row]) -> str:
    """Handling off and on side by side."""
    lines: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        lines.setdefault((row.dataset, row.defect), []).extend(
            (row.arand, row.voi_split + row.voi_merge)
        )
    head = ["data set", "defect", "ARE off", "VOI off", "ARE on", "VOI on"]
    return markdown_table(head, [[*names, *values] for names, values in lines.items()])


if __name__ == "__main__":
    as_program(main)

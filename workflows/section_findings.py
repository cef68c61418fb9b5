"""What is wrong with single sections of a sample, by the measurement that ``run`` makes itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import normalisation, sections
from pipeline.config import load_config
from pipeline.contract import Resources, VolumeInfo
from pipeline.corrections import SECTIONS
from pipeline.errors import InputError
from pipeline.sections.report import describe
from pipeline.sections.states import State
from pipeline.store.importers.conversion import conversion
from pipeline.store.layout import Nanometres
from workflows.in_memory import run_stage
from workflows.sampling import Sample
from workflows.subject import Subject

ASSUMED_NM: Nanometres = (40.0, 5.0, 5.0)
"""Of a volume whose voxel size is not known: how far sections may slip, and how thick membranes
are, is a matter of nanometres."""


@dataclass(frozen=True)
class Finding:
    """One thing about a section, or about the whole stack.

    Parameters
    ----------
    z
        The section, in voxels of the volume; ``None``: the stack.
    what
        ``empty``, ``damaged``, ``duplicate``, ``drift``, ``slip`` or ``inverted contrast``.
    evidence
        What was measured.
    """

    z: int | None
    what: str
    evidence: str


@dataclass(frozen=True)
class SectionFindings:
    """Of all sections that were looked at.

    Parameters
    ----------
    findings
        The stack's, then by section.
    judged
        Whether sections could be judged at all.
    note
        Why not, or with what reserve.
    handled
        Sentences on what ``run`` does about them; none where sections were left out.
    """

    findings: tuple[Finding, ...]
    judged: bool = True
    note: str = ""
    handled: tuple[str, ...] = ()


def look_at_sections(subject: Subject, sample: Sample, told: Callable[[], None]) -> SectionFindings:
    """Judge the sections of a sample, each beside the others.

    Parameters
    ----------
    subject
        A volume of grey values.
    sample
        Its window and its runs of sections.
    told
        Called after each box that was read.

    Raises
    ------
    InputError
        If voxels cannot be read.
    """
    raw = _read(subject, sample, told)
    size = subject.voxel_size_nm
    note = ""
    if isinstance(size, str):
        size = ASSUMED_NM
        shown = " x ".join(f"{edge:g}" for edge in size)
        note = f"the voxel size is unknown; judged as if it were {shown} nm"
    try:
        table = _measured(raw, size)
    except InputError as error:
        return SectionFindings((), False, str(error))
    number = [z for run in sample.runs for z in run]
    joints = {run.start for run in sample.runs[1:]}
    found = [
        Finding(number[z], what, evidence)
        for z, what, evidence in _by_section(table)
        if what != "slip" or number[z] not in joints
    ]
    handled = describe(table) if sample.sections == sample.shape[0] else []
    return SectionFindings((*_of_stack(table), *found), True, note, tuple(handled))


def _read(subject: Subject, sample: Sample, told: Callable[[], None]) -> NDArray[Any]:
    """The window of all runs, one upon the other, as grey values that stages know."""
    converted = conversion(subject.path, subject.dtype)
    (top, bottom), (left, right) = sample.window
    raw = np.empty((sample.sections, bottom - top, right - left), converted.dtype)
    begin = 0
    for box in sample.slab_boxes:
        part = converted.convert(subject.path, subject.read(box), box.begin)
        raw[begin : begin + len(part)] = part
        begin += len(part)
        told()
    return raw


def _measured(raw: NDArray[Any], size: Nanometres) -> dict[str, NDArray[Any]]:
    """The table ``sections`` of an array."""
    z, y, x = raw.shape
    volume = VolumeInfo((z, y, x), size, raw.dtype.name)
    config = load_config(None).resolved(volume)
    resources = Resources(volume)
    greys: Any = config.section(normalisation.STAGE.name)
    counts = np.zeros(normalisation.BINS, np.uint64)
    for number, section in enumerate(raw):
        counts += normalisation.histogram(section[None], (number, 0, 0))
    low, high = normalisation.percentiles_of_counts(counts, volume.dtype, greys)
    attributes = normalisation.STAGE.attributes
    known = {
        "raw": raw,
        "intensity": {"low": np.array([low]), "high": np.array([high]), "counts": counts[None]},
        "attributes": attributes(greys, resources) if attributes else {},
    }
    stage = sections.STAGE
    table: dict[str, NDArray[Any]] = run_stage(stage, known, config.section(stage.name), resources)[
        SECTIONS
    ]
    return table


def _of_stack(table: Mapping[str, NDArray[Any]]) -> Iterator[Finding]:
    if table["low"][0] > table["high"][0]:
        dark = np.nanmedian(table["dark"])
        yield Finding(None, "inverted contrast", f"only {_percent(dark)} of the lines are dark")


def _by_section(table: Mapping[str, NDArray[Any]]) -> Iterator[tuple[int, str, str]]:
    """Section of the table, what it is, and the evidence; by section."""
    usual = {
        name: float(np.nanmedian(column))
        for name, column in table.items()
        if column.dtype.kind == "f" and not np.isnan(column).all()
    }
    for z, state in enumerate(table["state"].tolist()):
        row = {name: column[z] for name, column in table.items()}
        if state == State.EMPTY:
            yield (
                z,
                "empty",
                f"{_percent(row['commonest'])} are one grey value, mean {row['mean']:g}",
            )
        if state == State.DAMAGED:
            yield z, "damaged", _damage(row, usual)
        if state == State.DUPLICATE:
            yield z, "duplicate", f"of {z - 1} below: {_likeness(row, usual)}"
        if row["drift"]:
            yield z, "drift", _drift(row, usual)
        if row["slip"].any():
            y, x = row["slip"].tolist()
            alike = f"{row['alike']:.2f} there, {row['straight']:.2f} straight below"
            yield z, "slip", f"by {y:+d}, {x:+d} voxels (y, x); correlation {alike}"


def _damage(row: Mapping[str, Any], usual: Mapping[str, float]) -> str:
    return (
        f"saturated {_percent(row['saturated'])} (usual {_percent(usual['saturated'])}), "
        f"detail {row['detail']:.3f} ({usual['detail']:.3f}), {_likeness(row, usual)}"
    )


def _likeness(row: Mapping[str, Any], usual: Mapping[str, float]) -> str:
    if np.isnan(row["alike"]):
        return "nothing below to compare with"
    return (
        f"correlation with the one below {row['alike']:.2f} (usual {usual['alike']:.2f}), of "
        f"single voxels {row['fine_alike']:.2f} ({usual['fine_alike']:.2f})"
    )


def _drift(row: Mapping[str, Any], usual: Mapping[str, float]) -> str:
    return (
        f"mean {row['mean']:.4g} (usual {usual['mean']:.4g}), middle half of the grey values "
        f"{row['spread']:.4g} wide ({usual['spread']:.4g})"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

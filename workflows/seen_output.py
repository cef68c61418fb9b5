"""Whether what ``evaluate`` scores was learned from: an output knows its input and its models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from pipeline.contract import Box, Stage, Triple
from pipeline.errors import PipelineError
from pipeline.marks import WINDOW, Marks, section_marks
from pipeline.registry import STAGES, stage
from pipeline.store import Output, Volume, is_output
from workflows.kept_records import kept_records
from workflows.output_input import source_of
from workflows.seen_data import Verdict, compared, settled

READ_SECTIONS = 32
READ_VOXELS = 1 << 25
"""Read at once, at most about; neighbouring rows are read twice."""


def check_scored(
    prediction: Path, box: Box, shape: Triple, *, maps: bool = False, allow: bool = False
) -> Verdict:
    """Refuse to score what the models of a prediction learned from.

    Grey values are read from the input that the output remembers, the scored part alone, in
    pieces of bounded size.

    Parameters
    ----------
    prediction
        Output store, an array inside one, or anything else, of which nothing is known.
    box
        What is scored, in voxels of a grid of ``shape``.
    shape
        Of the output, or of its input's finest grid.
    maps
        Whether the boundary map is scored, which no forest made.
    allow
        Return what was seen, so that the caller marks the scores, instead of refusing.

    Returns
    -------
    verdict
        What was seen, and why that cannot be told, where it cannot; both are warned of.

    Raises
    ------
    LeakageError
        If a scored section was learned from, unless ``allow``.
    PipelineError
        If a record is damaged.
    """
    stages = STAGES[: STAGES.index(stage("boundaries")) + 1] if maps else STAGES
    verdict = _verdict(prediction, box, shape, stages)
    settled(verdict, what=str(prediction), allow=allow)
    return verdict


def print_seen(verdict: Verdict) -> None:
    """Say before scores, in red on a terminal, that what is scored was learned from."""
    text = Text(verdict.as_text(), style="bold red")
    Console(soft_wrap=True).print(text, end="")


def with_seen(scores: str, verdict: Verdict) -> str:
    """The JSON of scores with the key ``seen_in_training``."""
    return json.dumps({**json.loads(scores), "seen_in_training": verdict.as_dict()}, indent=2)


def _verdict(prediction: Path, box: Box, shape: Triple, stages: Sequence[Stage]) -> Verdict:
    there = prediction.resolve()  # a link to an array still lies in its output
    store = next((p for p in (there, *there.parents) if is_output(p)), None)
    if store is None:
        return Verdict(unknown=("a bare prediction does not say which models made it",))
    output = Output.open(store)
    records = list(kept_records(output, stages))
    try:
        identity = output.attributes["input"]
        volume = source_of(identity).open()
        changed = volume.fingerprint() != identity["fingerprint"]
    except (PipelineError, KeyError, TypeError) as error:
        told = tuple(phrase for _, record in records for phrase in record.unknown)
        return Verdict(unknown=(*told, f"the input cannot be read any more ({error})"))
    if volume.shape != output.shape:
        return Verdict(unknown=(f"the input has another shape now, {volume.shape}",))
    verdict = compared(records, marks_of(volume, _on(box, shape, volume.shape)))
    if not changed:
        return verdict
    return Verdict(verdict.seen, (*verdict.unknown, "the input has changed since the run"))


def marks_of(volume: Volume, box: Box) -> Iterator[tuple[int, Marks]]:
    """Number and marks of each section of a box, read in pieces of bounded size."""
    (first, top, left), (last, bottom, right) = box.begin, box.end
    for begin in range(first, last, READ_SECTIONS):
        end = min(begin + READ_SECTIONS, last)
        rows = max(READ_VOXELS // ((end - begin) * (right - left)), WINDOW)
        found: list[list[Marks]] = [[] for _ in range(begin, end)]
        for row in range(top, bottom, rows):
            until = min(row + rows + WINDOW - 1, bottom)
            raw = volume.read(Box((begin, row, left), (end, until, right)))
            for marks, section in zip(found, raw, strict=True):
                marks.append(section_marks(section))
        yield from zip(
            range(begin, end), (np.unique(np.concatenate(m)) for m in found), strict=True
        )


def _on(box: Box, shape: Triple, other: Triple) -> Box:
    """A box of one grid in voxels of another that covers the same, rounded outwards."""
    sides = list(zip(box.begin, box.end, shape, other, strict=True))
    z, y, x = (begin * new // old for begin, _, old, new in sides)
    end_z, end_y, end_x = (-(-end * new // old) for _, end, old, new in sides)
    return Box((z, y, x), (end_z, end_y, end_x))

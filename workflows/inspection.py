"""What a path is, what is in it, and what ``run`` would do with it; nothing is written anywhere.

1. The path is recognised: a zarr, an output of this program, another format, a folder of volumes.
2. Its metadata are read.
3. A sample of the voxels is looked at, box by box, then single sections.
4. From all that follows what to type next.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, ResourceError
from pipeline.store.place import Place
from workflows.finished_output import OutputFacts, output_facts
from workflows.foreign_subject import foreign_subject
from workflows.outlook import Outlook, outlook
from workflows.path_content import Content, Inside, content_of, volumes_in
from workflows.sampling import VOXELS, Sample, choose_sample
from workflows.section_findings import SectionFindings, look_at_sections
from workflows.subject import Question, Subject
from workflows.voxel_values import GREY, Tally, Values
from workflows.zarr_subject import zarr_subject

Progress = Callable[[int, int], None]
"""Called with (boxes read, boxes in all)."""


@dataclass(frozen=True)
class Inspection:
    """All that was found; of ``subject``, ``output`` and ``inside`` exactly one.

    Parameters
    ----------
    path
        As given.
    subject
        The volume.
    output
        What an output of this program holds.
    inside
        Volumes in a folder, group or file with several.
    sample
        What was read; ``None`` if only metadata were asked for.
    values
        Of the sample.
    sections
        What is wrong with single sections; ``None`` for labels, and if nothing was read.
    outlook
        What to type next.
    damage
        What cannot be read, in one line.
    """

    path: str
    subject: Subject | None = None
    output: OutputFacts | None = None
    inside: tuple[Inside, ...] = ()
    sample: Sample | None = None
    values: Values | None = None
    sections: SectionFindings | None = None
    outlook: Outlook | None = None
    damage: str = ""


def inspect(
    question: Question,
    output_of: Callable[[Place], Path],
    *,
    fast: bool = False,
    progress: Progress | None = None,
) -> Inspection:
    """Look at a path.

    Parameters
    ----------
    question
        What is meant.
    output_of
        Where ``run`` writes by default.
    fast
        Metadata only.
    progress
        Told after each box of voxels.

    Raises
    ------
    PipelineError
        If there is nothing, or nothing known, or it is damaged; one line. Damaged voxels raise
        nothing: see ``Inspection.damage``.
    """
    content = content_of(question)
    if content.output is not None:
        return Inspection(question.path, output=output_facts(content.output))
    if content.inside:
        return Inspection(question.path, inside=content.inside)
    with ExitStack() as stack:
        if content.location is not None:
            try:
                subject = stack.enter_context(foreign_subject(question, content.location))
            except InputError:
                inside = _stacks_in(question)
                if not inside:
                    raise
                return Inspection(question.path, inside=inside)
        else:
            assert content.zarr is not None
            subject = zarr_subject(question, content.zarr)
        return _of_volume(question, content, subject, output_of, None if fast else progress, fast)


def _stacks_in(question: Question) -> tuple[Inside, ...]:
    """Volumes of a folder that was taken for one of single sections."""
    if question.dataset is not None or not os.path.isdir(question.path):
        return ()
    found = volumes_in(question)
    return found if any(one.shape is not None for one in found) else ()


def _of_volume(
    question: Question,
    content: Content,
    subject: Subject,
    output_of: Callable[[Place], Path],
    progress: Progress | None,
    fast: bool,
) -> Inspection:
    sample = None if fast else choose_sample(subject.shape, subject.chunk, VOXELS)
    values, sections, damage = None, None, ""
    try:
        if sample is not None:
            values, sections = _look(subject, sample, progress)
    except MemoryError:
        raise ResourceError(
            f"{subject.path}: not enough memory to decode its chunks of {subject.chunk} voxels; "
            "--fast looks at metadata only"
        ) from None
    except InputError as error:
        damage = str(error)
    output = None if content.zarr is None else output_of(content.zarr)
    return Inspection(
        question.path,
        subject=subject,
        sample=sample,
        values=values,
        sections=sections,
        outlook=outlook(subject, question, content.zarr, output, values),
        damage=damage,
    )


def _look(
    subject: Subject, sample: Sample, progress: Progress | None
) -> tuple[Values, SectionFindings | None]:
    """Grey values of the boxes, then single sections."""
    tally = Tally(subject.dtype)
    told = _Told(progress, sample)
    for box in sample.boxes:
        tally.add(subject.read(box))
        told.one()
    values = tally.values()
    if values.looks_like != GREY:
        return values, None
    return values, look_at_sections(subject, sample, told.one)


class _Told:
    """Progress over boxes and slabs of sections."""

    def __init__(self, progress: Progress | None, sample: Sample) -> None:
        self._progress = progress
        self._done, self._total = 0, len(sample.boxes) + len(sample.slab_boxes)

    def one(self) -> None:
        """A box was read."""
        self._done += 1
        if self._progress:
            self._progress(min(self._done, self._total), self._total)


def as_json(found: Inspection) -> dict[str, Any]:
    """Everything for machines; keys are stable, and listed in ``docs/volumes.md``."""
    kind = "output" if found.output else "several" if found.inside else "volume"
    content: dict[str, Any] = {"path": found.path, "kind": kind}
    if found.output:
        content["output"] = asdict(found.output)
    elif found.inside:
        content["inside"] = [asdict(one) for one in found.inside]
    elif found.subject:
        content |= {
            "volume": _subject_json(found.subject),
            "sample": None if found.sample is None else _sample_json(found.sample),
            "values": None if found.values is None else asdict(found.values),
            "sections": None if found.sections is None else asdict(found.sections),
            "next": None if found.outlook is None else asdict(found.outlook),
            "damage": found.damage,
        }
    plain: dict[str, Any] = _plain(content)
    return plain


def _subject_json(subject: Subject) -> dict[str, Any]:
    size = subject.voxel_size_nm
    return {
        "zarr": subject.is_zarr,
        "format": subject.format,
        "axes": subject.axes,
        "stored_shape": subject.stored_shape,
        "shape": subject.shape,
        "dtype": subject.dtype.name,
        "byte_order": subject.byte_order,
        "voxel_size_nm": None if isinstance(size, str) else size,
        "voxel_size_from": subject.voxel_size_from,
        "voxel_size_problem": size if isinstance(size, str) else "",
        "translation_nm": subject.translation_nm,
        "chunk": subject.chunk,
        "codecs": subject.codecs,
        "level": subject.level,
        "levels": [asdict(level) for level in subject.levels],
        "bytes": math.prod(subject.stored_shape) * subject.dtype.itemsize,
        "disk_bytes": subject.disk_bytes,
        "facts": dict(subject.facts),
        "warnings": subject.warnings,
        "choice": subject.choice,
    }


def _sample_json(sample: Sample) -> dict[str, Any]:
    return {
        "share": sample.share,
        "boxes": len(sample.boxes),
        "window": sample.window,
        "sections": sample.sections,
    }


def _plain(value: Any) -> Any:
    """What JSON can hold: text keys, and null for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

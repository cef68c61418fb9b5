"""What ``run`` would do with a volume that was looked at, and what has to be typed for it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.config import load_config
from pipeline.contract import VolumeInfo
from pipeline.errors import InputError, PipelineError
from pipeline.store import is_output
from pipeline.store.importers.conversion import conversion
from pipeline.store.place import Place
from pipeline.store.units import HINT
from workflows.checks import check_disk, check_memory, check_permission
from workflows.cluster import Workplace
from workflows.forecast import Foreseen, fitting_preset, foresee
from workflows.prepare import prepare
from workflows.source import Source
from workflows.subject import Question, Subject, without_path
from workflows.voxel_size_checks import check_voxel_size
from workflows.voxel_values import LABELS, MASK, NOTHING, Values

SHOWN_SIZE = "Z,Y,X"
"""In a command, where the voxel size must be filled in."""


@dataclass(frozen=True)
class Outlook:
    """What can be done with a volume.

    Parameters
    ----------
    use
        ``run``, or for ids and masks what they are used as: ``labels``, ``mask``.
    commands
        To type, in order; capitals are to be filled in.
    problems
        What would stop them as things are, with the way out.
    remarks
        Sentences that do not stop anything.
    foreseen
        Of ``run``; ``None`` where too little is known.
    preset
        That was made for such a voxel size, if any.
    """

    use: Literal["run", "labels", "mask"]
    commands: tuple[str, ...]
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    foreseen: Foreseen | None = None
    preset: str | None = None


def outlook(
    subject: Subject,
    question: Question,
    place: Place | None,
    output: Path | None,
    values: Values | None,
) -> Outlook:
    """What to do with a volume.

    Parameters
    ----------
    subject
        The volume.
    question
        As the user asked.
    place
        Of a zarr.
    output
        Where its run would write by default.
    values
        Of a sample; ``None`` if no voxel was looked at.
    """
    looks_like = "" if values is None else values.looks_like
    if looks_like in (LABELS, MASK) or (subject.dtype.kind in "iu" and _wide(subject)):
        return _of_labels(subject, question, mask=looks_like == MASK)
    if subject.is_zarr and place is not None and output is not None:
        ahead = _of_zarr(subject, question, place, output)
    else:
        ahead = _of_foreign(subject, question)
    found = [] if values is None else list(_content_problems(values))
    return replace(ahead, problems=(*ahead.problems, *found))


def _content_problems(values: Values) -> Iterator[str]:
    """What ``run`` would find after a while."""
    if values.nan or values.infinite:
        yield "holds NaN or infinite values; replace them first, for example by 0"
    if values.looks_like == NOTHING:
        yield "all voxels that were looked at are equal; nothing to segment"


def _of_zarr(subject: Subject, question: Question, place: Place, output: Path) -> Outlook:
    """A run as it would be prepared; its errors are the problems."""
    problems: list[str] = []
    remarks: list[str] = []
    if subject.choice:
        problems.append(subject.choice)
    source = Source(
        place,
        question.level,
        question.voxel_size_nm,
        None,
        None,
        *_chosen(subject, question),
    )
    if isinstance(subject.voxel_size_nm, str):
        source = replace(source, voxel_size_nm=(1.0, 1.0, 1.0))
        problems.append(f"{subject.voxel_size_nm}; {HINT}")
    config, foreseen, size = load_config(None), None, subject.voxel_size_nm
    try:
        if isinstance(size, str):
            source.open()
        else:
            run = prepare(source, config, output, write=False)
            block_shape = run.output.block_shape
            foreseen = foresee(run.volume.info, config, run.volume.level, block_shape)
            size = run.volume.voxel_size_nm
            remarks += [one.text.removeprefix("voxel size: ") for one in check_voxel_size(run)]
            _add_machine(foreseen, output, problems, remarks)
            if is_output(output):
                remarks.append(
                    f"{output} holds an earlier run of it; see python -m pipeline status {output}"
                )
    except PipelineError as error:
        problems.append(without_path(str(error), subject.path))
    options = _options(subject, question, ("channel", "time"))
    if question.level is not None:
        options.append(f"--level {question.level}")
    options += [f"--storage-option {k}={v}" for k, v in question.options.given().items()]
    command = " ".join(["python -m pipeline run", shlex.quote(str(place)), *options])
    preset = None if isinstance(size, str) else fitting_preset(size)
    return Outlook("run", (command,), tuple(problems), tuple(remarks), foreseen, preset)


def _of_foreign(subject: Subject, question: Question) -> Outlook:
    """The import that makes it a zarr, then the run."""
    problems = [subject.choice] if subject.choice else []
    dtype = subject.dtype.name
    remarks: list[str] = []
    try:
        converted = conversion(subject.path, subject.dtype)
        dtype = converted.dtype
        remarks += [converted.note] if converted.note else []
    except InputError as error:
        problems.append(without_path(str(error), subject.path))
    size, name = subject.voxel_size_nm, _zarr_name(question)
    foreseen = None
    if isinstance(size, str):
        problems.append(f"{size}; {HINT}")
    else:
        try:
            foreseen = foresee(VolumeInfo(subject.shape, size, dtype), load_config(None))
            _add_machine(foreseen, Path(name), problems, remarks)
        except PipelineError as error:
            problems.append(str(error))
    return Outlook(
        "run",
        (_import_command(subject, question, name), f"python -m pipeline run {shlex.quote(name)}"),
        tuple(problems),
        tuple(remarks),
        foreseen,
        None if isinstance(size, str) else fitting_preset(size),
    )


def _add_machine(foreseen: Foreseen, output: Path, problems: list[str], remarks: list[str]) -> None:
    """What speaks against a run on this machine; nothing, if all is fine."""
    for finding in (
        check_permission(output),
        check_disk(output, foreseen.disk_bytes),
        *check_memory(Workplace(), foreseen.memory_bytes),
    ):
        if finding.kind != "fine":
            (problems if finding.kind == "error" else remarks).append(finding.text)


def _of_labels(subject: Subject, question: Question, *, mask: bool) -> Outlook:
    """Ids and masks go beside grey values."""
    name, commands = subject.path, []
    if not subject.is_zarr and not (mask and _is_tiff(subject)):
        name = _zarr_name(question)
        commands.append(f"{_import_command(subject, question, name)} --labels")
    shown = shlex.quote(name)
    if mask:
        commands.append(f"python -m pipeline run VOLUME.zarr --mask {shown}")
        return Outlook("mask", tuple(commands), (subject.choice,) if subject.choice else ())
    commands.append(f"python -m pipeline evaluate OUTPUT.neurons.zarr {shown}")
    return Outlook("labels", tuple(commands), (subject.choice,) if subject.choice else ())


def _is_tiff(subject: Subject) -> bool:
    return subject.path.lower().endswith((".tif", ".tiff"))


def _wide(subject: Subject) -> bool:
    """Whether integers have more bits than grey values ever have."""
    return subject.dtype.itemsize > 4


def _chosen(subject: Subject, question: Question) -> tuple[int | None, int | None]:
    """Channel and time point; the first where it is still open which."""
    return (
        0 if "--channel" in subject.choice and question.channel is None else question.channel,
        0 if "--time" in subject.choice and question.time is None else question.time,
    )


def _import_command(subject: Subject, question: Question, name: str) -> str:
    words = ["python -m pipeline import", shlex.quote(question.path), shlex.quote(name)]
    words += [f"--dataset {shlex.quote(question.dataset)}"] if question.dataset else []
    words += [f"--axes {question.axes}"] if question.axes else []
    words += [f"--level {question.level}"] if question.level else []
    return " ".join([*words, *_options(subject, question, ("channel", "time"))])


def _options(subject: Subject, question: Question, names: tuple[str, ...]) -> list[str]:
    """Options as they were given, and in capitals what must be filled in."""
    words = []
    for name in names:
        given = getattr(question, name)
        if given is not None:
            words.append(f"--{name} {given}")
        elif f"--{name}" in subject.choice:
            words.append(f"--{name} {name.upper()}")
    if question.voxel_size_nm is not None:
        words.append("--voxel-size " + ",".join(f"{edge:g}" for edge in question.voxel_size_nm))
    elif isinstance(subject.voxel_size_nm, str):
        words.append(f"--voxel-size {SHOWN_SIZE}")
    return words


def _zarr_name(question: Question) -> str:
    """A name for the imported volume, in the folder one is in."""
    text = question.path.rstrip("/")
    last = re.split(r"[/:]", question.dataset or text)[-1] or "volume"
    stem = re.sub(r"\.(tiff?|nii|gz|png|h5|hdf5?|mrc|npy|n5|conf)$", "", last, flags=re.IGNORECASE)
    return f"{stem.removesuffix('.nii') or 'volume'}.zarr"

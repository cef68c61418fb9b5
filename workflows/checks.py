"""What can go wrong with the machine, found before hours are spent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from pipeline.errors import ResourceError
from workflows.cluster import Workplace
from workflows.machine import available_cores
from workflows.memory import machine_bytes
from workflows.quantities import size

TOO_LITTLE = 0.1
"""Of the disk that is needed: with less than this share free, a run does not start."""
SLACK = 1.1
"""Of the machine's memory: what is counted exceeds what is used, so a little more may be asked."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    kind
        ``fine``, ``warning``, or ``error``: a run would not start.
    text
        For people.
    """

    kind: Literal["fine", "warning", "error"]
    text: str


def check_disk(output: Path, needed: float, free: int | None = None) -> Finding:
    """Whether what is still to be written fits.

    Parameters
    ----------
    output
        Where it goes; need not exist.
    needed
        Bytes, estimated.
    free
        Bytes; by default those of the file system.
    """
    folder = existing_folder(output)
    free = psutil.disk_usage(str(folder)).free if free is None else free
    text = f"disk: about {size(needed)} needed, {size(free)} free at {folder}"
    if free < needed * TOO_LITTLE:
        return Finding("error", f"{text}: far too little; make room, or give another --output")
    if free < needed:
        return Finding("warning", f"{text}: too little, if the estimate is right")
    return Finding("fine", text)


def check_permission(output: Path) -> Finding:
    """Whether the output can be written."""
    folder = existing_folder(output)
    if os.access(folder, os.W_OK | os.X_OK):
        return Finding("fine", f"permission: {folder} can be written")
    return Finding("error", f"permission: {folder} cannot be written; give another --output")


def check_memory(workplace: Workplace, needed: int) -> list[Finding]:
    """Whether the workers' memory is there; of other machines nothing is known.

    Parameters
    ----------
    workplace
        Where the run is to work.
    needed
        Bytes of one worker, estimated.
    """
    findings = []
    limit = workplace.task_bytes()
    if limit is not None and needed > limit:
        text = f"memory: blocks need about {size(needed)}, a worker may use {size(limit)}"
        findings.append(Finding("error", f"{text}; give more --memory, or another --output"))
    if workplace.scheduler is not None or workplace.cluster is not None:
        return [*findings, Finding("fine", f"memory: about {size(needed)} for a block, no more")]
    asked = workplace.workers * (workplace.memory_bytes or needed * workplace.threads)
    total, free = machine_bytes(), psutil.virtual_memory().available
    each = f"{size(asked / workplace.workers)}"
    text = (
        f"memory: {workplace.workers} workers of {each}"
        if workplace.workers > 1
        else f"memory: {each}"
    )
    text = f"{text}, this machine has {size(total)}"
    if asked > SLACK * total:
        kind: Literal["warning", "error"] = "error" if workplace.memory_bytes else "warning"
        advice = "give fewer --workers or less --memory"
        return [*findings, Finding(kind, f"{text}: too little; {advice}")]
    if asked > free:
        return [*findings, Finding("warning", f"{text}, of which only {size(free)} are free now")]
    return [*findings, Finding("fine", text)]


def check_cores(workplace: Workplace) -> Finding:
    """Whether there is a core for each local worker."""
    cores, workers = available_cores(), workplace.workers * workplace.threads
    if workplace.scheduler is not None or workplace.cluster is not None:
        return Finding("fine", "cores: those of the cluster")
    if workers > cores:
        return Finding("warning", f"cores: {workers} workers, but only {cores} to use")
    return Finding("fine", f"cores: {cores}, {cores // workers} for each worker")


def refuse(findings: Sequence[Finding]) -> None:
    """Raise the first error.

    Raises
    ------
    ResourceError
        If there is one.
    """
    for one in findings:
        if one.kind == "error":
            raise ResourceError(one.text)


def existing_folder(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path

"""What an output of this program holds, in a few lines; ``status`` says all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.contract import Triple
from pipeline.errors import InputError, PipelineError
from pipeline.registry import STAGES
from pipeline.store import Output
from pipeline.store.array_facts import ArrayFacts, array_facts
from pipeline.store.layout import Nanometres, group_path
from pipeline.store.source import find_source
from workflows.prepare import reopen
from workflows.status import status


@dataclass(frozen=True)
class OutputArray:
    """One volume of an output.

    Parameters
    ----------
    name
        Between stages.
    path
        Relative to the output; empty: the output's own image.
    kind
        ``image`` or ``labels``.
    facts
        Of its finest level.
    """

    name: str
    path: str
    kind: str
    facts: ArrayFacts


@dataclass(frozen=True)
class OutputFacts:
    """An output.

    Parameters
    ----------
    path
        Of the store.
    shape, voxel_size_nm
        zyx, of the volume that was segmented.
    block_shape
        zyx, in voxels: a file.
    input
        Path or address of that volume; empty: it was never noted.
    state
        One line.
    finished
        Whether every stage is done and current; ``None``: it cannot be told.
    arrays
        Those that are there.
    """

    path: str
    shape: Triple
    voxel_size_nm: Nanometres
    block_shape: Triple
    input: str
    state: str
    finished: bool | None
    arrays: tuple[OutputArray, ...]


def output_facts(path: Path) -> OutputFacts:
    """Look at an output; nothing is locked, so a run may be at work on it.

    Raises
    ------
    PipelineError
        If its metadata are damaged.
    """
    store = Output.open(path)
    identity = store.attributes.get("input")
    source = identity.get("path", "") if isinstance(identity, dict) else ""
    state, finished = _state(path)
    return OutputFacts(
        path=str(path),
        shape=store.shape,
        voxel_size_nm=store.voxel_size_nm,
        block_shape=store.block_shape,
        input=str(source),
        state=state,
        finished=finished,
        arrays=tuple(_arrays(path)),
    )


def _state(path: Path) -> tuple[str, bool | None]:
    try:
        stages = status(reopen(path))
    except PipelineError as error:
        return f"its state cannot be told: {error}", None
    counts = Counter(one.state for one in stages)
    if counts["done"] == len(stages):
        return f"finished: all {len(stages)} stages are done", True
    parts = [f"{counts['done']} of {len(stages)} stages are done"]
    for one in stages:
        if one.state == "unfinished":
            blocks = f" ({one.blocks_done} of {one.blocks} blocks)" if one.blocks else ""
            parts.append(f"{one.stage} is unfinished{blocks}")
        elif one.state == "stale":
            parts.append(f"{one.stage} is stale")
    return "; ".join(parts), False


def _arrays(path: Path) -> list[OutputArray]:
    found = []
    for spec in (array for stage in STAGES for array in stage.arrays):
        place = group_path(spec.name)
        try:
            facts = array_facts(find_source(path / place))
        except InputError:  # its stage has not begun
            continue
        found.append(OutputArray(spec.name, place, spec.kind, facts))
    return found

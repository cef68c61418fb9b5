"""Whether what is to be scored was learned from by the networks and forests that made it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import LeakageError
from pipeline.marks import Marks, section_marks
from workflows.training_record import (
    Learned,
    Range,
    TrainingRecord,
    as_ranges,
    as_text,
    read_record,
)

LOG = logging.getLogger(__name__)

SEEN = "seen in training"
"""How scores of such sections are marked."""


@dataclass(frozen=True)
class Seen:
    """Scored sections that a model learned from.

    Parameters
    ----------
    model
        Name of its file.
    volume
        As its training named it.
    learned
        Sections of that volume that it learned from.
    sections
        Scored sections that were recognised; all that were scored, if only together they are
        large enough to be.
    share
        Of their marks, 0..1: how much of these sections was learned from.
    through
        Files of the models through which it was learned from; empty: by its own training.
    """

    model: str
    volume: str
    learned: tuple[Range, ...]
    sections: tuple[Range, ...]
    share: float
    through: str = ""

    def __str__(self) -> str:
        by = f", through {self.through}" if self.through else ""
        return (
            f"sections {as_text(self.sections)} ({self.share:.0%} of them) are of {self.volume} "
            f"{as_text(self.learned)}, from which {self.model} learned{by}"
        )


@dataclass(frozen=True)
class Verdict:
    """What is known of the sections that are scored.

    Parameters
    ----------
    seen
        Those that were learned from; none: nothing that is scored was recognised.
    unknown
        Why it cannot be told for all of them, a phrase each; none: it was told.
    """

    seen: tuple[Seen, ...] = ()
    unknown: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``seen_in_training`` of the scores."""
        return asdict(self)

    def as_text(self) -> str:
        """Lines that stand before scores of what was seen; empty if nothing was."""
        return "".join(f"{SEEN}: {one}\n" for one in self.seen)


def require_unseen(
    raw: NDArray[Any], models: Sequence[Path], *, what: str, allow: bool = False, first: int = 0
) -> tuple[Seen, ...]:
    """Refuse to score sections that a model learned from.

    Parameters
    ----------
    raw
        (Z, Y, X) grey values that are about to be scored.
    models
        Files of networks and forests.
    what
        Name of the volume, for messages.
    allow
        Return what was seen, so that the caller marks the scores, instead of refusing.
    first
        Number of the first section, for messages.

    Returns
    -------
    seen
        Empty if nothing was recognised; a warning says where that cannot be told.

    Raises
    ------
    LeakageError
        If a section was learned from, unless ``allow``; names model, volume and sections.
    ModelError
        If a model file or its record is damaged.
    """
    records = [(path.name, read_record(path)) for path in dict.fromkeys(map(Path, models))]
    verdict = compared(records, marked(enumerate(raw, first)))
    return settled(verdict, what=what, allow=allow)


def settled(verdict: Verdict, *, what: str, allow: bool) -> tuple[Seen, ...]:
    """Say what is known; refuse what was seen unless it is allowed.

    Raises
    ------
    LeakageError
        If something was seen, unless ``allow``.
    """
    for phrase in verdict.unknown:
        LOG.warning("%s: whether it was learned from cannot be told: %s", what, phrase)
    if verdict.seen and not allow:
        raise LeakageError(
            f"{what}: scores of what a model learned from say nothing: "
            f"{'; '.join(map(str, verdict.seen))}. Score other sections, or give --allow-seen to "
            f"get these scores, marked as {SEEN}"
        )
    for one in verdict.seen:
        LOG.warning("%s: %s: %s", what, SEEN, one)
    return verdict.seen


def marked(sections: Iterable[tuple[int, NDArray[Any]]]) -> Iterable[tuple[int, Marks]]:
    """Marks of numbered sections, one after the other."""
    return ((z, section_marks(section)) for z, section in sections)


def compared(
    records: Sequence[tuple[str, TrainingRecord]], sections: Iterable[tuple[int, Marks]]
) -> Verdict:
    """What models learned from, among the sections that are scored.

    Parameters
    ----------
    records
        Name of each model and its record.
    sections
        Number and marks of each scored section; read once.
    """
    entries = [(name, one) for name, record in records for one in record.learned]
    numbers, counts = [], []
    for z, asked in sections:
        numbers.append(z)
        counts.append([one.content.found(asked) for _, one in entries])
    table = np.array(counts, np.int64).reshape(len(numbers), len(entries), 2)
    seen = [_seen(name, one, numbers, table[:, n]) for n, (name, one) in enumerate(entries)]
    unknown = [phrase for _, record in records for phrase in record.unknown]
    if any(_too_few(one, table[:, n]) for n, (_, one) in enumerate(entries)):
        unknown.append("what is scored, or what was learned from, is too small or blank")
    return Verdict(tuple(one for one in seen if one), tuple(dict.fromkeys(unknown)))


def _seen(
    model: str, one: Learned, numbers: Sequence[int], counts: NDArray[np.int64]
) -> Seen | None:
    """What a model learned from one volume, among sections with (possible, found) marks."""
    rows = [n for n, row in enumerate(counts.tolist()) if one.content.recognised(*row)]
    if not rows and not one.content.recognised(*counts.sum(axis=0).tolist()):
        return None
    # beside sections that are recognised, small ones of which half is known are no chance
    half = np.flatnonzero((counts[:, 1] > 0) & (2 * counts[:, 1] >= counts[:, 0])).tolist()
    rows = sorted({*rows, *half}) or list(range(len(numbers)))
    possible, found = (int(n) for n in counts[rows].sum(axis=0))
    sections = as_ranges(numbers[n] for n in rows)
    return Seen(model, one.name, one.sections, sections, found / possible, one.through)


def _too_few(one: Learned, counts: NDArray[np.int64]) -> bool:
    """Whether even sections that were learned from would not be recognised."""
    possible = int(counts[:, 0].sum())
    return not one.content.recognised(possible, possible)

"""What people are told of tasks that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pipeline.errors
from pipeline.errors import BlockError, PipelineError
from workflows.attempts import DIED, Failure, Failures

SHOWN = 5

OURS: Mapping[str, type[PipelineError]] = {
    name: kind
    for name, kind in vars(pipeline.errors).items()
    if isinstance(kind, type) and issubclass(kind, PipelineError)
}
"""Errors with a message for people, by name."""


def error_of(failures: Sequence[Failure]) -> type[PipelineError]:
    """The class that all failures share, if it is one of ours."""
    kinds = {failure.kind for failure in failures}
    return OURS.get(kinds.pop(), BlockError) if len(kinds) == 1 else BlockError


def described(failures: Failures) -> str:
    """How many failed, and why the first ones did."""
    rest = f"{failures.untried} more not tried" if failures.untried else "all others are done"
    number = f"{len(failures)} task{'s' if len(failures) > 1 else ''}"
    return f"{number} failed, {rest}: {'; '.join(_line(failure) for failure in failures[:SHOWN])}"


def _line(failure: Failure) -> str:
    ours = failure.kind in OURS or failure.kind == DIED
    told = failure.message if ours else f"{failure.kind}: {failure.message}"
    return f"{failure.name} ({failure.attempts} attempts): {told}"

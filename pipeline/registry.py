"""The whole pipeline, in order."""

from __future__ import annotations

from pipeline import (
    edges,
    features,
    foreground,
    graph,
    labels,
    lifted,
    multicut,
    normalisation,
    sections,
    superpixels,
)
from pipeline.boundaries import stage as boundaries
from pipeline.contract import Stage

STAGES: tuple[Stage, ...] = (
    normalisation.STAGE,
    sections.STAGE,
    foreground.STAGE,
    boundaries.STAGE,
    superpixels.STAGE,
    graph.STAGE,
    features.STAGE,
    edges.STAGE,
    lifted.STAGE,
    multicut.STAGE,
    labels.STAGE,
)

GIVEN_VOLUMES = ("raw", "mask")
"""Volumes that come from the user; ``mask`` only where the user gives one."""


def stage(name: str) -> Stage:
    """The stage of that name."""
    return next(s for s in STAGES if s.name == name)


def inputs_of(later: Stage) -> tuple[Stage, ...]:
    """The earlier stages whose output a stage reads."""
    earlier = STAGES[: STAGES.index(later)]
    return tuple(s for s in earlier if {w.name for w in s.writes} & set(later.reads))


def columns_before(later: Stage, table: str) -> tuple[str, ...]:
    """Columns of a table that exist before a stage runs."""
    earlier = STAGES[: STAGES.index(later)]
    return tuple(c for s in earlier for t in s.tables if t.name == table for c in t.columns)

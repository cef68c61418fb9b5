"""The passes of a stage: which tasks may run at the same time, and in which order passes follow."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contract import BLOCKS, Stage, Step


@dataclass(frozen=True)
class Pass:
    """Tasks that may run at the same time.

    Parameters
    ----------
    name
        Its done marks are kept under it.
    step
        Of a step.
    array, level
        Of a level of a pyramid; level 0: the pyramid is finished, there are no tasks.
    """

    name: str
    step: Step | None = None
    array: str = ""
    level: int = 0


def passes(stage: Stage, levels: int) -> list[Pass]:
    """Passes of a stage, in order.

    Parameters
    ----------
    stage
        The stage.
    levels
        Coarser levels of every pyramid.
    """
    found = [Pass(step.name, step) for step in stage.before]
    if stage.compute:
        found.append(Pass(BLOCKS))
    for spec in stage.arrays:
        names = [(f"{spec.name}-{level}", level) for level in range(1, levels + 1)]
        found += [Pass(name, None, spec.name, level) for name, level in names]
        found.append(Pass(f"{spec.name}-pyramid", None, spec.name, 0))
    return found + [Pass(step.name, step) for step in stage.after]

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
    at_input
        Of the copy of the array on the input's finest grid: its name.
    """

    name: str
    step: Step | None = None
    array: str = ""
    level: int = 0
    at_input: str = ""


def passes(stage: Stage, levels: int, *, at_input: bool = False) -> list[Pass]:
    """Passes of a stage, in order.

    Parameters
    ----------
    stage
        The stage.
    levels
        Coarser levels of every pyramid.
    at_input
        Whether labels are written on the input's finest grid, too.
    """
    found = [Pass(step.name, step) for step in stage.before]
    if stage.compute:
        found.append(Pass(BLOCKS))
    for spec in stage.arrays:
        names = [(f"{spec.name}-{level}", level) for level in range(1, levels + 1)]
        found += [Pass(name, None, spec.name, level) for name, level in names]
        found.append(Pass(f"{spec.name}-pyramid", None, spec.name, 0))
        if at_input and spec.at_input:
            found.append(Pass(spec.at_input, None, spec.name, 0, spec.at_input))
    return found + [Pass(step.name, step) for step in stage.after]

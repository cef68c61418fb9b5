"""What may be wrong with the sections above and below the one that is predicted.

After Lee et al., "Superhuman accuracy on the SNEMI3D connectomics challenge", 2017: missing and
misaligned sections. Sections that stand alone have no such defects, and nothing is drawn for
them. The middle section stays, for it is what the target shows.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class SectionDefects(BaseModel):
    """How often neighbouring sections are missing or misaligned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    missing_probability: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Chance that a neighbouring section is missing (networks with context).",
    )
    misaligned_probability: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Chance that neighbouring sections are displaced (networks with context).",
    )
    misaligned_pixels: float = Field(
        8.0, ge=0, description="Largest displacement of neighbouring sections, in pixels."
    )


def displaced_sections(
    count: int, config: SectionDefects, generator: torch.Generator
) -> Tensor | None:
    """How far each section lies from where it should.

    Either one section slipped, or all from one on to the end of the stack moved together, each
    as often.

    Parameters
    ----------
    count
        Sections of the stack, an odd number.
    config
        How often and how far.
    generator
        Of all that is random.

    Returns
    -------
    shifts
        (count, 2) float32 x, y in pixels; ``None``: all lie where they should.
    """
    middle = count // 2
    if middle == 0 or not _happens(config.misaligned_probability, generator):
        return None
    place, beyond = _neighbour(middle, generator), _happens(0.5, generator)
    shift = (2 * torch.rand(2, generator=generator) - 1) * config.misaligned_pixels
    shifts = torch.zeros(count, 2)
    if not beyond:
        shifts[place] = shift
    elif place < middle:
        shifts[: place + 1] = shift
    else:
        shifts[place:] = shift
    return shifts


def with_missing_section(
    stack: Tensor, config: SectionDefects, generator: torch.Generator
) -> Tensor:
    """The stack without one of its sections, now and then.

    In its place is black, or, as a run bridges missing sections, what lies next to it towards
    the middle; each as often.

    Parameters
    ----------
    stack
        (count, H, W) float32.
    config, generator
        See ``displaced_sections``.

    Returns
    -------
    stack
        Another tensor where a section is missing.
    """
    middle = len(stack) // 2
    if middle == 0 or not _happens(config.missing_probability, generator):
        return stack
    place, black = _neighbour(middle, generator), _happens(0.5, generator)
    stack = stack.clone()
    stack[place] = 0 if black else stack[place + (1 if place < middle else -1)]
    return stack


def _happens(probability: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < probability


def _neighbour(middle: int, generator: torch.Generator) -> int:
    """Any section but the middle one."""
    drawn = int(torch.randint(2 * middle, (), generator=generator))
    return drawn + (drawn >= middle)

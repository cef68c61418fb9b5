"""Learning rates: a linear warm-up, then a schedule by name.

What a schedule knows of the validations is ``Watched``, which a checkpoint keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ScheduleName = Literal["cosine", "constant", "plateau"]


class ScheduleConfig(BaseModel):
    """Learning rate over the steps of a training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(10_000, ge=1, description="Number of optimiser steps.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate.")
    warmup_steps: int = Field(
        200, ge=1, description="Steps of linear warm-up; 1 = none, the first has the peak rate."
    )
    schedule: ScheduleName = Field(
        "cosine",
        description="After the warm-up: cosine to 1 % of the peak, constant, or reduced where "
        "validation no longer improves (plateau).",
    )
    plateau_factor: float = Field(
        0.7, gt=0, lt=1, description="Of the learning rate at each reduction (plateau)."
    )
    plateau_patience: int = Field(
        3, ge=1, description="Validations without improvement until it is reduced (plateau)."
    )


@dataclass
class Watched:
    """What a training knows of its validations.

    Parameters
    ----------
    best
        The lowest value yet; ``None``: there was no validation.
    best_step
        After which it was found.
    since_best
        Validations since then.
    since_reduced
        Validations since then or since the last reduction of the learning rate.
    reductions
        How often the learning rate was reduced.
    """

    best: float | None = None
    best_step: int = 0
    since_best: int = 0
    since_reduced: int = 0
    reductions: int = 0

    def see(self, value: float, step: int, config: ScheduleConfig) -> bool:
        """Take note of a validation; whether it is the best yet.

        Parameters
        ----------
        value
            The lower, the better.
        step
            Steps that were made.
        config
            Its patience.
        """
        if self.best is None or value < self.best:
            self.best, self.best_step = value, step
            self.since_best = self.since_reduced = 0
            return True
        self.since_best += 1
        self.since_reduced += 1
        if self.since_reduced >= config.plateau_patience:
            self.since_reduced = 0
            self.reductions += 1
        return False


def cosine(step: int, config: ScheduleConfig, watched: Watched) -> float:
    """A cosine from 1 to 0.01."""
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def constant(step: int, config: ScheduleConfig, watched: Watched) -> float:
    """1 throughout."""
    return 1.0


def plateau(step: int, config: ScheduleConfig, watched: Watched) -> float:
    """As often reduced as validations did not improve for ``plateau_patience``."""
    return config.plateau_factor**watched.reductions


SCHEDULES: dict[ScheduleName, Callable[[int, ScheduleConfig, Watched], float]] = {
    "cosine": cosine,
    "constant": constant,
    "plateau": plateau,
}


def learning_rate(step: int, config: ScheduleConfig, watched: Watched | None = None) -> float:
    """Of a step, counted from 0.

    >>> config = ScheduleConfig(learning_rate=1, warmup_steps=4, schedule="constant")
    >>> [learning_rate(step, config) for step in (0, 1, 3, 4, 5)]
    [0.25, 0.5, 1.0, 1.0, 1.0]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = SCHEDULES[config.schedule](step, config, watched or Watched())
    return config.learning_rate * share

"""The validations of a training, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.training.config import TrainingConfig
from pipeline.training.schedules import Watched
from pipeline.training.validation import Validation


class Entry(NamedTuple):
    """A validation.

    Parameters
    ----------
    step
        Steps that were made.
    loss, v_rand
        See ``Validation``.
    """

    step: int
    loss: float
    v_rand: float | None


@dataclass
class History:
    """All validations; a training that goes on adds those of its checkpoint again.

    Parameters
    ----------
    config
        What is watched, and how patiently.
    entries
        In their order.
    watched
        What the learning rate depends on.
    """

    config: TrainingConfig
    entries: list[Entry] = field(default_factory=list)
    watched: Watched = field(default_factory=Watched)

    def add(self, step: int, found: Validation) -> bool:
        """Take note of a validation; whether it is the best yet."""
        self.entries.append(Entry(step, found.loss, found.v_rand))
        value = found.loss
        if self.config.validation.watch == "v_rand":
            value = 1.0 if found.v_rand is None else 1 - found.v_rand
        return self.watched.see(value, step, self.config)

    @property
    def best(self) -> Entry | None:
        """The best one; ``None``: there is none."""
        return next((e for e in self.entries if e.step == self.watched.best_step), None)

    @property
    def is_over(self) -> bool:
        """Whether validation did not improve for longer than is waited."""
        patience = self.config.validation.patience
        return patience is not None and self.watched.since_best >= patience

    @property
    def sentence(self) -> str:
        """The last validation, for a progress bar; empty if there is none."""
        if not self.entries or self.best is None:
            return ""
        last = self.entries[-1]
        words = f", validation {last.loss:.4f} (best {self.best.loss:.4f})"
        if last.v_rand is None:
            return words
        best = max(e.v_rand for e in self.entries if e.v_rand is not None)
        return f"{words}, V_rand {last.v_rand:.4f} (best {best:.4f})"

"""The training loop: seeded by step, resumable at any step, weights averaged, validated.

Every random choice of step *n* comes from a generator seeded by (seed, n), so a training
that was killed and started again draws the same crops as one that was not. What depends on
validations (learning rate, best weights, an early end) follows from what the checkpoint keeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.boundaries.device import autocast, place
from pipeline.boundaries.networks import NETWORKS
from pipeline.errors import ConfigError, ModelError
from pipeline.training.config import TrainingConfig
from pipeline.training.crops import draw, generator_of
from pipeline.training.history import History
from pipeline.training.losses import LOSSES
from pipeline.training.prefetch import drawn_ahead
from pipeline.training.schedules import learning_rate
from pipeline.training.validation import Validation, validated, whole_sections
from pipeline.training.volumes import TrainingVolume

DRAWING_THREADS = 8
"""Most threads that draw crops for a CUDA device."""
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
}
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Progress:
    """State of a training, for a progress bar or a log.

    Parameters
    ----------
    step, steps
        That were made, and that will be made at most.
    loss
        Of this step.
    learning_rate
        Of this step.
    validation
        After this step; ``None``: there was none.
    improved
        Whether that was the best yet.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    validation: Validation | None = None
    improved: bool = False


class Training:
    """A training in progress; ``run`` goes on from the last checkpoint.

    Parameters
    ----------
    volumes
        What to learn from.
    config
        Its parameters.
    checkpoint
        File of the resumable state; written atomically.
    device
        A torch device name.
    start
        Weights to start from when there is no checkpoint (fine-tuning).
    held_out
        What to validate on.
    drawing_threads
        Threads that draw crops ahead of the steps; ``None``: some on a CUDA device, which they
        must not keep waiting, and none on a CPU, which they would only share. They change no
        result.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        config: TrainingConfig,
        checkpoint: Path,
        device: str = "cpu",
        start: dict[str, Tensor] | None = None,
        held_out: Sequence[TrainingVolume] = (),
        drawing_threads: int | None = None,
    ) -> None:
        if not volumes:
            raise ConfigError("nothing to train on: the list of volumes is empty")
        if config.schedule == "plateau" and not held_out:
            raise ConfigError(
                "schedule: plateau needs sections to validate on; give validation.share"
            )
        self.volumes, self.config, self.checkpoint, self.device = (
            volumes,
            config,
            checkpoint,
            device,
        )
        torch.manual_seed(config.seed)
        self.network = self._network()
        if start is not None:
            self._start_from(start)
        self.average = self._network()
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = OPTIMISERS[config.optimiser](
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.held_out = [whole_sections(volume, config) for volume in held_out]
        self.drawing_threads = threads_for(device) if drawing_threads is None else drawing_threads
        self.history = History(config)
        self.best: dict[str, Tensor] | None = None
        self.step = 0
        if checkpoint.exists():
            self._load()

    @property
    def ended(self) -> bool:
        """Whether all steps are made, or validation did not improve for too long."""
        return self.history.is_over or self.step >= self.config.steps

    @property
    def result(self) -> nn.Module:
        """The averaged network, in evaluation mode: that of the best validation, or the last."""
        if self.best is None or self.config.validation.keep == "last":
            return self.average.eval()
        network = self._network()
        network.load_state_dict(self.best)
        return network.eval()

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Train, yielding after every step; checkpoint now and then and when ``stop()``."""
        batches = drawn_ahead(self._draw, self.step, self.config.steps, self.drawing_threads)
        with closing(batches):
            while not self.ended:
                rate = learning_rate(self.step, self.config, self.history.watched)
                loss = self._one_step(next(batches), rate)
                self.step += 1
                found, improved = self._validate()
                stopped = stop()
                if self.step % self.config.checkpoint_steps == 0 or self.ended or stopped:
                    self._save()
                yield Progress(self.step, self.config.steps, loss, rate, found, improved)
                if stopped:
                    return

    def _draw(self, step: int) -> Batch:
        raw, target, known = draw(self.volumes, self.config, step)
        if self.device.startswith("cuda"):
            return raw.pin_memory(), target.pin_memory(), known.pin_memory()
        return raw, target, known

    def _one_step(self, batch: Batch, rate: float) -> float:
        raw, target, known = (t.to(self.device, non_blocking=True) for t in batch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(int(generator_of(self.config.seed, self.step).initial_seed()))
        self.network.train()
        with autocast(self.device, "auto"):
            logits = self.network(raw.contiguous(memory_format=torch.channels_last))
        loss = LOSSES[self.config.loss](logits, target, known, self.config)
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss became {float(loss.detach())} at step {self.step}; lower learning_rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_norm)
        self.optimizer.step()
        self._update_average()
        return float(loss.detach())

    def _validate(self) -> tuple[Validation | None, bool]:
        """What a validation finds if one is due, and whether it is the best yet."""
        every = self.config.validation.every_steps
        due = self.step % every == 0 or self.step == self.config.steps
        if not (self.held_out and due):
            return None, False
        self.average.eval()
        found = validated(self.average, self.held_out, self.config, self.device)
        improved = self.history.add(self.step, found)
        if improved:
            self.best = {k: t.detach().clone() for k, t in self.average.state_dict().items()}
        return found, improved

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        for kept, new in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if kept.dtype.is_floating_point:
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)

    def _network(self) -> nn.Module:
        shape = self.config.network
        return place(NETWORKS[shape.architecture].build(shape), self.device)

    def _save(self) -> None:
        state: dict[str, Any] = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": self.config.model_dump_json(),
        }
        if self.held_out:
            state["validations"] = [tuple(entry) for entry in self.history.entries]
            state["best"] = self.best
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.checkpoint.with_suffix(".partial")
        torch.save(state, temporary)
        os.replace(temporary, self.checkpoint)

    def _start_from(self, weights: dict[str, Tensor]) -> None:
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(
                "the network to start from has another shape than training.network "
                f"({' '.join(str(error).split())[:200]})"
            ) from error

    def _load(self) -> None:
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            written, step = str(state["config"]), int(state["step"])
        except Exception as error:  # whatever a damaged file makes torch raise
            raise self._damaged(error) from error
        if not self._is_ours(written):
            raise ConfigError(
                f"{self.checkpoint} was made with another configuration; give another output "
                "folder or remove it"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.held_out:
                for at, loss, v_rand in state["validations"]:
                    self.history.add(at, Validation(loss, v_rand))
                self.best = state["best"]
        except Exception as error:
            raise self._damaged(error) from error
        self.step = step

    def _is_ours(self, written: str) -> bool:
        try:
            return TrainingConfig.model_validate_json(written) == self.config
        except ValidationError:
            return False

    def _damaged(self, error: Exception) -> ModelError:
        return ModelError(
            f"{self.checkpoint}: not a readable checkpoint ({type(error).__name__}); remove it "
            "to start anew"
        )


def threads_for(device: str) -> int:
    """Threads that draw crops for a device."""
    if not device.startswith("cuda"):
        return 0
    return min(DRAWING_THREADS, torch.get_num_threads())

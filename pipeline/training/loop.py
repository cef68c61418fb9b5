"""The training loop: seeded by step, resumable at any step, weights averaged.

Every random choice of step *n* comes from a generator seeded by (seed, n), so a training
that was killed and started again draws the same crops as one that was not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.boundaries.device import autocast
from pipeline.boundaries.networks import NETWORKS
from pipeline.errors import ConfigError, ModelError
from pipeline.training.config import TrainingConfig
from pipeline.training.crops import TrainingVolume, draw, generator_of
from pipeline.training.losses import LOSSES


@dataclass(frozen=True)
class Progress:
    """State of a training, for a progress bar or a log."""

    step: int
    steps: int
    loss: float
    learning_rate: float


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


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
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        config: TrainingConfig,
        checkpoint: Path,
        device: str = "cpu",
        start: dict[str, Tensor] | None = None,
    ) -> None:
        if not volumes:
            raise ConfigError("nothing to train on: the list of volumes is empty")
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
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        if checkpoint.exists():
            self._load()

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Train, yielding after every step; checkpoint now and then and when ``stop()``."""
        loss_of = LOSSES[self.config.loss]
        while self.step < self.config.steps:
            loss = self._one_step(loss_of)
            self.step += 1
            ended = stop()
            if (
                self.step % self.config.checkpoint_steps == 0
                or self.step == self.config.steps
                or ended
            ):
                self._save()
            yield Progress(
                self.step, self.config.steps, loss, learning_rate(self.step - 1, self.config)
            )
            if ended:
                return

    def _one_step(self, loss_of: Callable[..., Tensor]) -> float:
        raw, target, known = (t.to(self.device) for t in draw(self.volumes, self.config, self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        torch.manual_seed(int(generator_of(self.config.seed, self.step).initial_seed()))
        self.network.train()
        with autocast(self.device, "auto"):
            logits = self.network(raw.to(memory_format=torch.channels_last))
        loss = loss_of(logits, target, known, self.config.boundary_weight)
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss became {float(loss.detach())} at step {self.step}; lower learning_rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_norm)
        self.optimizer.step()
        self._update_average()
        return float(loss.detach())

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
        network = NETWORKS[self.config.network.architecture](self.config.network.model_dump())
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _save(self) -> None:
        state: dict[str, Any] = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": self.config.model_dump_json(),
        }
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

"""The training loop: seeded by step, resumable at any step, weights averaged, validated.

Every random choice of step *n* comes from a generator seeded by (seed, n), so a training
that was killed and started again draws the same crops as one that was not. What depends on
validations (learning rate, best weights, an early end) follows from what the checkpoint keeps.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.boundaries.device import place
from pipeline.boundaries.networks import NETWORKS
from pipeline.errors import ConfigError, ModelError
from pipeline.training.averaging import WeightAverage
from pipeline.training.checkpoint import (
    State,
    all_finite,
    damaged,
    read_checkpoint,
    write_checkpoint,
)
from pipeline.training.config import TrainingConfig
from pipeline.training.crops import draw, generator_of
from pipeline.training.history import History
from pipeline.training.losses import LOSSES
from pipeline.training.memory import told_of_memory
from pipeline.training.precision import arithmetic, loss_scaler
from pipeline.training.prefetch import drawn_ahead
from pipeline.training.readback import STEPS_BEHIND, Losses
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
        Of this step; on a CUDA device of one some steps before, ``None``: it is not there yet.
    learning_rate
        Of this step.
    validation
        After this step; ``None``: there was none.
    improved
        Whether that was the best yet.
    """

    step: int
    steps: int
    loss: float | None
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
        Weights to start from when there is no checkpoint (fine-tuning); those that are not
        among them are new.
    held_out
        What to validate on.
    drawing_threads
        Threads that draw crops ahead of the steps; ``None``: some on a CUDA device, which they
        must not keep waiting, and none on a CPU, which they would only share. They change no
        result.
    steps_behind
        After which a loss is read; ``None``: some on a CUDA device, which would have to wait for
        it, and 0 on a CPU. They change no result.

    Raises
    ------
    ConfigError
        If there is nothing to learn from, or the checkpoint is of another configuration.
    ModelError
        If the checkpoint is damaged, or ``start`` does not fit.
    ResourceError
        If memory runs out.
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
        steps_behind: int | None = None,
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
        on_cuda = device.startswith("cuda")
        if on_cuda:
            torch.backends.cudnn.benchmark = True  # all crops have one size
        torch.manual_seed(config.seed)
        with told_of_memory(device):
            self.network = self._network()
            if start is not None:
                self._start_from(start)
            self.average = self._network()
        self.average.load_state_dict(self.network.state_dict())
        self._averaging = WeightAverage(self.average, self.network)
        self.optimizer = OPTIMISERS[config.optimiser](
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            **({"fused": True} if on_cuda else {}),
        )
        self.scaler = loss_scaler(config.precision, device)
        self.held_out = [whole_sections(volume, config) for volume in held_out]
        self.drawing_threads = threads_for(device) if drawing_threads is None else drawing_threads
        behind = STEPS_BEHIND if on_cuda else 0
        self._losses = Losses(behind if steps_behind is None else steps_behind)
        self.history = History(config)
        self.best: dict[str, Tensor] | None = None
        self.step = self.kept_steps = 0
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

    def run(self, stop: Callable[[], bool] = lambda: False) -> Generator[Progress]:
        """Train, yielding after every step; checkpoint now and then and when ``stop()``.

        Raises
        ------
        ModelError
            If losses or weights become NaN or infinite; the checkpoint is of before.
        ResourceError
            If memory runs out or the checkpoint cannot be written.
        """
        batches = drawn_ahead(self._draw, self.step, self.config.steps, self.drawing_threads)
        with closing(batches):
            while not self.ended:
                rate = learning_rate(self.step, self.config, self.history.watched)
                with told_of_memory(self.device):
                    loss = self._one_step(next(batches), rate)
                    self.step += 1
                    found, improved = self._validate()
                stopped = stop()
                if self.step % self.config.checkpoint_steps == 0 or self.ended or stopped:
                    loss = self._save(loss)
                yield Progress(self.step, self.config.steps, loss, rate, found, improved)
                if stopped:
                    return

    def _draw(self, step: int) -> Batch:
        raw, target, known = draw(self.volumes, self.config, step)
        if self.device.startswith("cuda"):
            return raw.pin_memory(), target.pin_memory(), known.pin_memory()
        return raw, target, known

    def _one_step(self, batch: Batch, rate: float) -> float | None:
        raw, target, known = (t.to(self.device, non_blocking=True) for t in batch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(int(generator_of(self.config.seed, self.step).initial_seed()))
        self.network.train()
        with arithmetic(self.config.precision, self.device):
            logits = self.network(raw.contiguous(memory_format=torch.channels_last))
        loss = LOSSES[self.config.loss](logits, target, known, self.config)
        last = None
        for step, last in self._losses.add(self.step, loss):
            self._check_loss(step, last)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.config.gradient_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._averaging.follow(self.step, self.config.average_decay)
        return last

    def _check_loss(self, step: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise self._diverged(f"the loss became {loss} at step {step}")

    def _diverged(self, what: str) -> ModelError:
        kept = f"; {self.checkpoint.name} is of step {self.kept_steps}" if self.kept_steps else ""
        return ModelError(
            f"{what}{kept}; lower training.learning_rate (it is {self.config.learning_rate:g}) or "
            "set training.precision=fp32, in another output folder"
        )

    def _validate(self) -> tuple[Validation | None, bool]:
        """What a validation finds if one is due, and whether it is the best yet."""
        every = self.config.validation.every_steps
        due = self.step % every == 0 or self.step == self.config.steps
        if not (self.held_out and due):
            return None, False
        self.average.eval()
        found = validated(self.average, self.held_out, self.config, self.device)
        if not math.isfinite(found.loss):
            raise self._diverged(
                f"the loss on what is validated became {found.loss} at step {self.step}"
            )
        improved = self.history.add(self.step, found)
        if improved:
            self.best = {k: t.detach().clone() for k, t in self.average.state_dict().items()}
        return found, improved

    def _network(self) -> nn.Module:
        shape = self.config.network
        return place(NETWORKS[shape.architecture].build(shape), self.device)

    def _save(self, last: float | None) -> float | None:
        """Write a checkpoint; the last loss, now that all are read."""
        for step, loss in self._losses.rest():
            self._check_loss(step, loss)
            last = loss
        state: State = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "config": self.config.model_dump_json(),
        }
        if self.held_out:
            state["validations"] = [tuple(entry) for entry in self.history.entries]
            state["best"] = self.best
        if not all_finite(state):
            raise self._diverged(f"weights are NaN or infinite after step {self.step - 1}")
        write_checkpoint(self.checkpoint, state)
        self.kept_steps = self.step
        return last

    def _start_from(self, weights: dict[str, Tensor]) -> None:
        try:
            self.network.load_state_dict({**self.network.state_dict(), **weights})
        except RuntimeError as error:
            raise ModelError(
                "the network to start from has another shape than training.network "
                f"({' '.join(str(error).split())[:200]})"
            ) from error

    def _load(self) -> None:
        state = read_checkpoint(self.checkpoint, self.device)
        if not self._is_ours(state["config"]):
            raise ConfigError(
                f"{self.checkpoint} was made with another configuration; give another output "
                "folder or remove it"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state.get("scaler", {}))
            if self.held_out:
                for at, loss, v_rand in state["validations"]:
                    self.history.add(at, Validation(loss, v_rand))
                self.best = state["best"]
        except Exception as error:  # whatever foreign parts make torch raise
            raise damaged(self.checkpoint, error) from error
        self.step = self.kept_steps = state["step"]

    def _is_ours(self, written: str) -> bool:
        try:
            return TrainingConfig.model_validate_json(written) == self.config
        except ValidationError:
            return False


def threads_for(device: str) -> int:
    """Threads that draw crops for a device: all cores but the one that queues its work."""
    if not device.startswith("cuda"):
        return 0
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(DRAWING_THREADS, max(1, (bound or 1) - 1))

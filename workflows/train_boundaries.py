"""Train a boundary network: annotated volumes in, model file with its card out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from pipeline.boundaries.device import choose_device
from pipeline.boundaries.model import save_model
from pipeline.boundaries.predict import halo_error, measure_halo
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import Progress, Training
from pipeline.training.mixing import mixed
from pipeline.training.validation import split, whole_section
from pipeline.training.volumes import TrainingVolume
from workflows.base_model import Base, card_of, lasting_name, settings_of, warn_of_size
from workflows.held_back import as_sentence, score_held_back
from workflows.progress import progress_bar
from workflows.training_data import AnnotatedVolume, HeldBack, described, load
from workflows.training_folder import keep_to_its_data
from workflows.training_record import record_of
from workflows.yaml_models import read_yaml, write_yaml

LOG = logging.getLogger(__name__)
CONFIGURATION = "training.yaml"
"""What was asked for, in the output folder."""


class BoundaryTraining(BaseModel):
    """A training configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the model.")
    licence: str = Field(description="Terms under which the weights may be used.")
    start_from: str | None = Field(
        None, description="Model to start from: a packaged name or a file; --from goes before it."
    )
    base_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of that model's weights in the final ones; some of it makes what a few "
        "sections teach more robust.",
    )
    volumes: tuple[AnnotatedVolume, ...] = Field(min_length=1, description="What to learn from.")
    training: TrainingConfig = Field(TrainingConfig(), description="How to learn.")


def train_boundaries(
    config: BoundaryTraining,
    data: Path,
    output: Path,
    *,
    fold: int | None = None,
    start: str | Path | None = None,
    device: str = "auto",
    command: str = "",
) -> Path:
    """Train (or go on training) and write ``output/<name>.safetensors``.

    Parameters
    ----------
    config
        Data and parameters.
    data
        Folder that the volumes' paths are relative to.
    output
        Folder of checkpoint, TensorBoard log and model.
    fold
        Train on this half (0 or 1) of every volume only, so that the other half can be
        predicted out of fold.
    start
        Packaged name or file of the model to start from; goes before ``config.start_from``.
    device
        ``auto``, ``cpu`` or ``cuda``.
    command
        How it was called, for the model card.

    Returns
    -------
    path
        The model file.

    Raises
    ------
    ConfigError
        If the network of the configuration is not that of the model to start from, or
        ``output`` holds another training.
    InputError
        If there is nothing to learn from; see ``training_data.load``.
    """
    device = choose_device(device)
    began = time.monotonic()
    if start is not None:
        config = config.model_copy(update={"start_from": lasting_name(start)})
    base = None if config.start_from is None else Base.open(config.start_from, device)
    settings = settings_of(config.training, base)
    chosen = chosen_volumes(config, data, fold)
    warn_of_size(chosen, settings, base)
    loaded, held = load_all(chosen, data, settings.context_sections)
    volumes, held_out = split_all(loaded, chosen, settings)
    output.mkdir(parents=True, exist_ok=True)
    keep_to_its_data(output, chosen, [*volumes, *held_out], base)
    learned_from = record_of(chosen, data, base=base.path if base else None).header
    weights = None if base is None else base.model.network.state_dict()
    training = Training(volumes, settings, output / "checkpoint.pt", device, weights, held_out)
    write_yaml(output / CONFIGURATION, config, f"Written by: {command}")
    _run(training, output)
    network = training.result
    if base is not None:
        network.load_state_dict(
            mixed(base.model.network.state_dict(), network.state_dict(), config.base_share)
        )
    name = config.name if fold is None else f"{config.name}-fold{fold}"
    card = {
        "name": name,
        "licence": config.licence,
        "data": [v.model_dump(mode="json") for v in chosen],
        **_measured(network, volumes, chosen, settings, device),
        "validation": _validation_of(training, held_out),
        "training": settings.model_dump(mode="json"),
        "started_from": base.path.name if base else None,
        "base": card_of(base),
        "base_share": config.base_share if base else None,
        "fold": fold,
        "command": command,
        "device": device,
        "torch": torch.__version__,
        "seconds_this_run": round(time.monotonic() - began),
    }
    path = output / f"{name}.safetensors"
    save_model(path, network, settings.network.model_dump(), card, more=learned_from)
    if held:
        before = None if base is None else score_held_back(base.path, held, device)
        after = score_held_back(path, held, device)
        LOG.info(as_sentence(before, after))
        card["held_back"] = {"before": before, "after": after}
        save_model(path, network, settings.network.model_dump(), card, more=learned_from)
    (output / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n")
    return path


def chosen_volumes(
    config: BoundaryTraining, data: Path, fold: int | None = None
) -> list[AnnotatedVolume]:
    """The volumes with what their files tell, or one half of each."""
    found = [described(v, data) for v in config.volumes]
    return found if fold is None else [v.half(fold) for v in found]


def load_all(
    chosen: Sequence[AnnotatedVolume], data: Path, context: int = 0
) -> tuple[list[TrainingVolume], list[HeldBack]]:
    """What is annotated, and what is held back, of described volumes."""
    loaded = [load(v, data, context) for v in chosen]
    return [one for one, _ in loaded], [held for _, held in loaded if held is not None]


def split_all(
    loaded: Sequence[TrainingVolume],
    chosen: Sequence[AnnotatedVolume],
    settings: TrainingConfig,
) -> tuple[list[TrainingVolume], list[TrainingVolume]]:
    """What is learned from, and what is validated on.

    Raises
    ------
    ConfigError
        If validation would leave nothing of a volume to learn from.
    """
    parts = [
        split(volume, settings.validation.share, described_as.validation_sections)
        for volume, described_as in zip(loaded, chosen, strict=True)
    ]
    return [one for one, _ in parts], [held for _, held in parts if held is not None]


def _run(training: Training, output: Path) -> None:
    """Train to the last step."""
    settings = training.config
    first = training.step
    log = SummaryWriter(output / "tensorboard", purge_step=first)
    mean = 0.0
    try:
        with progress_bar("training", settings.steps, completed=first) as bar:
            for now in training.run():
                mean = now.loss if mean == 0 else 0.98 * mean + 0.02 * now.loss
                bar(1, f"loss {mean:.4f}{training.history.sentence}")
                _log(log, now, mean)
    except KeyboardInterrupt:
        kept = training.step - training.step % settings.checkpoint_steps
        LOG.warning("stopped; %d steps are kept, and the same command goes on from there", kept)
        raise
    finally:
        log.close()
    if training.step < settings.steps:
        LOG.info("ended after %d steps: validation no longer improved", training.step)


def _validation_of(training: Training, held_out: Sequence[TrainingVolume]) -> dict[str, Any] | None:
    """What the card says of the sections that the training validated on."""
    best = training.history.best
    if best is None:
        return None
    return {
        "sections": {v.name: [int(v.places[0]), int(v.places[-1]) + 1] for v in held_out},
        "step": best.step,
        "loss": best.loss,
        "v_rand": best.v_rand,
        "steps_made": training.step,
    }


def _measured(
    network: nn.Module,
    volumes: Sequence[TrainingVolume],
    chosen: Sequence[AnnotatedVolume],
    settings: TrainingConfig,
    device: str,
) -> dict[str, Any]:
    """What the card says of the network itself."""
    sections = [_middle(volume, settings) for volume in volumes]
    stride = settings.stride
    halo = measure_halo(network, sections, stride, device)
    low, high = settings.augmentation.scale
    pixels = [settings.pixel_nm or v.size_nm[2] for v in chosen]
    return {
        "voxel_size_nm_range": [min(pixels) / high, max(pixels) / low],
        "pixel_nm": settings.pixel_nm,
        "stride_pixels": stride,
        "context_sections": settings.context_sections,
        "halo_pixels": halo,
        "halo_largest_difference": halo_error(network, sections, halo, stride, device),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def _middle(volume: TrainingVolume, settings: TrainingConfig) -> NDArray[np.float32]:
    """The middle section, in the pixels of the training."""
    place = len(volume.raw) // 2
    if settings.pixel_nm is None:
        raw = volume.section(0, place, settings.context_sections).raw
    else:
        raw = whole_section(volume, place, settings).raw
    return (raw if settings.context_sections else raw[0]).numpy()


def _log(log: SummaryWriter, now: Progress, mean: float) -> None:
    if now.step % 50 == 0:
        log.add_scalar("loss", mean, now.step)
        log.add_scalar("learning_rate", now.learning_rate, now.step)
    if now.validation is not None:
        log.add_scalar("validation/loss", now.validation.loss, now.step)
        if now.validation.v_rand is not None:
            log.add_scalar("validation/v_rand", now.validation.v_rand, now.step)


def read_training(path: Path, overrides: Sequence[str] = ()) -> BoundaryTraining:
    """A training configuration file, with ``dotted.key=value`` in the place of some keys."""
    return read_yaml(path, BoundaryTraining, overrides)

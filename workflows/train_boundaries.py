"""Train a boundary network from a YAML file: data in, model file with its card out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.tensorboard import SummaryWriter

from pipeline.boundaries.device import choose_device
from pipeline.boundaries.model import load_model, save_model
from pipeline.boundaries.networks.rc_spcnet import STRIDE
from pipeline.boundaries.predict import halo_error, measure_halo
from pipeline.errors import ConfigError
from pipeline.training.loop import Progress, Training, TrainingConfig
from workflows.progress import progress_bar
from workflows.training_data import AnnotatedVolume, load
from workflows.yaml_models import read_yaml


class BoundaryTraining(BaseModel):
    """A training configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the model.")
    licence: str = Field(description="Terms under which the weights may be used.")
    volumes: tuple[AnnotatedVolume, ...] = Field(min_length=1, description="What to learn from.")
    training: TrainingConfig = Field(TrainingConfig(), description="How to learn.")


def train_boundaries(
    config: BoundaryTraining,
    data: Path,
    output: Path,
    *,
    fold: int | None = None,
    start: Path | None = None,
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
        Model file to start from.
    device
        ``auto``, ``cpu`` or ``cuda``.
    command
        How it was called, for the model card.

    Returns
    -------
    path
        The model file.
    """
    device = choose_device(device)
    chosen = [v if fold is None else v.half(fold) for v in config.volumes]
    volumes = [load(v, data) for v in chosen]
    output.mkdir(parents=True, exist_ok=True)
    _keep_to_its_data(output, chosen)
    weights = load_model(start, device).network.state_dict() if start else None
    training = Training(volumes, config.training, output / "checkpoint.pt", device, weights)
    began, first = time.monotonic(), training.step
    log = SummaryWriter(output / "tensorboard", purge_step=first)
    mean = 0.0
    with progress_bar("training", config.training.steps, completed=first) as bar:
        for now in training.run():
            mean = now.loss if mean == 0 else 0.98 * mean + 0.02 * now.loss
            bar(1, f"loss {mean:.4f}")
            _log(log, now, mean)
    log.close()
    network = training.average.eval()
    sections = [v.raw[len(v.raw) // 2] for v in volumes]
    halo = measure_halo(network, sections, STRIDE, device)
    card = {
        "name": config.name if fold is None else f"{config.name}-fold{fold}",
        "licence": config.licence,
        "data": [v.model_dump(mode="json") for v in chosen],
        "voxel_size_nm_range": [
            min(v.voxel_size_nm[2] / config.training.augmentation.scale[1] for v in chosen),
            max(v.voxel_size_nm[2] / config.training.augmentation.scale[0] for v in chosen),
        ],
        "stride_pixels": STRIDE,
        "halo_pixels": halo,
        "halo_largest_difference": halo_error(network, sections, halo, STRIDE, device),
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": config.training.model_dump(mode="json"),
        "started_from": start.name if start else None,
        "fold": fold,
        "command": command,
        "device": device,
        "torch": torch.__version__,
        "seconds_this_run": round(time.monotonic() - began),
    }
    path = output / f"{card['name']}.safetensors"
    save_model(path, network, config.training.network.model_dump(), card)
    (output / f"{card['name']}.json").write_text(json.dumps(card, indent=1) + "\n")
    return path


def _keep_to_its_data(output: Path, chosen: Sequence[AnnotatedVolume]) -> None:
    """A folder goes on only with the data that it began with, so folds never mix."""
    data = [v.model_dump(mode="json") for v in chosen]
    note = output / "data.json"
    try:
        began = json.loads(note.read_text()) if note.exists() else data
    except ValueError as error:
        raise ConfigError(f"{note} is damaged; give another output folder") from error
    if began != data:
        raise ConfigError(
            f"{output} holds a training on other data or of the other fold; give another output "
            "folder or remove it"
        )
    note.write_text(json.dumps(data, indent=1) + "\n")


def _log(log: SummaryWriter, now: Progress, mean: float) -> None:
    if now.step % 50 == 0:
        log.add_scalar("loss", mean, now.step)
        log.add_scalar("learning_rate", now.learning_rate, now.step)


def read_training(path: Path) -> BoundaryTraining:
    """A training configuration file."""
    return read_yaml(path, BoundaryTraining)

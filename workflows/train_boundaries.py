"""Train a boundary network: annotated volumes in, model file with its card out."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from pipeline.boundaries.device import choose_device
from pipeline.boundaries.model import save_model
from pipeline.boundaries.networks.rc_spcnet import STRIDE
from pipeline.boundaries.predict import halo_error, measure_halo
from pipeline.errors import ConfigError
from pipeline.training.config import TrainingConfig
from pipeline.training.crops import TrainingVolume
from pipeline.training.loop import Progress, Training
from pipeline.training.mixing import mixed
from workflows.base_model import Base, card_of, lasting_name, settings_of, warn_of_size
from workflows.fingerprints import file_hash
from workflows.held_back import as_sentence, score_held_back
from workflows.progress import progress_bar
from workflows.training_data import AnnotatedVolume, HeldBack, described, load
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
    volumes, held = load_all(chosen, data)
    output.mkdir(parents=True, exist_ok=True)
    _keep_to_its_data(output, chosen, volumes, base)
    write_yaml(output / CONFIGURATION, config, f"Written by: {command}")
    network = _trained(volumes, settings, output, device, base)
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
    save_model(path, network, settings.network.model_dump(), card)
    if held:
        before = None if base is None else score_held_back(base.path, held, device)
        after = score_held_back(path, held, device)
        LOG.info(as_sentence(before, after))
        card["held_back"] = {"before": before, "after": after}
        save_model(path, network, settings.network.model_dump(), card)
    (output / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n")
    return path


def chosen_volumes(
    config: BoundaryTraining, data: Path, fold: int | None = None
) -> list[AnnotatedVolume]:
    """The volumes with what their files tell, or one half of each."""
    found = [described(v, data) for v in config.volumes]
    return found if fold is None else [v.half(fold) for v in found]


def load_all(
    chosen: Sequence[AnnotatedVolume], data: Path
) -> tuple[list[TrainingVolume], list[HeldBack]]:
    """What is learned from, and what is held back, of described volumes."""
    loaded = [load(v, data) for v in chosen]
    return [one for one, _ in loaded], [held for _, held in loaded if held is not None]


def _trained(
    volumes: Sequence[TrainingVolume],
    settings: TrainingConfig,
    output: Path,
    device: str,
    base: Base | None,
) -> nn.Module:
    """The averaged network after all steps."""
    weights = None if base is None else base.model.network.state_dict()
    training = Training(volumes, settings, output / "checkpoint.pt", device, weights)
    first = training.step
    log = SummaryWriter(output / "tensorboard", purge_step=first)
    mean = 0.0
    try:
        with progress_bar("training", settings.steps, completed=first) as bar:
            for now in training.run():
                mean = now.loss if mean == 0 else 0.98 * mean + 0.02 * now.loss
                bar(1, f"loss {mean:.4f}")
                _log(log, now, mean)
    except KeyboardInterrupt:
        kept = training.step - training.step % settings.checkpoint_steps
        LOG.warning("stopped; %d steps are kept, and the same command goes on from there", kept)
        raise
    finally:
        log.close()
    return training.average.eval()


def _measured(
    network: nn.Module,
    volumes: Sequence[TrainingVolume],
    chosen: Sequence[AnnotatedVolume],
    settings: TrainingConfig,
    device: str,
) -> dict[str, Any]:
    """What the card says of the network itself."""
    sections = [v.raw[len(v.raw) // 2] for v in volumes]
    halo = measure_halo(network, sections, STRIDE, device)
    low, high = settings.augmentation.scale
    return {
        "voxel_size_nm_range": [
            min(v.size_nm[2] / high for v in chosen),
            max(v.size_nm[2] / low for v in chosen),
        ],
        "stride_pixels": STRIDE,
        "halo_pixels": halo,
        "halo_largest_difference": halo_error(network, sections, halo, STRIDE, device),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def _keep_to_its_data(
    output: Path,
    chosen: Sequence[AnnotatedVolume],
    volumes: Sequence[TrainingVolume],
    base: Base | None,
) -> None:
    """A folder goes on only with what it began with, so that folds and annotations never mix."""
    digest = hashlib.sha256()
    for volume in volumes:
        digest.update(volume.raw.tobytes())
        digest.update(volume.target.tobytes())
    now = {
        "volumes": [v.model_dump(mode="json") for v in chosen],
        "voxels": digest.hexdigest(),
        "base": None if base is None else file_hash(base.path),
    }
    note = output / "data.json"
    try:
        began = json.loads(note.read_text()) if note.exists() else now
    except ValueError as error:
        raise ConfigError(f"{note} is damaged; give another output folder") from error
    if began != now:
        raise ConfigError(
            f"{output} holds a training on other data, from another model or of the other fold; "
            "give another output folder or remove it"
        )
    note.write_text(json.dumps(now, indent=1) + "\n")


def _log(log: SummaryWriter, now: Progress, mean: float) -> None:
    if now.step % 50 == 0:
        log.add_scalar("loss", mean, now.step)
        log.add_scalar("learning_rate", now.learning_rate, now.step)


def read_training(path: Path) -> BoundaryTraining:
    """A training configuration file."""
    return read_yaml(path, BoundaryTraining)

"""Train a boundary network: annotated volumes in, model file with its card out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
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
from pipeline.errors import ConfigError
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import Progress, Training
from pipeline.training.memory import check_memory
from pipeline.training.mixing import mixed
from pipeline.training.precision import mixed_with
from pipeline.training.validation import split, validated, whole_section
from pipeline.training.volumes import TrainingVolume
from workflows.base_model import (
    Base,
    card_of,
    lasting_name,
    settings_of,
    starting_weights,
    warn_of_size,
)
from workflows.exclusive import held_alone
from workflows.held_back import as_sentence, score_held_back
from workflows.memory import machine_bytes
from workflows.progress import progress_bar
from workflows.training_data import AnnotatedVolume, HeldBack, described, load
from workflows.training_folder import keep_to_its_data
from workflows.training_record import record_of
from workflows.yaml_models import read_yaml, write_yaml

LOG = logging.getLogger(__name__)
CONFIGURATION = "training.yaml"
"""What was asked for, in the output folder."""
MEASURED_SECTIONS = 3
"""Of every volume, on which a network's halo is measured."""


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
    start_fitting: bool = Field(
        False,
        description="The network may be another than that model's: it takes over the weights whose "
        "name and shape both have, the others are new.",
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
        If the network of the configuration is not that of the model to start from, or there is
        none that ``base_share`` could be of, or ``output`` holds another training.
    InputError
        If there is nothing to learn from; see ``training_data.load``.
    ModelError
        If the training diverges; the last checkpoint is kept.
    OutputError
        If another process trains in that folder.
    ResourceError
        If there is too little memory, or room for a checkpoint.
    """
    device = choose_device(device)
    began = time.monotonic()
    if start is not None:
        config = config.model_copy(update={"start_from": lasting_name(start)})
    base = None if config.start_from is None else Base.open(config.start_from, device)
    if base is None and config.base_share:
        raise ConfigError(
            f"base_share = {config.base_share:g} is of a model to start from; give start_from in "
            "the configuration, or --from"
        )
    if config.base_share and config.start_fitting:
        raise ConfigError("base_share mixes the weights of one network; not with start_fitting")
    settings = settings_of(config.training, base, fitting=config.start_fitting)
    weights = starting_weights(base, settings.network)
    check_memory(settings, _memory_of(device), device)
    chosen = chosen_volumes(config, data, fold)
    warn_of_size(chosen, settings, base)
    loaded, held = load_all(chosen, data, settings.context_sections)
    volumes, held_out = split_all(loaded, chosen, settings)
    with held_alone(output / "lock", output, "training"):
        keep_to_its_data(output, chosen, [*volumes, *held_out], base)
        learned_from = record_of(chosen, data, base=base.path if base else None).header
        training = Training(volumes, settings, output / "checkpoint.pt", device, weights, held_out)
        write_yaml(output / CONFIGURATION, config, f"Written by: {command}")
        _run(training, output)
        network = training.result
        validation = _validation_of(training, held_out)
        if base is not None and config.base_share:
            network.load_state_dict(
                mixed(base.model.network.state_dict(), network.state_dict(), config.base_share)
            )
            if validation is not None:
                validation["after_mixing"] = asdict(
                    validated(network, training.held_out, settings, device)
                )
        name = config.name if fold is None else f"{config.name}-fold{fold}"
        card = {
            "name": name,
            "licence": config.licence,
            "data": [v.model_dump(mode="json") for v in chosen],
            **_measured(network, volumes, chosen, settings, device),
            "steps_made": training.step,
            "validation": validation,
            "training": settings.model_dump(mode="json"),
            "started_from": base.path.name if base else None,
            "base": card_of(base),
            "base_share": config.base_share if base else None,
            "start_fitting": config.start_fitting if base else None,
            "fold": fold,
            "command": command,
            "device": device,
            "arithmetic": str(mixed_with(settings.precision, device)).removeprefix("torch."),
            "torch": torch.__version__,
            "seconds_this_run": round(time.monotonic() - began),
        }
        path = output / f"{name}.safetensors"
        shape = settings.network.model_dump()
        if held:
            unscored = output / f"{name}.unscored.safetensors"
            save_model(unscored, network, shape, card, more=learned_from)
            try:
                before = None if base is None else score_held_back(base.path, held, device)
                after = score_held_back(unscored, held, device)
            finally:
                unscored.unlink()
            LOG.info(as_sentence(before, after))
            card["held_back"] = {"before": before, "after": after}
        save_model(path, network, shape, card, more=learned_from)
        readable = output / f"{name}.json"
        written = readable.with_suffix(".partial")
        written.write_text(json.dumps(card, indent=1) + "\n")
        written.replace(readable)
        return path


def _memory_of(device: str) -> int:
    """Bytes that a device has in all."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_bytes()


def chosen_volumes(
    config: BoundaryTraining, data: Path, fold: int | None = None
) -> list[AnnotatedVolume]:
    """The volumes with what their files tell, or one half of each."""
    found = [described(v, data) for v in config.volumes]
    if fold is None:
        return found
    for volume in found:
        if volume.held_back or volume.validation_sections:
            LOG.warning(
                "%s: a fold learns from all that is annotated in its half, also from held_back "
                "and validation_sections",
                volume.name,
            )
    return [v.half(fold) for v in found]


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
    mean: float | None = None
    try:
        with (
            progress_bar("training", settings.steps, completed=first) as bar,
            closing(training.run()) as steps,
        ):
            for now in steps:
                if now.loss is not None:
                    mean = now.loss if mean is None else 0.98 * mean + 0.02 * now.loss
                words = "" if mean is None else f"loss {mean:.4f}"
                bar(1, f"{words}{training.history.sentence}")
                _log(log, now, mean)
    except KeyboardInterrupt:
        LOG.warning(
            "stopped; %d steps are kept, and the same command goes on from there",
            training.kept_steps,
        )
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
    keep = training.config.validation.keep
    kept = best if keep == "best" else training.history.entries[-1]
    return {
        "sections": {v.name: [int(v.places[0]), int(v.places[-1]) + 1] for v in held_out},
        "weights": keep,
        "step": kept.step,
        "loss": kept.loss,
        "v_rand": kept.v_rand,
        "best_step": best.step,
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
    low, high = settings.augmentation.scale
    pixels = [settings.pixel_nm or v.size_nm[2] for v in chosen]
    return {
        "voxel_size_nm_range": [min(pixels) / high, max(pixels) / low],
        "pixel_nm": settings.pixel_nm,
        "stride_pixels": settings.stride,
        "context_sections": settings.context_sections,
        **measured_halo(network, volumes, settings, device),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def measured_halo(
    network: nn.Module,
    volumes: Sequence[TrainingVolume],
    settings: TrainingConfig,
    device: str,
) -> dict[str, Any]:
    """What the card says of the context that tiles need.

    Returns
    -------
    halo
        ``halo_pixels``: the smallest halo at which tiles equal the whole within 1/255 on
        sections of every volume, and one stride more, since others exceed it now and then.
        ``halo_largest_difference``: of P(boundary) on these sections with it; ``None``: they
        are too small to tell.
    """
    sections = [section for volume in volumes for section in _spread(volume, settings)]
    stride = settings.stride
    halo = measure_halo(network, sections, stride, device) + stride
    difference = halo_error(network, sections, halo, stride, device)
    return {"halo_pixels": halo, "halo_largest_difference": difference}


def _spread(volume: TrainingVolume, settings: TrainingConfig) -> Iterator[NDArray[np.float32]]:
    """Sections spread over a volume, its middle one among them, in the pixels of the training."""
    parts = 2 * MEASURED_SECTIONS
    for place in sorted({n * len(volume.raw) // parts for n in range(1, parts, 2)}):
        if settings.pixel_nm is None:
            raw = volume.section(0, place, settings.context_sections).raw
        else:
            raw = whole_section(volume, place, settings).raw
        yield (raw if settings.context_sections else raw[0]).numpy()


def _log(log: SummaryWriter, now: Progress, mean: float | None) -> None:
    if now.step % 50 == 0 and mean is not None:
        log.add_scalar("loss", mean, now.step)
        log.add_scalar("learning_rate", now.learning_rate, now.step)
    if now.validation is not None:
        log.add_scalar("validation/loss", now.validation.loss, now.step)
        if now.validation.v_rand is not None:
            log.add_scalar("validation/v_rand", now.validation.v_rand, now.step)


def read_training(path: Path, overrides: Sequence[str] = ()) -> BoundaryTraining:
    """A training configuration file, with ``dotted.key=value`` in the place of some keys."""
    return read_yaml(path, BoundaryTraining, overrides)

"""Networks that a benchmark trains once: finished ones are kept, begun ones go on."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import ConfigError
from workflows.fine_tuning import begun, with_steps_for
from workflows.train_boundaries import BoundaryTraining, train_boundaries


def model_file(config: BoundaryTraining, folder: Path) -> Path:
    """Where a training in this folder writes its model: there it is when it is finished."""
    return folder / f"{config.name}.safetensors"


def is_finished(config: BoundaryTraining, folder: Path, minutes: float | None = None) -> bool:
    """Whether the folder holds the model of this very training.

    Parameters
    ----------
    config
        Of the training.
    folder
        Of its output.
    minutes
        If given, the number of steps may be another one.

    Raises
    ------
    ConfigError
        If it holds the model of another training.
    """
    if not model_file(config, folder).exists():
        return False
    before = begun(config, folder)
    if before is None or (minutes is None and before.training.steps != config.training.steps):
        raise ConfigError(
            f"{folder} holds a network of another configuration; give another --output"
        )
    return True


def trained(
    config: BoundaryTraining,
    folder: Path,
    *,
    data: Path,
    device: str,
    minutes: float | None = None,
    command: str,
) -> Path:
    """The model file: kept, or trained, or trained further.

    Parameters
    ----------
    config
        Of the training.
    folder
        Of its output.
    data
        Folder that the volumes' paths are relative to.
    device
        ``auto``, ``cpu`` or ``cuda``.
    minutes
        As many steps as take so long, instead of those of ``config``; a training that began
        goes on with the steps that it began with.
    command
        For the model card.

    Raises
    ------
    ConfigError
        If the folder holds another training.
    """
    if is_finished(config, folder, minutes):
        return model_file(config, folder)
    if minutes is not None:
        config = begun(config, folder) or with_steps_for(config, minutes, data, device)
    return train_boundaries(config, data, folder, device=device, command=command)

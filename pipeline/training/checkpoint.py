"""The file from which a training goes on: written whole or not at all, and never with NaN."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ModelError, ResourceError

State = dict[str, Any]


def write_checkpoint(path: Path, state: State) -> None:
    """Write a state in the place of the one before, atomically.

    Parameters
    ----------
    path
        Of the file.
    state
        Tensors and plain values; ``step`` is for messages.

    Raises
    ------
    ResourceError
        If it cannot be written; the file of before is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    try:
        with temporary.open("wb") as file:  # by its path torch would lose the cause of a failure
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ResourceError(
            f"{path}: the checkpoint of step {state['step']} cannot be written "
            f"({error.strerror}); the one before it is as it was, so make room and start again"
        ) from error


def read_checkpoint(path: Path, device: str) -> State:
    """What ``write_checkpoint`` wrote; nothing in the file is executed.

    Raises
    ------
    ModelError
        If it is damaged.
    """
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
        return {**state, "config": str(state["config"]), "step": int(state["step"])}
    except Exception as error:  # whatever a damaged file makes torch raise
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ModelError:
    """What to say of a checkpoint that cannot be used."""
    return ModelError(
        f"{path}: not a readable checkpoint ({type(error).__name__}); remove it to start anew"
    )


def all_finite(state: object) -> bool:
    """Whether no tensor in nested dictionaries and lists holds NaN or an infinite value."""
    found = [torch.isfinite(tensor).all() for tensor in _fractions(state)]
    return bool(torch.stack(found).all()) if found else True


def _fractions(state: object) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        if state.is_floating_point():
            yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _fractions(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _fractions(value)

"""Model files: weights as safetensors, with the network's shape and its card in the header.

Nothing in a model file is executed: the header is JSON, checked against the network's
config model, and the tensors must fit the network that it describes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from pipeline.boundaries.networks import NETWORKS
from pipeline.errors import ModelError

FORMAT = "neuron-pipeline boundary network 1"


@dataclass(frozen=True)
class BoundaryModel:
    """A network ready to predict.

    Parameters
    ----------
    network
        In evaluation mode; (N, 1, H, W) 0..1 -> two-class logits.
    card
        Model card: training data, licence, voxel sizes, scores, ...
    halo
        Pixels of context that a tile needs on each side.
    stride
        Sides of the network's input are multiples of this.
    """

    network: nn.Module
    card: dict[str, Any]
    halo: int
    stride: int


def save_model(
    path: Path, network: nn.Module, shape: dict[str, Any], card: dict[str, Any], half: bool = True
) -> None:
    """Write a model file (float16 unless ``half`` is false) atomically.

    Parameters
    ----------
    path
        Ends in ``.safetensors``.
    network
        Its ``state_dict`` is stored.
    shape
        Configuration of the network, with its ``architecture``.
    card
        Anything JSON; must hold ``halo_pixels`` and ``stride_pixels``.
    half
        Store floating-point weights as float16.
    """
    tensors = {
        name: (t.half() if half and t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in network.state_dict().items()
    }
    metadata = {"format": FORMAT, "network": json.dumps(shape), "card": json.dumps(card)}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    save_file(tensors, temporary, metadata)
    os.replace(temporary, path)


def load_model(path: Path, device: str = "cpu") -> BoundaryModel:
    """Read and check a model file.

    Raises
    ------
    ModelError
        If the file is missing, truncated, not of this format, of an unknown architecture,
        or its tensors do not fit.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged model file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{path}: not a boundary network of this program")
    try:
        shape, card = json.loads(metadata["network"]), json.loads(metadata["card"])
        architecture = shape["architecture"]
        halo, stride = int(card["halo_pixels"]), int(card["stride_pixels"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged header ({error})") from error
    if architecture not in NETWORKS:
        raise ModelError(
            f"{path}: unknown architecture {architecture!r}; known: {', '.join(NETWORKS)}"
        )
    if not (0 <= halo <= 4096 and 1 <= stride <= 1024):
        raise ModelError(f"{path}: impossible halo {halo} or stride {stride}")
    try:
        network = NETWORKS[architecture](shape)
        network.load_state_dict(
            {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
        )
    except (ValidationError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"{path}: the weights do not fit {architecture!r} ({first})") from error
    if not all(bool(torch.isfinite(t).all()) for t in network.state_dict().values()):
        raise ModelError(f"{path}: the weights hold NaN or infinite values")
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return BoundaryModel(network.eval(), card, halo, stride)

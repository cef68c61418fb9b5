"""Model files: weights as safetensors, with the network's shape and its card in the header.

Nothing in a model file is executed: the header is JSON, checked against the network's
config model, and the tensors must fit the network that it describes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.boundaries.device import place
from pipeline.boundaries.networks import NETWORKS, Network
from pipeline.errors import ModelError

FORMAT = "neuron-pipeline boundary network 1"


class Card(BaseModel):
    """What a model card must hold; anything else in it is for people."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    halo_pixels: int = Field(
        ge=0, le=4096, description="Pixels of context that a tile needs on each side."
    )
    stride_pixels: int = Field(
        ge=1, le=256, description="Sides of the network's input are multiples of this, in pixels."
    )
    context_sections: int = Field(
        0, ge=0, le=64, description="Sections that the network sees on each side of the predicted."
    )
    voxel_size_nm_range: list[Annotated[float, Field(gt=0, lt=1e6)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Lowest and highest edge of a pixel, in nm, that the network was trained on.",
    )

    @property
    def known_nm(self) -> tuple[float, float] | None:
        """Lowest and highest edge of a pixel that the network was trained on."""
        if self.voxel_size_nm_range is None:
            return None
        low, high = sorted(self.voxel_size_nm_range)
        return low, high


@dataclass(frozen=True)
class BoundaryModel:
    """A network ready to predict.

    Parameters
    ----------
    network
        In evaluation mode; (N, 2 c + 1, H, W) 0..1 -> two-class logits of the middle section.
    card
        Model card: training data, licence, voxel sizes, scores, ...
    halo
        Pixels of context that a tile needs on each side.
    stride
        Sides of the network's input are multiples of this.
    known_nm
        Lowest and highest edge of a pixel, in nm, that it was trained on; ``None``: its card
        does not say.
    shape
        Configuration of the network, with its ``architecture``.
    context_sections
        c, sections that it sees on each side of the predicted one.
    """

    network: nn.Module
    card: dict[str, Any]
    halo: int
    stride: int
    known_nm: tuple[float, float] | None = None
    shape: Mapping[str, object] = field(default_factory=dict)
    context_sections: int = 0


def save_model(
    path: Path,
    network: nn.Module,
    shape: dict[str, Any],
    card: dict[str, Any],
    half: bool = True,
    more: Mapping[str, str] | None = None,
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
        Anything JSON; must hold ``halo_pixels`` and ``stride_pixels``, and of a network that
        sees several sections ``context_sections``.
    half
        Store floating-point weights as float16; a tensor beyond its range stays as it is.
    more
        Further keys of the header, e.g. what the network learned from.
    """
    tensors = {
        name: (_halved(t) if half else t).detach().cpu().contiguous()
        for name, t in network.state_dict().items()
    }
    metadata = {"format": FORMAT, "network": json.dumps(shape), "card": json.dumps(card)}
    metadata |= more or {}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(save(tensors, metadata))  # unlike save_file, readable by others
    os.replace(temporary, path)


def _halved(tensor: Tensor) -> Tensor:
    fits = tensor.is_floating_point() and bool(torch.isfinite(tensor.half()).all())
    return tensor.half() if fits else tensor


def load_model(path: Path, device: str = "cpu") -> BoundaryModel:
    """Read and check a model file.

    Raises
    ------
    ModelError
        If the file is missing, truncated, not of this format, of an unknown architecture,
        its tensors do not fit or are not finite, or the network does not run.
    """
    metadata, tensors = _read(path)
    try:
        shape, card = json.loads(metadata["network"]), json.loads(metadata["card"])
        architecture = str(shape["architecture"])
        checked = Card.model_validate(card)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged header ({_line(error)})") from error
    if architecture not in NETWORKS:
        raise ModelError(
            f"{path}: unknown architecture {architecture!r}; known: {', '.join(NETWORKS)}"
        )
    try:
        network = _network(NETWORKS[architecture], shape, checked, tensors)
        _try_out(network, checked)
    except (ValidationError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path}: the weights do not fit {architecture!r} ({_line(error)})"
        ) from error
    return BoundaryModel(
        place(network, device),
        card,
        checked.halo_pixels,
        checked.stride_pixels,
        checked.known_nm,
        shape,
        checked.context_sections,
    )


def read_card(path: Path) -> Card:
    """The checked part of the card in a model file; weights are not read.

    Raises
    ------
    ModelError
        If the file is missing, damaged or not of this format.
    """
    metadata, _ = _read(path, weights=False)
    try:
        return Card.model_validate(json.loads(metadata["card"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged header ({_line(error)})") from error


def read_shape(path: Path) -> dict[str, object]:
    """Configuration of the network in a model file, with its ``architecture``; no weights.

    Raises
    ------
    ModelError
        If the file is missing, damaged, not of this format or of an unknown architecture.
    """
    metadata, _ = _read(path, weights=False)
    try:
        shape = json.loads(metadata["network"])
        known = NETWORKS[str(shape["architecture"])].configured(shape)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged header ({_line(error)})") from error
    return known.model_dump()


def _read(path: Path, *, weights: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a model file of this program."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            names = list(file.keys()) if weights else []
            tensors = {name: file.get_tensor(name) for name in names}
    except Exception as error:  # damaged files make the library raise anything
        raise ModelError(f"{path}: damaged model file ({_line(error)})") from error
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{path}: not a boundary network of this program")
    return metadata, tensors


def _network(
    known: Network, shape: dict[str, object], card: Card, tensors: Mapping[str, Tensor]
) -> nn.Module:
    """The network with its weights; memory is taken only after names and shapes were compared."""
    config = known.configured(shape)
    if config.context_sections != card.context_sections:
        raise ValueError(
            f"the network sees {config.context_sections} sections on each side, its card says "
            f"{card.context_sections}"
        )
    with torch.device("meta"):
        planned = known.build(config).state_dict()
    if planned.keys() != tensors.keys():
        name = min(planned.keys() ^ tensors.keys())
        raise ValueError(f"{name} is {'missing' if name in planned else 'unknown'}")
    for name, tensor in tensors.items():
        if tensor.shape != planned[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, not {tuple(planned[name].shape)}"
            )
        if tensor.is_floating_point() != planned[name].is_floating_point():
            raise ValueError(f"{name} is of type {tensor.dtype}")
        if not bool(torch.isfinite(tensor.float()).all()):
            raise ValueError(f"{name} holds NaN or infinite values")
    network = known.build(config)
    network.load_state_dict(dict(tensors))
    return network.eval()


@torch.inference_mode()
def _try_out(network: nn.Module, card: Card) -> None:
    """Predict the smallest input, so that a wrong stride is found here."""
    stride = card.stride_pixels
    logits = network(torch.zeros(1, 2 * card.context_sections + 1, stride, stride))
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the weights are too large: black pixels give NaN or infinite logits")
    if logits.shape != (1, 2, stride, stride):
        raise ValueError(f"{stride} x {stride} pixels give logits of shape {tuple(logits.shape)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

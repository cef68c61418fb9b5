"""The model that a training starts from: its network, its scale, its card."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.boundaries.model import BoundaryModel, load_model
from pipeline.boundaries.networks import NETWORKS, AnyConfig
from pipeline.errors import ConfigError
from pipeline.packaged import model_path
from pipeline.training.config import TrainingConfig
from workflows.annotated_volume import AnnotatedVolume
from workflows.fingerprints import file_hash

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Base:
    """The model that a training starts from.

    Parameters
    ----------
    name
        As the user names it.
    path
        Of its file.
    model
        Network and card.
    """

    name: str
    path: Path
    model: BoundaryModel

    @classmethod
    def open(cls, name: str | Path, device: str = "cpu") -> Base:
        """A packaged model or a model file.

        Raises
        ------
        ModelError
            If there is none of this name, or it is damaged.
        """
        path = model_path(name)
        return cls(str(name), path, load_model(path, device))

    @property
    def shape(self) -> AnyConfig:
        """Of the network."""
        return NETWORKS[str(self.model.shape["architecture"])].configured(self.model.shape)


def lasting_name(start: str | Path) -> str:
    """A packaged name as it is, a path absolute: what a configuration can keep."""
    return str(Path(start).absolute()) if Path(start).is_file() else str(start)


def settings_of(
    settings: TrainingConfig, base: Base | None, *, fitting: bool = False
) -> TrainingConfig:
    """Parameters with the network of the model to start from.

    Parameters
    ----------
    settings
        As they were given.
    base
        ``None``: a new network.
    fitting
        Whether the network may be another one, which takes over the weights that fit.

    Raises
    ------
    ConfigError
        If the configuration asks for another network, or for crops that do not suit this one.
    """
    if base is None:
        return settings
    if fitting and "network" in settings.model_fields_set:
        return settings
    shape = base.shape
    if settings.crop % shape.stride:
        raise ConfigError(
            f"training.crop = {settings.crop} is no multiple of {shape.stride}, which the network "
            f"of {base.name} needs"
        )
    if "network" not in settings.model_fields_set:
        return settings.model_copy(update={"network": shape})
    asked = settings.network.model_copy(update={"dropout": shape.dropout})
    if asked != shape:
        values = shape.model_dump()
        differ = [k for k, v in asked.model_dump().items() if v != values.get(k)]
        raise ConfigError(
            f"training.network asks for another {', '.join(differ)} than the network of "
            f"{base.name}, from which the training starts; leave training.network out, or take "
            "over what fits: start_fitting: true"
        )
    return settings


def starting_weights(base: Base | None, network: AnyConfig) -> dict[str, Tensor] | None:
    """The base model's weights whose name and shape a network has too; ``None`` without a base.

    Raises
    ------
    ConfigError
        If they are less than half of the network: names that are the same by chance.
    """
    if base is None:
        return None
    with torch.device("meta"):
        fresh = NETWORKS[network.architecture].build(network).state_dict()
    weights = base.model.network.state_dict()
    fit = {k: w for k, w in weights.items() if k in fresh and fresh[k].shape == w.shape}
    taken, all_of_it = (sum(w.numel() for w in one.values()) for one in (fit, fresh))
    part = f"{taken / all_of_it:.0%} of the numbers of the {network.architecture} to train"
    if 2 * taken < all_of_it:
        raise ConfigError(f"{base.name} has only {part}; train it without one to start from")
    if taken < all_of_it:
        LOG.info("%s are from %s", part, base.name)
    return fit


def warn_of_size(
    chosen: Sequence[AnnotatedVolume], settings: TrainingConfig, base: Base | None
) -> None:
    """Say where pixels have a size that the model to start from does not know."""
    known = None if base is None else base.model.known_nm
    if base is None or known is None:
        return
    low, high = settings.augmentation.scale
    for volume in chosen:
        pixel = volume.size_nm[2]
        if pixel / low < known[0] or pixel / high > known[1]:
            LOG.warning(
                "%s: pixels of %g nm, but %s knows %.1f to %.1f nm only; it must learn the new "
                "scale too, unless training.augmentation.scale brings them there",
                volume.name,
                pixel,
                base.name,
                *known,
            )


def card_of(base: Base | None) -> dict[str, Any] | None:
    """The whole card of the model to start from: all that the weights have seen is in it."""
    if base is None:
        return None
    return {"sha256": file_hash(base.path), "card": base.model.card}

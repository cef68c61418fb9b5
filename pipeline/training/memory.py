"""Memory of a training: what it takes at least, and what is said where there is too little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.boundaries.networks import NETWORKS
from pipeline.errors import ResourceError
from pipeline.training.config import TrainingConfig
from pipeline.training.precision import mixed_with

COPIES = 5
"""Of the weights: their own, the average's, the gradients and the optimiser's two moments."""
WAY_OUT = "lower training.batch or training.crop, or take a narrower network"
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What torch says where it raises no class of its own."""
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d)


def least_bytes(config: TrainingConfig, device: str = "cpu") -> int:
    """Below which no step can be made: weights, and what convolutions put out in one pass.

    Parameters
    ----------
    config
        Network, crops and arithmetic.
    device
        Of the training.

    Returns
    -------
    bytes
        A lower bound; normalisation and activations come on top. Nothing is computed for it.
    """
    outputs = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal outputs
        outputs += output.numel()

    with torch.device("meta"):
        network = NETWORKS[config.network.architecture].build(config.network)
        crops = torch.empty(config.batch, 2 * config.context_sections + 1, config.crop, config.crop)
    for module in network.modules():
        if isinstance(module, CONVOLUTIONS):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(crops)
    weights = sum(p.numel() for p in network.parameters())
    size = mixed_with(config.precision, device).itemsize
    return COPIES * weights * 4 + outputs * size


def check_memory(config: TrainingConfig, available: int, device: str = "cpu") -> None:
    """Refuse a training that cannot fit, before a machine begins to swap or kills it.

    Parameters
    ----------
    config, device
        See ``least_bytes``.
    available
        Bytes that the device has.

    Raises
    ------
    ResourceError
        If it takes more.
    """
    least = least_bytes(config, device)
    if least > available:
        raise ResourceError(
            f"a step of this training needs {least / 1e9:.1f} GB of memory at least, and {device} "
            f"has {available / 1e9:.1f} GB; {WAY_OUT}"
        )


@contextmanager
def told_of_memory(device: str) -> Iterator[None]:
    """Say what to do where memory runs out all the same.

    Raises
    ------
    ResourceError
        In the place of what torch or numpy raise.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        if isinstance(error, RuntimeError) and not any(words in said for words in NO_MEMORY):
            raise
        raise ResourceError(
            f"{device} has too little memory for this training ({' '.join(said.split())[:120]}); "
            f"{WAY_OUT}"
        ) from error

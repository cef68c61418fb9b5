"""Device and precision of a network's arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn

from pipeline.errors import ResourceError


def choose_device(name: str) -> str:
    """``auto`` becomes ``cuda`` where there is one, else ``cpu``; an absent device is an error."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ResourceError(f"device {name!r}: torch sees no CUDA device here; use --device cpu")
    try:
        index = torch.device(name).index or 0
    except RuntimeError as error:
        raise ResourceError(f"device {name!r} is unknown; use auto, cpu or cuda") from error
    if name.startswith("cuda") and index >= torch.cuda.device_count():
        raise ResourceError(f"device {name!r}: there are only {torch.cuda.device_count()}")
    return name


def choose_precision(precision: str, device: str) -> str:
    """``auto`` becomes ``bf16`` where the device computes it natively, else ``fp32``."""
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("amx_bf16") else "fp32"


def place(network: nn.Module, device: str) -> nn.Module:
    """The network on its device, weights of convolutions with their channels last."""
    network = network.to(device)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def autocast(device: str, precision: str) -> AbstractContextManager[object]:
    """The context in which a network runs."""
    bf16 = choose_precision(precision, device) == "bf16"
    return torch.autocast(device.split(":", maxsplit=1)[0], torch.bfloat16, enabled=bf16)

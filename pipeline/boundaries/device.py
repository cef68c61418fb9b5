"""Device and precision of a network's arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

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


def autocast(device: str, precision: str) -> AbstractContextManager[object]:
    """The context in which a network runs."""
    bf16 = choose_precision(precision, device) == "bf16"
    return torch.autocast(device.split(":", maxsplit=1)[0], torch.bfloat16, enabled=bf16)

"""Device and precision of a network's arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from threading import Lock

import torch
from torch import nn

from pipeline.errors import ResourceError

HALVES: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions of 16 bits."""
BF16_CAPABILITY, FP16_CAPABILITY = 8, 7
"""CUDA compute capability, its first number, from which on a GPU computes in them natively."""


def choose_device(name: str) -> str:
    """``auto`` becomes ``cuda`` where there is one, else ``cpu``; an absent device is an error."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ResourceError(f"device {name!r}: torch sees no CUDA device here; use --device cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ResourceError(f"device {name!r} is unknown; use auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise ResourceError(f"device {name!r} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(f"device {name!r}: there are only {torch.cuda.device_count()}")
    return name


def choose_precision(precision: str, device: str) -> str:
    """What ``auto`` becomes for prediction on a device.

    ``bf16`` where it is native (GPUs from compute capability 8 on, CPUs with AMX), else ``fp16``
    on GPUs with tensor cores for it (from 7 on), else ``fp32``.
    """
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        major = torch.cuda.get_device_capability(device)[0]
        native = torch.version.hip is not None or major >= BF16_CAPABILITY
        return "bf16" if native else "fp16" if major >= FP16_CAPABILITY else "fp32"
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


@contextmanager
def autocast(device: str, precision: str) -> Iterator[None]:
    """The context in which a network runs.

    Parameters
    ----------
    device
        A torch device name.
    precision
        ``bf16``, ``fp16`` (for prediction alone: its gradients would need to be scaled) or
        ``fp32``, which is float32 of 24 bits: convolutions of a GPU do not take TF32, as torch
        lets them. ``auto``, for training: ``bf16`` where it is native, else ``fp32``.
    """
    if precision == "auto":
        precision = "bf16" if choose_precision("auto", device) == "bf16" else "fp32"
    kind = device.split(":", maxsplit=1)[0]
    dtype = HALVES.get(precision, torch.bfloat16)
    exact = WITHOUT_TF32 if precision == "fp32" else nullcontext()
    with torch.autocast(kind, dtype, enabled=precision in HALVES), exact:
        yield


class _WithoutTF32:
    """Context in which cuDNN does not round the inputs of float32 convolutions to TF32.

    The setting is the process's: what it was comes back when the last of several threads leaves.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, True

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.backends.cudnn.allow_tf32
                torch.backends.cudnn.allow_tf32 = False
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.backends.cudnn.allow_tf32 = self._before


WITHOUT_TF32 = _WithoutTF32()

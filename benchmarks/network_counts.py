"""What a network's shape alone decides: parameters, multiplications, theoretical field."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.boundaries.networks import NETWORKS, AnyConfig

FAR = 768
"""Pixels on each side of the one that is followed; no network of ours reaches further."""


def parameters(shape: AnyConfig) -> int:
    """Number of trained weights."""
    return sum(p.numel() for p in _planned(shape).parameters())


def macs_per_voxel(shape: AnyConfig) -> float:
    """Multiplications and additions of convolutions for a voxel of the map, in one orientation."""
    network, side = _planned(shape), 2 * shape.stride
    with torch.device("meta"):
        sections = torch.zeros(1, 2 * shape.context_sections + 1, side, side)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(sections)
    return float(counter.get_total_flops() / 2 / side**2)


def theoretical_field(shape: AnyConfig) -> int:
    """Pixels to each side of a pixel of the map on which it may depend.

    Weights do not count, so all that can be narrow is: a pixel that is not a number is followed
    along a strip through the network, and makes nothing but its field not a number. Every place
    within a stride is tried. In float64, which torch multiplies without fast transforms.
    """
    narrow = _narrow(shape)
    network = NETWORKS[narrow.architecture].build(narrow).eval().double()
    stride = narrow.stride
    length = -(-2 * FAR // stride) * stride
    reach = 0
    for place in range(length // 2, length // 2 + stride):
        strip = torch.full((1, 2 * narrow.context_sections + 1, stride, length), 0.5).double()
        strip[:, narrow.context_sections, :, place] = math.nan
        with torch.no_grad():
            changed = network(strip).isnan().any(dim=(0, 1, 2)).nonzero().flatten()
        reach = max(reach, place - int(changed[0]), int(changed[-1]) - place)
    if reach >= FAR - stride:
        raise AssertionError(f"the field of {shape} is wider than the strip")
    return reach


def _planned(shape: AnyConfig) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return NETWORKS[shape.architecture].build(shape).eval()


def _narrow(shape: AnyConfig) -> AnyConfig:
    """As few channels as there can be: they do not change the field."""
    few = {"stem": 4, "widths": (4, 4), "width": 8}
    values = {name: few.get(name, value) for name, value in shape.model_dump().items()}
    return NETWORKS[shape.architecture].configured(values)

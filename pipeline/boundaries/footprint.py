"""Memory that a network needs for a pixel, from its shape alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.boundaries.networks import NETWORKS, AnyConfig

SCRATCH = 1.5
"""What is needed for what is counted, at most: measured .87 to 1.53 times it, for all networks in
small and some in their papers' shapes, by one thread in float32."""
MAPS_BYTES = 64
"""Of the sections, their turned copies, logits, probabilities and the combined map."""
SIDE_PIXELS = 256
"""Of the section on which layers are counted, about; what they hold grows with its area."""

CONVOLUTIONS = frozenset({torch.ops.aten.convolution.default})
"""Libraries lay what goes in and out of them in another order, at worst both as copies."""


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that are alive; ``peak`` is the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._alive: dict[int, tuple[Any, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._alive = {k: one for k, one in self._alive.items() if not one[0].expired()}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                known = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._alive[storage._cdata] = known, storage.nbytes()
        copies = _bytes(args) + _bytes(result) if func in CONVOLUTIONS else 0
        self.peak = max(self.peak, copies + sum(size for _, size in self._alive.values()))
        return result


def _bytes(values: Any) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def bytes_per_pixel(shape: Mapping[str, object] | AnyConfig) -> int:
    """Memory of a CPU for a pixel of a section that is predicted in float32, at most about.

    The network runs on tensors without memory, and all are counted that live at a time, those
    that skips keep included, beside copies of what goes into a convolution and comes out of it.

    Parameters
    ----------
    shape
        Configuration of the network, with its ``architecture``.

    Returns
    -------
    bytes
        Of one section in one orientation, with the neighbours that the network sees.
    """
    architecture = shape["architecture"] if isinstance(shape, Mapping) else shape.architecture
    known = NETWORKS[str(architecture)]
    config = known.configured(shape)
    side = math.ceil(SIDE_PIXELS / config.stride) * config.stride
    with torch.device("meta"), torch.no_grad():
        network = known.build(config).eval()
        sections = torch.zeros(1, 2 * config.context_sections + 1, side, side)
        with _LiveTensors() as live:
            network(sections)
    peak: int = live.peak
    return math.ceil(SCRATCH * peak / side**2) + MAPS_BYTES

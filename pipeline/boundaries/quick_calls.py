"""Networks called with less overhead: as CUDA graphs, or compiled; never at the run's risk."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

LOG = logging.getLogger(__name__)

GRAPHS = 8
"""Shapes of input whose graphs are kept: tiles in the middle and at the borders of a volume."""
WARM_UP = 3
"""Passes before one is recorded, in which libraries choose their kernels."""


def quick_calls(network: nn.Module, way: str, device: str) -> nn.Module:
    """The network, called in another way.

    Parameters
    ----------
    network
        In evaluation mode.
    way
        ``off``: the network itself; ``graphs``: CUDA graphs, on a GPU alone; ``compile``:
        ``torch.compile``, which takes a minute for each shape of input.
    device
        A torch device name.
    """
    if way == "compile":
        return _OrElse(network, torch.compile(network, dynamic=False), way)
    if way == "graphs" and device.startswith("cuda"):
        return _OrElse(network, Graphs(network), way)
    return network


class _OrElse(nn.Module):
    """A quicker way to call a network, until it fails; then the network itself, for good."""

    def __init__(self, network: nn.Module, quick: Callable[[Tensor], Any], way: str) -> None:
        super().__init__()
        self.network, self.way = network, way
        # in a tuple: a module here would be a second child of the same weights
        self._quick: tuple[Callable[[Tensor], Any], ...] = (quick,)

    def forward(self, sections: Tensor) -> Tensor:
        """As the network."""
        for quick in self._quick:
            try:
                found: Tensor = quick(sections)
                return found
            except torch.OutOfMemoryError:
                raise  # a smaller batch is tried next
            except Exception as error:  # compilers raise anything
                self._quick = ()
                LOG.warning(
                    "boundaries.compile=%s does not work here (%s); the network is called as usual",
                    self.way,
                    " ".join(str(error).split())[:200],
                )
        result: Tensor = self.network(sections)
        return result


class Graphs:
    """Passes of a network recorded as CUDA graphs, one for each shape of input.

    What a call returns is overwritten by the next one.

    Parameters
    ----------
    network
        In evaluation mode, on a GPU.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._graphs: OrderedDict[Any, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = OrderedDict()

    def __call__(self, sections: Tensor) -> Tensor:
        """As the network."""
        halved = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda")
        key = (sections.shape, sections.stride(), halved)
        if key not in self._graphs:
            if len(self._graphs) >= GRAPHS:
                self._graphs.popitem(last=False)
            try:
                self._graphs[key] = self._recorded(sections)
            except torch.OutOfMemoryError:
                self._graphs.clear()  # each holds the memory of a pass
                raise
        self._graphs.move_to_end(key)
        graph, given, result = self._graphs[key]
        given.copy_(sections)
        graph.replay()
        return result

    def _recorded(self, sections: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """A graph, and the tensors that it reads and writes."""
        given = sections.clone()
        side = torch.cuda.Stream(sections.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(sections.device))
        with torch.cuda.device(sections.device), torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._pass(given)
        torch.cuda.current_stream(sections.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # other threads may upload sections meanwhile
        with (
            torch.cuda.device(sections.device),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            result = self._pass(given)
        return graph, given, result

    def _pass(self, given: Tensor) -> Tensor:
        """One pass; weights that autocast rounds must not be kept from one to the other."""
        enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        with torch.autocast("cuda", dtype, enabled=enabled, cache_enabled=False):
            result: Tensor = self._network(given)
        return result

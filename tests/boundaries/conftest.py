"""Networks whose field is known, and small RC-SPCNets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.boundaries.networks.rc_spcnet import RCSPCNet, RCSPCNetConfig

TINY = {"stem": 4, "widths": (4, 8), "units": (1, 1, 1, 1, 1, 1), "dilations": (1, 2, 2, 1)}


class Lopsided(nn.Module):
    """A 5 x 5 filter without any symmetry: field 2, so each orientation gives another map."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        weight = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(3))
        self.register_buffer("weight", weight)
        self.stride = stride

    def forward(self, sections: Tensor) -> Tensor:
        assert sections.shape[1] == 1
        assert sections.shape[2] % self.stride == sections.shape[3] % self.stride == 0
        boundary = nn.functional.conv2d(sections, self.weight, padding=2)
        return torch.cat((torch.zeros_like(boundary), boundary), 1)


def _tiny(seed: int = 0, **shape: object) -> RCSPCNet:
    torch.manual_seed(seed)
    network = RCSPCNet(RCSPCNetConfig.model_validate({**TINY, **shape}))
    # Statistics that a little training would leave, and logits that are not all alike.
    network.train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 1, 32, 32, generator=generator))
        network.head[-1].weight *= 8
    return network.eval()


@pytest.fixture
def tiny() -> Callable[..., RCSPCNet]:
    """``tiny(seed, **shape)``: a seeded RC-SPCNet of a few thousand parameters."""
    return _tiny


@pytest.fixture
def lopsided() -> type[Lopsided]:
    return Lopsided

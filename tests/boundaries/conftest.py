"""Networks whose field is known, and small RC-SPCNets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.boundaries.networks import NETWORKS
from pipeline.boundaries.networks.rc_spcnet import RCSPCNet, RCSPCNetConfig

TINY = {"stem": 4, "widths": (4, 8), "units": (1, 1, 1, 1, 1, 1), "dilations": (1, 2, 2, 1)}


RESIDUAL = {"stem": 8, "widths": (8, 16), "units": (1,) * 6, "dilations": (1, 2, 2, 1)}
SMALL: dict[str, dict[str, object]] = {
    "rc_spcnet": RESIDUAL,
    "rcnet": RESIDUAL,
    "resnet38": {"width": 8, "classifier_dilation": 2},
    "u_net": {"width": 8, "depth": 2},
    "hybrid_u_net": {"width": 8, "depth": 2, "flat_levels": 1, "context_sections": 1},
}


def _small(architecture: str, seed: int = 0, **shape: object) -> nn.Module:
    torch.manual_seed(seed)
    known = NETWORKS[architecture]
    config = known.configured({**SMALL[architecture], **shape})
    network = known.build(config).train()
    generator = torch.Generator().manual_seed(seed)
    sections = 2 * config.context_sections + 1
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, sections, 32, 32, generator=generator))
        last = [m for m in network.modules() if isinstance(m, nn.Conv2d)][-1]
        last.weight *= 8
    return network.eval()


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
def small() -> Callable[..., nn.Module]:
    """``small(architecture, seed, **shape)``: any network, seeded, with few channels."""
    return _small


@pytest.fixture
def small_shapes() -> dict[str, dict[str, object]]:
    """Shapes of the ``small`` networks."""
    return SMALL


@pytest.fixture
def lopsided() -> type[Lopsided]:
    return Lopsided

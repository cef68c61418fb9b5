"""Networks by name: one file each, one line in ``NETWORKS`` and in ``NetworkConfig`` here.

A network maps (N, 2 c + 1, H, W) grey values 0..1 to two-class logits (N, 2, H, W) of the
middle section, where c is ``context_sections`` of its configuration, and H and W are multiples
of its ``stride``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Discriminator, Tag
from torch import nn

from pipeline.boundaries.networks.hybrid_u_net import HybridUNet, HybridUNetConfig
from pipeline.boundaries.networks.rc_spcnet import PAPER as RC_SPCNET_PAPER
from pipeline.boundaries.networks.rc_spcnet import RCSPCNet, RCSPCNetConfig
from pipeline.boundaries.networks.rcnet import PAPER as RCNET_PAPER
from pipeline.boundaries.networks.rcnet import RCNet, RCNetConfig
from pipeline.boundaries.networks.resnet38 import PAPER as RESNET38_PAPER
from pipeline.boundaries.networks.resnet38 import ResNet38, ResNet38Config
from pipeline.boundaries.networks.u_net import PAPER as U_NET_PAPER
from pipeline.boundaries.networks.u_net import UNet, UNetConfig

AnyConfig = RCSPCNetConfig | RCNetConfig | ResNet38Config | UNetConfig | HybridUNetConfig


def _architecture(values: Any) -> Any:
    """Which configuration is meant; RC-SPCNet where nothing is said."""
    if isinstance(values, Mapping):
        return values.get("architecture", "rc_spcnet")
    return getattr(values, "architecture", None)


NetworkConfig = Annotated[
    Annotated[RCSPCNetConfig, Tag("rc_spcnet")]
    | Annotated[RCNetConfig, Tag("rcnet")]
    | Annotated[ResNet38Config, Tag("resnet38")]
    | Annotated[UNetConfig, Tag("u_net")]
    | Annotated[HybridUNetConfig, Tag("hybrid_u_net")],
    Discriminator(_architecture),
]
"""The configuration of any network, told by ``architecture``: for fields of pydantic models."""


@dataclass(frozen=True)
class Network:
    """A network of the registry.

    Parameters
    ----------
    config
        Model of its shape; values have ``stride`` and ``context_sections``.
    module
        Made of a configuration.
    paper
        The shape in the paper that it comes from, as far as that tells it; ``None``: ours.
    """

    config: type[AnyConfig]
    module: type[nn.Module]
    paper: AnyConfig | None = None

    def configured(self, shape: Mapping[str, object] | AnyConfig) -> AnyConfig:
        """A shape, checked.

        Raises
        ------
        pydantic.ValidationError
            If it is none of this network.
        """
        values = shape if isinstance(shape, Mapping) else shape.model_dump()
        return self.config.model_validate(dict(values))

    def build(self, shape: Mapping[str, object] | AnyConfig) -> nn.Module:
        """The network of a shape, with new weights."""
        return self.module(self.configured(shape))

    def stride(self, shape: Mapping[str, object] | AnyConfig) -> int:
        """Sides of the network's input are multiples of this, in pixels."""
        return self.configured(shape).stride


NETWORKS: Mapping[str, Network] = {
    "rc_spcnet": Network(RCSPCNetConfig, RCSPCNet, RC_SPCNET_PAPER),
    "rcnet": Network(RCNetConfig, RCNet, RCNET_PAPER),
    "resnet38": Network(ResNet38Config, ResNet38, RESNET38_PAPER),
    "u_net": Network(UNetConfig, UNet, U_NET_PAPER),
    "hybrid_u_net": Network(HybridUNetConfig, HybridUNet),
}

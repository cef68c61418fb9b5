"""Networks by name: one file each, one line here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pipeline.boundaries.networks import rc_spcnet

NETWORKS: dict[str, Callable[[dict[str, object]], nn.Module]] = {
    "rc_spcnet": rc_spcnet.build,
}

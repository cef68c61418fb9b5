from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.network_speed import convolutions_alone, measure, naive
from benchmarks.published import NOT_MEASURED
from benchmarks.throughput import COLUMNS, networks, row
from pipeline.boundaries.networks import NETWORKS
from pipeline.boundaries.predict import predict_tile

SHAPE = {"stem": 8, "widths": (8, 8), "units": (1,) * 6, "dilations": (1,) * 4}
JOB: dict[str, Any] = {"device": "cpu", "side": 20, "rounds": 1, "threads": 1}


def test_the_straight_way_gives_the_same_map() -> None:
    network = NETWORKS["rc_spcnet"].build(SHAPE).eval()
    seen = torch.rand(2, 1, 16, 24)
    ours = predict_tile(network, seen, "max", "cpu", "fp32")
    torch.testing.assert_close(naive(network, seen), ours, atol=1e-6, rtol=0)


def test_the_limit_runs_each_convolution_once_an_orientation_and_nothing_else() -> None:
    network = NETWORKS["hybrid_u_net"].build({"width": 8, "depth": 1, "flat_levels": 1}).eval()
    run = convolutions_alone(network, torch.rand(1, 3, 8, 8), "cpu")
    seen: list[nn.Module] = []
    for module in network.modules():
        module.register_forward_hook(lambda module, given, output: seen.append(module))
    run()
    kinds = (nn.Conv2d, nn.Conv3d)
    convolutions = [module for module in network.modules() if isinstance(module, kinds)]
    assert len(convolutions) == 11
    assert sorted(map(id, seen)) == sorted(8 * list(map(id, convolutions)))


@pytest.mark.parametrize("architecture", ["rc_spcnet", "hybrid_u_net"])
def test_a_network_is_measured_on_a_section_of_whole_strides(architecture: str) -> None:
    shape: dict[str, Any] = SHAPE if architecture == "rc_spcnet" else {"width": 8}
    result = measure({**JOB, "architecture": architecture, "shape": shape})
    assert result["voxels"] == 16 * 16
    assert result["largest_difference"] < 2 / 255
    assert min(result["seconds"].values()) > 0
    assert result["busy"] is None
    cells = dict(zip(COLUMNS, row("a network", "small", result), strict=True))
    speed = {name: cells[f"{name}, Mvoxel/s"] for name in ("naive", "ours")}
    assert cells["ours / naive"] == pytest.approx(speed["ours"] / speed["naive"])  # type: ignore[operator]


def test_a_network_that_fails_has_a_row_without_numbers() -> None:
    cells = row("a network", "paper", {"error": "ended with -9: no message"})
    assert cells[:3] == ("a network", "paper", "ended with -9: no message")
    assert set(cells[3:]) == {NOT_MEASURED}
    assert len(cells) == len(COLUMNS)


def test_every_network_is_measured() -> None:
    small, all_of_them = ([job for *_, job in networks(paper=p)] for p in (False, True))
    assert {job.get("architecture") for job in small} == {None, *NETWORKS}
    assert len(all_of_them) - len(small) == sum(n.paper is not None for n in NETWORKS.values())

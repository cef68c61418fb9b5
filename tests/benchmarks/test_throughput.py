from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import throughput
from benchmarks.network_speed import convolutions_alone, exact, measure, naive
from benchmarks.published import NOT_MEASURED
from benchmarks.throughput import COLUMNS, networks, row, ways
from pipeline.boundaries.networks import NETWORKS
from pipeline.boundaries.predict import predict_tile

SHAPE = {"stem": 8, "widths": (8, 8), "units": (1,) * 6, "dilations": (1,) * 4}
JOB: dict[str, Any] = {"device": "cpu", "side": 20, "rounds": 1, "threads": 1}


def test_the_straight_way_gives_the_same_map() -> None:
    network = NETWORKS["rc_spcnet"].build(SHAPE).eval()
    seen = torch.rand(2, 1, 16, 24)
    ours = predict_tile(network, seen, "max", "cpu", "fp32")
    torch.testing.assert_close(naive(network, seen), ours, atol=1e-6, rtol=0)


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_the_limit_runs_each_convolution_once_for_each_orientation_and_nothing_else(
    at_once: int,
) -> None:
    network = NETWORKS["hybrid_u_net"].build({"width": 8, "depth": 1, "flat_levels": 1}).eval()
    run = convolutions_alone(network, torch.rand(1, 3, 8, 8), "cpu", "fp32", at_once)
    seen: list[int] = []
    for module in network.modules():
        module.register_forward_hook(
            lambda module, given, output: seen.extend([id(module)] * len(output))
        )
    run()
    kinds = (nn.Conv2d, nn.Conv3d)
    convolutions = [module for module in network.modules() if isinstance(module, kinds)]
    assert len(convolutions) == 11
    flat = {id(m) for m in network.flat.modules()} | {id(m) for m in network.stem.modules()}  # type: ignore[operator, union-attr]
    times = {id(m): 3 if id(m) in flat else 1 for m in convolutions}  # sections seen alone
    assert Counter(seen) == {one: 8 * n for one, n in times.items()}


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


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_bound_of_a_precision_is_stated_against_float32(precision: str) -> None:
    job = {**JOB, "architecture": "rc_spcnet", "shape": SHAPE}
    half, full = (measure({**job, "precision": p}) for p in (precision, "fp32"))
    assert half["precision"] == precision
    assert full["largest_difference"] < 1e-5 < half["largest_difference"] < 0.1


def test_the_reference_does_not_round_convolutions_and_the_straight_way_is_as_torch_is() -> None:
    seen: list[bool] = []

    class Told(nn.Module):
        def forward(self, sections: torch.Tensor) -> torch.Tensor:
            seen.append(torch.backends.cudnn.allow_tf32)
            return sections.repeat(1, 2, 1, 1)

    exact(Told(), torch.rand(1, 1, 8, 8), "cpu")
    naive(Told(), torch.rand(1, 1, 8, 8))
    assert seen == [False] * 8 + [True] * 8
    assert torch.backends.cudnn.allow_tf32


def test_a_gpu_is_measured_in_all_precisions_and_calls() -> None:
    assert ways("cpu") == ({"precision": "auto", "compile": "off"},)
    found = ways("cuda:0")
    assert {one["precision"] for one in found} == {"auto", "fp16", "fp32"}
    assert {one["compile"] for one in found} == {"off", "graphs", "compile"}


def test_a_quick_trial_writes_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"architecture": "rc_spcnet", "shape": SHAPE}
    monkeypatch.setattr(throughput, "networks", lambda paper: [("RC-SPCNet", "small", job)])
    command = ["throughput", "--output", str(tmp_path), "--device", "cpu", "--quick"]
    monkeypatch.setattr(sys, "argv", [*command, "--threads", "1", "--side", "16"])
    throughput.main()
    written = json.loads((tmp_path / "throughput-cpu.json").read_text())
    cells = dict(zip(COLUMNS, written["tables"][0]["rows"][0], strict=True))
    assert written["made"]["quick"]
    assert (cells["network"], cells["precision"], cells["compile"]) == ("RC-SPCNet", "fp32", "off")
    assert cells["ours / naive"] > 0
    assert float(cells["largest difference of P"]) < 1e-4


def test_every_network_is_measured() -> None:
    small, all_of_them = ([job for *_, job in networks(paper=p)] for p in (False, True))
    assert {job.get("architecture") for job in small} == {None, *NETWORKS}
    assert len(all_of_them) - len(small) == sum(n.paper is not None for n in NETWORKS.values())

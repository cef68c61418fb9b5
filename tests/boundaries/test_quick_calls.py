"""CUDA graphs and compilation never break a run: what fails is left out, and said once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.boundaries.quick_calls import GRAPHS, Graphs, quick_calls
from pipeline.boundaries.stage import BoundariesConfig


class Doubled(nn.Module):
    def forward(self, sections: Tensor) -> Tensor:
        return 2 * sections


def test_networks_are_called_as_they_are_unless_it_is_asked_for() -> None:
    network = Doubled()
    assert BoundariesConfig().compile == "off"
    assert quick_calls(network, "off", "cuda") is network
    assert quick_calls(network, "graphs", "cpu") is network


@pytest.mark.parametrize("way", ["graphs", "compile"])
def test_a_way_that_fails_is_left_for_good_and_said_once(
    way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def fails(sections: Tensor) -> Tensor:
        calls.append(1)
        raise ValueError("no compiler\nwas found")

    monkeypatch.setattr(torch, "compile", lambda network, dynamic: fails)
    monkeypatch.setattr("pipeline.boundaries.quick_calls.Graphs", lambda network: fails)
    network, sections = quick_calls(Doubled(), way, "cuda"), torch.rand(1, 1, 4, 4)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.equal(network(sections), 2 * sections)
    assert len(calls) == len(caplog.records) == 1
    assert f"boundaries.compile={way} does not work here (no compiler was found)" in caplog.text


def test_a_lack_of_memory_is_no_failure_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(sections: Tensor) -> Tensor:
        if len(sections) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 3 * sections

    monkeypatch.setattr(torch, "compile", lambda network, dynamic: small)
    network = quick_calls(Doubled(), "compile", "cpu")
    with pytest.raises(torch.OutOfMemoryError):
        network(torch.rand(2, 1, 4, 4))
    assert torch.equal(network(torch.ones(1, 1, 4, 4)), torch.full((1, 1, 4, 4), 3.0))


def test_graphs_are_kept_for_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[int] = []

    class Replayed:
        def __init__(self, given: Tensor, result: Tensor) -> None:
            self.given, self.result = given, result

        def replay(self) -> None:
            self.result.copy_(2 * self.given)

    def record(self: Graphs, sections: Tensor) -> Any:
        recorded.append(sections.shape[-1])
        given, result = torch.empty_like(sections), torch.empty_like(sections)
        return Replayed(given, result), given, result

    monkeypatch.setattr(Graphs, "_recorded", record)
    graphs = Graphs(Doubled())
    for side in [*range(1, GRAPHS + 1), 1, GRAPHS + 1, 1, 2]:
        sections = torch.rand(1, 1, 4, side)
        assert torch.equal(graphs(sections), 2 * sections)
    # 1 was used last when the ninth came, so that 2 made room for it
    assert recorded == [*range(1, GRAPHS + 2), 2]


def test_where_memory_runs_out_recorded_graphs_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[int] = []

    def record(self: Graphs, sections: Tensor) -> Any:
        if self._graphs:
            raise torch.OutOfMemoryError("CUDA out of memory")
        recorded.append(len(sections))
        graph = type("Graph", (), {"replay": lambda self: None})()
        return graph, sections.clone(), sections.clone()

    monkeypatch.setattr(Graphs, "_recorded", record)
    graphs = Graphs(Doubled())
    graphs(torch.rand(4, 1, 8, 8))
    with pytest.raises(torch.OutOfMemoryError):
        graphs(torch.rand(4, 1, 8, 6))
    graphs(torch.rand(2, 1, 8, 6))
    assert recorded == [4, 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("way", ["graphs", "compile"])
def test_on_a_gpu_the_map_is_the_same(way: str, tiny: Callable[..., Any]) -> None:
    network = tiny().cuda()
    quick = quick_calls(network, way, "cuda")
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        for side in (16, 24, 16):
            sections = torch.rand(2, 1, side, 32, device="cuda")
            expected = network(sections).float()
            torch.testing.assert_close(quick(sections).float(), expected, atol=0.1, rtol=0)

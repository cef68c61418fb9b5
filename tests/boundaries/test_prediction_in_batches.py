"""Orientations and sections that go through the network together, also where memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.boundaries.batches import PIXELS_AT_ONCE, Batch, Batches, chosen_batch
from pipeline.boundaries.model import load_model
from pipeline.boundaries.predict import predict_tile
from pipeline.boundaries.prepared import prepared
from pipeline.errors import ResourceError
from pipeline.packaged import model_path


def noise(*shape: int, seed: int = 3) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Small(nn.Module):
    """A network on a device whose memory holds only so many sections at a time."""

    def __init__(self, network: nn.Module, holds: int, message: str | None = None) -> None:
        super().__init__()
        self.network, self.holds, self.message = network, holds, message
        self.tried: list[int] = []

    def forward(self, sections: Tensor) -> Tensor:
        self.tried.append(len(sections))
        if len(sections) > self.holds:
            if self.message is None:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 TiB")
            raise RuntimeError(self.message)
        result: Tensor = self.network(sections)
        return result


class Exact(nn.Module):
    """Sums of few integers, so that no batch can round otherwise; without any symmetry."""

    def forward(self, sections: Tensor) -> Tensor:
        whole = (sections * 64).round()
        boundary = whole[:, :1] + 2 * whole[:, -1:].roll((1, 2), (2, 3)) - 96
        return torch.cat((torch.zeros_like(boundary), boundary / 16), 1)


@pytest.mark.parametrize("augmentation", ["max", "min", "mean", "none"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 12), (2, 3, 8, 8), (1, 3, 12, 8)], ids=str)
@pytest.mark.parametrize("at_once", [2, 3, 4, 8, 16])
def test_orientations_together_give_the_map_of_one_after_the_other(
    at_once: int, shape: tuple[int, ...], augmentation: str
) -> None:
    sections, network = noise(*shape), Exact()
    for flip_z in (False, True):
        single = predict_tile(network, sections, augmentation, "cpu", "fp32", flip_z=flip_z)
        together = predict_tile(
            network, sections, augmentation, "cpu", "fp32", flip_z=flip_z,
            orientations_at_once=at_once,
        )  # fmt: skip
        assert torch.equal(together, single)
    assert single.std() > 0.01


def test_orientations_of_another_shape_are_another_batch() -> None:
    for shape, expected in (((2, 8, 8), [6, 6, 4]), ((2, 8, 12), [6, 2, 6, 2])):
        network = Small(Exact(), holds=99)
        predict_tile(network, noise(*shape), "max", "cpu", "fp32", orientations_at_once=3)
        assert network.tried == expected


@pytest.mark.parametrize("name", ["default", "without-isbi2012"])
def test_batches_of_the_shipped_networks_agree_far_within_a_grey_value(name: str) -> None:
    network = prepared(load_model(model_path(name)).network, "cpu")
    sections = noise(1, 64, 64)
    single = predict_tile(network, sections, "max", "cpu", "fp32")
    together = predict_tile(network, sections, "max", "cpu", "fp32", orientations_at_once=8)
    assert float((together - single).abs().max()) <= 1e-5


@pytest.mark.parametrize("augmentation", ["max", "mean", "none"])
@pytest.mark.parametrize("holds", [1, 2, 3, 7, 8, 24])
def test_the_map_is_the_same_where_memory_ran_out(holds: int, augmentation: str) -> None:
    sections, plain = noise(3, 8, 12), Exact()
    network = Small(plain, holds)
    found = Batches("cpu").predict(network, sections, Batch(8, 3), augmentation, "fp32")
    assert torch.equal(found, predict_tile(plain, sections, augmentation, "cpu", "fp32"))


def test_orientations_are_halved_first_and_what_fitted_is_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network, batches = Small(Exact(), holds=2), Batches("cpu")
    with caplog.at_level(logging.WARNING):
        batches.predict(network, noise(4, 8, 8), Batch(8, 4), "max", "fp32")
    assert network.tried == [32, 16, 8, 4, *[2] * 16]
    assert [r.message for r in caplog.records] == [
        "cpu ran out of memory; predicted together from now on: orientations 1, sections 2"
    ]
    network.tried.clear()
    caplog.clear()
    batches.predict(network, noise(4, 8, 8), Batch(8, 4), "max", "fp32")
    assert network.tried == [2] * 16
    assert not caplog.records


@pytest.mark.parametrize(
    ("device", "ways"),
    [("cpu", ["boundaries.tile"]), ("cuda:0", ["boundaries.tile", "bf16", "--device cpu"])],
)
def test_a_section_that_does_not_fit_is_an_error_with_the_ways_out(
    device: str, ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def none_fits(*given: Any, **more: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("pipeline.boundaries.batches.predict_tile", none_fits)
    with pytest.raises(ResourceError, match=f"memory of {device}.*40 x 48 pixels") as refused:
        Batches(device).predict(nn.Identity(), noise(2, 40, 48), Batch(8, 2), "max", "fp32")
    for way in ways:
        assert way in str(refused.value)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you",
    ],
)
def test_libraries_that_say_it_otherwise_are_understood(message: str) -> None:
    network, sections = Small(Exact(), 4, message), noise(1, 8, 8)
    found = Batches("cpu").predict(network, sections, Batch(8, 1), "max", "fp32")
    assert torch.equal(found, predict_tile(Exact(), sections, "max", "cpu", "fp32"))


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    network = Small(Exact(), 1, "expected 4 channels")
    with pytest.raises(RuntimeError, match="expected 4 channels"):
        Batches("cpu").predict(network, noise(1, 8, 8), Batch(8, 1), "max", "fp32")
    assert network.tried == [8]


def test_threads_that_share_it_find_the_same_map() -> None:
    network, batches, sections = Small(Exact(), 3), Batches("cpu"), noise(3, 8, 8)
    expected = predict_tile(Exact(), sections, "max", "cpu", "fp32")
    found: list[Tensor] = []
    threads = [
        Thread(
            target=lambda: found.append(
                batches.predict(network, sections, Batch(8, 3), "max", "fp32")
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(torch.equal(one, expected) for one in found)


def test_auto_is_one_on_a_cpu_and_all_orientations_on_a_gpu() -> None:
    assert chosen_batch("auto", "auto", 10**4, "cpu") == Batch(1, 1)
    assert chosen_batch("auto", "auto", 800 * 800, "cuda") == Batch(8, 1)
    assert chosen_batch("auto", "auto", 256 * 256, "cuda:1") == Batch(8, 16)
    assert chosen_batch(2, 5, 10**9, "cuda") == Batch(2, 5)
    assert chosen_batch(2, 5, 10**9, "cpu") == Batch(2, 5)


@given(pixels=st.integers(1, 1 << 30))
def test_auto_holds_no_more_pixels_than_are_allowed_but_for_a_single_section(pixels: int) -> None:
    batch = chosen_batch("auto", "auto", pixels, "cuda")
    assert batch.sections == 1 or batch.size * pixels <= PIXELS_AT_ONCE


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("at_once", [2, 8])
def test_a_gpu_gives_the_map_of_the_cpu(at_once: int, tiny: Callable[..., Any]) -> None:
    sections = noise(2, 32, 40)
    expected = predict_tile(tiny(), sections, "max", "cpu", "fp32")
    network = prepared(tiny(), "cuda")
    found = Batches("cuda").predict(network, sections.cuda(), Batch(at_once, 2), "max", "fp32")
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)

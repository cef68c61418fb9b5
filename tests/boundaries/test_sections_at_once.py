"""Passes of a network beside each other on a CPU, each by a thread of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from threading import Event, Lock, current_thread
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor, nn

from pipeline.boundaries.batches import Batch, Batches
from pipeline.boundaries.footprint import bytes_per_pixel
from pipeline.boundaries.model import BoundaryModel, load_model
from pipeline.boundaries.prepared import prepared
from pipeline.boundaries.stage import BoundariesConfig, compute
from pipeline.boundaries.torch_threads import in_order
from pipeline.contract import Resources, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.errors import ModelError, ResourceError
from pipeline.grid import whole
from pipeline.held import HeldInputs
from pipeline.packaged import model_path

SHAPE = {"architecture": "u_net", "width": 8, "depth": 2}
SECTION = 300 * 300


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's number of threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_that_compute_alone(
    threads: Callable[[int], None],
) -> None:
    threads(3)
    last = Event()

    def work(number: int) -> tuple[int, int]:
        if number == 0:
            assert last.wait(20)  # 0 ends after 2, so two others ran beside it
        elif number == 2:
            last.set()
        return number, torch.get_num_threads()

    assert list(in_order(work, range(7), 3)) == [(number, 1) for number in range(7)]
    assert torch.get_num_threads() == 3


def test_items_are_made_as_they_are_needed(threads: Callable[[int], None]) -> None:
    threads(4)
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            yield number

    results = in_order(lambda number: number, items(), 2)
    for number in range(8):
        assert next(results) == number
        assert len(made) == number + 2


def test_an_error_comes_when_what_had_begun_has_ended(threads: Callable[[int], None]) -> None:
    threads(2)
    begun, ended, lock = [], [], Lock()
    failed = Event()

    def work(number: int) -> None:
        with lock:
            begun.append(number)
        if number == 2:
            failed.set()
            raise ModelError("broken")
        if number == 3:
            assert failed.wait(20)
        with lock:
            ended.append(number)

    with pytest.raises(ModelError, match="broken"):
        list(in_order(work, range(50), 2))
    assert sorted(begun) == sorted([*ended, 2])
    assert max(begun) <= 3


@pytest.mark.parametrize("augmentation", ["max", "mean", "none"])
@pytest.mark.parametrize("name", ["default", "without-isbi2012"])
def test_maps_of_the_shipped_networks_are_the_same_bit_for_bit(
    name: str, augmentation: str, threads: Callable[[int], None]
) -> None:
    """With any number of threads, sections beside each other and passes at a time."""
    network = prepared(load_model(model_path(name)).network, "cpu")
    sections = torch.rand(4, 136, 144, generator=torch.Generator().manual_seed(1))
    parts = [partial(torch.clone, one) for one in sections.split(1)]
    batches, batch = Batches("cpu"), Batch(1, 1)
    expected = list(batches.predict_each(network, parts, batch, augmentation, "fp32"))
    for number, at_once, count in ((2, 2, 4), (3, 3, 4), (5, 5, 4), (5, 3, 1), (3, 1, 2)):
        threads(number)
        found = batches.predict_each(
            network, parts[:count], batch, augmentation, "fp32", at_once=at_once
        )
        for one, other in zip(found, expected[:count], strict=True):
            assert torch.equal(one, other)


def test_as_many_passes_as_threads_where_memory_holds_them(
    threads: Callable[[int], None],
) -> None:
    batches, batch = Batches("cpu", SHAPE), Batch(1, 1)
    section = bytes_per_pixel(SHAPE) * SECTION
    threads(4)
    assert batches.at_once(batch, SECTION, 3 * section) == 4
    assert batches.at_once(batch, SECTION, 99 * section) == 4
    assert batches.at_once(batch, SECTION, 3 * section - 1) == 3
    assert batches.at_once(batch, SECTION, 0) == 1
    assert batches.at_once(Batch(2, 1), SECTION, 4 * section) == 3
    assert batches.at_once(batch, 2 * SECTION, 4 * section) == 3
    assert Batches("cpu").at_once(batch, SECTION, 99 * section) is None  # nothing is known
    assert Batches("cuda", SHAPE).at_once(batch, SECTION, 99 * section) is None
    threads(1)
    assert batches.at_once(batch, SECTION, 99 * section) is None


@pytest.mark.parametrize(("count", "most", "of_one"), [(4, 3, 1), (3, 3, 1), (2, 3, 3), (1, 3, 3)])
def test_of_few_sections_the_orientations_are_beside_each_other(
    count: int, most: int, of_one: int, threads: Callable[[int], None]
) -> None:
    threads(3)
    network = Counting(Marked())
    parts = [partial(torch.full, (1, 8, 8), float(n)) for n in range(count)]
    maps = Batches("cpu").predict_each(network, parts, Batch(1, 1), "max", "fp32", at_once=3)
    assert [float(one.mean()) > 0.5 for one in maps] == [n > 0 for n in range(count)]
    assert network.most == most
    assert max(network.beside) == of_one


@pytest.mark.parametrize("count", [6, 2])
def test_where_memory_runs_out_for_several_passes_they_come_one_by_one(
    count: int, threads: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    threads(3)
    network = Cramped(Marked())
    parts = [partial(torch.full, (1, 8, 8), float(n)) for n in range(count)]
    batches = Batches("cpu", SHAPE)
    with caplog.at_level("WARNING"):
        maps = batches.predict_each(network, parts, Batch(1, 1), "max", "fp32", at_once=3)
        assert [float(one.mean()) > 0.5 for one in maps] == [n > 0 for n in range(count)]
    assert [record.message for record in caplog.records] == [
        "memory ran out; sections are predicted one by one from now on"
    ]
    assert batches.at_once(Batch(1, 1), SECTION, 1 << 40) == 1
    alone = Cramped(Marked(), most=0)
    with pytest.raises(ResourceError, match="does not fit into the memory of cpu"):
        list(batches.predict_each(alone, parts, Batch(1, 1), "max", "fp32", at_once=1))


def test_no_more_threads_are_kept_than_passes(threads: Callable[[int], None]) -> None:
    threads(7)
    found = in_order(lambda _: (sleep(0.002), current_thread().name), range(40), 2)
    assert len({name for _, name in found}) <= 2
    assert torch.get_num_threads() == 7


class Marked(nn.Module):
    """P(boundary) is high where the section is not 0; slow enough for others to begin."""

    def forward(self, sections: Tensor) -> Tensor:
        sleep(0.02)
        return torch.cat((torch.full_like(sections, 0.5), sections), 1)


class Counting(nn.Module):
    """Passes on to a network; the most passes beside each other, and those of one section."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.lock = network, Lock()
        self.now: Counter[float] = Counter()
        self.most = 0
        self.beside: list[int] = []

    def forward(self, sections: Tensor) -> Tensor:
        which = float(sections.flatten()[0])
        with self.lock:
            self.now[which] += 1
            self.most = max(self.most, self.now.total())
            self.beside.append(self.now[which])
        result: Tensor = self.network(sections)
        with self.lock:
            self.now[which] -= 1
        return result


class Cramped(Counting):
    """Memory runs out where more than ``most`` passes are beside each other."""

    def __init__(self, network: nn.Module, most: int = 1) -> None:
        super().__init__(network)
        self.fit = most

    def forward(self, sections: Tensor) -> Tensor:
        result = super().forward(sections)
        if self.now.total() + 1 > self.fit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return result


@pytest.mark.parametrize("planes", ["xy", "three"])
def test_a_block_is_the_same_with_any_memory_to_spare(
    planes: Any, threads: Callable[[int], None], small: Callable[..., nn.Module]
) -> None:
    shape = (4, 16, 24)
    raw = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    network = Counting(small("hybrid_u_net", context_sections=1))
    config = BoundariesConfig(planes=planes, tile=shape, precision="fp32")
    known = {"architecture": "hybrid_u_net", "width": 8, "depth": 2, "flat_levels": 1}
    model = BoundaryModel(network, {}, 8, 4, shape=known, context_sections=1)
    models = {"network": model, "device": "cpu", "batches": Batches("cpu", known)}
    info = VolumeInfo(shape, (8.0, 8.0, 8.0), "uint8")
    none = Corrections.none(shape[0], 0, 255)
    given = Resources(info, models, corrections=none)
    inputs = HeldInputs({"raw": raw, "foreground": np.ones(shape, np.uint8)})
    expected = compute(whole(shape), inputs, config, given)["boundaries"]
    assert network.most == 1
    threads(2)
    found = compute(whole(shape), inputs, config, replace(given, spare_bytes=1 << 30))
    assert_array_equal(found["boundaries"], expected)
    assert expected.std() > 5
    assert network.most == 2

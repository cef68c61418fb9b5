"""Sections that are predicted beside each other on a CPU, each by a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event, Lock
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor, nn

from pipeline.boundaries.batches import SHARED_FROM, Batch, Batches
from pipeline.boundaries.footprint import bytes_per_pixel
from pipeline.boundaries.model import BoundaryModel, load_model
from pipeline.boundaries.prepared import prepared
from pipeline.boundaries.stage import BoundariesConfig, compute
from pipeline.boundaries.torch_threads import in_order
from pipeline.contract import Resources, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.errors import ModelError
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


@pytest.mark.parametrize("number", [2, 3, 5])
@pytest.mark.parametrize("name", ["default", "without-isbi2012"])
def test_maps_of_the_shipped_networks_are_the_same_bit_for_bit(
    name: str, number: int, threads: Callable[[int], None]
) -> None:
    network = prepared(load_model(model_path(name)).network, "cpu")
    sections = torch.rand(4, 152, 152, generator=torch.Generator().manual_seed(1))
    parts = sections.split(1)
    batches, batch = Batches("cpu"), Batch(1, 1)
    expected = list(batches.predict_each(network, parts, batch, "max", "fp32"))
    threads(number)
    found = batches.predict_each(network, iter(parts), batch, "max", "fp32", at_once=number)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_as_many_as_threads_where_memory_holds_them(threads: Callable[[int], None]) -> None:
    batches, batch = Batches("cpu", SHAPE), Batch(1, 1)
    section = bytes_per_pixel(SHAPE) * SECTION
    threads(4)
    assert batches.at_once(batch, 9, SECTION, 3 * section) == 4
    assert batches.at_once(batch, 9, SECTION, 99 * section) == 4
    assert batches.at_once(batch, 3, SECTION, 99 * section) == 3
    assert batches.at_once(batch, 9, SECTION, 3 * section - 1) == 3
    assert batches.at_once(batch, 9, SECTION, 2 * section) == 3
    assert batches.at_once(Batch(2, 1), 9, SECTION, 4 * section) == 3
    assert batches.at_once(batch, 9, 2 * SECTION, 4 * section) == 3
    threads(2)
    assert batches.at_once(batch, 9, SECTION, section) == 2


def test_threads_share_the_layers_where_most_would_have_no_section(
    threads: Callable[[int], None],
) -> None:
    batch, section = Batch(1, 1), bytes_per_pixel(SHAPE) * SECTION
    threads(4)
    assert Batches("cpu", SHAPE).at_once(batch, 9, SECTION, section) is None
    assert Batches("cpu", SHAPE).at_once(batch, 2, SECTION, 99 * section) is None
    assert Batches("cpu").at_once(batch, 9, SECTION, 99 * section) is None  # nothing is known
    assert Batches("cuda", SHAPE).at_once(batch, 9, SECTION, 99 * section) is None
    threads(1)
    assert Batches("cpu", SHAPE).at_once(batch, 9, SECTION, 99 * section) is None


def test_layers_of_small_sections_are_never_shared(threads: Callable[[int], None]) -> None:
    """So that their map does not depend on the number of threads."""
    threads(4)
    assert Batches("cpu", SHAPE).at_once(Batch(1, 1), 1, SHARED_FROM, 0) is None
    assert Batches("cpu", SHAPE).at_once(Batch(1, 1), 1, SHARED_FROM - 1, 0) == 1


@pytest.mark.parametrize("side", [48, 264])
def test_one_section_has_the_same_map_with_any_number_of_threads(
    side: int, threads: Callable[[int], None]
) -> None:
    model = load_model(model_path("default"))
    network, batch = prepared(model.network, "cpu"), Batch(1, 1)
    section = torch.rand(1, side, side, generator=torch.Generator().manual_seed(4))
    found = []
    for number in (1, 2, 3, 6):
        threads(number)
        batches = Batches("cpu", model.shape)
        at_once = batches.at_once(batch, 1, side * side, 0)
        found += batches.predict_each(network, [section], batch, "max", "fp32", at_once=at_once)
    assert all(torch.equal(one, found[0]) for one in found[1:])


class Counting(nn.Module):
    """Passes on to a network; the most sections that it saw beside each other."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.lock = network, Lock()
        self.now = self.most = 0

    def forward(self, sections: Tensor) -> Tensor:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        result: Tensor = self.network(sections)
        with self.lock:
            self.now -= 1
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

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

from pipeline.boundaries.device import autocast, choose_device, choose_precision
from pipeline.boundaries.predict import predict_tile
from pipeline.errors import ResourceError


def pretend(monkeypatch: pytest.MonkeyPatch, devices: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)


@pytest.mark.parametrize(("devices", "expected"), [(0, "cpu"), (2, "cuda")])
def test_auto_takes_cuda_where_there_is_one(
    devices: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, devices)
    assert choose_device("auto") == expected
    assert choose_device("cpu") == "cpu"


def test_an_absent_device_is_an_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    with pytest.raises(ResourceError, match=r"'cuda'.*--device cpu"):
        choose_device("cuda")
    pretend(monkeypatch, 2)
    assert choose_device("cuda:1") == "cuda:1"
    with pytest.raises(ResourceError, match=r"'cuda:2'.*only 2"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "CPU ", "meta", "mps", "xpu:0"])
def test_an_unknown_device_is_an_error_with_the_known_ones(name: str) -> None:
    with pytest.raises(ResourceError, match="auto, cpu or cuda"):
        choose_device(name)


@pytest.mark.parametrize(("amx", "expected"), [(True, "bf16"), (False, "fp32")])
def test_bfloat16_is_chosen_where_the_processor_has_it(
    amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    assert choose_precision("auto", "cpu") == expected
    assert choose_precision("fp32", "cpu") == "fp32"
    assert choose_precision("bf16", "cpu") == "bf16"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), "fp32"), ((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")],
)
def test_a_gpu_computes_in_the_shortest_format_that_it_has(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda name: asked.append(name) or capability
    )
    assert choose_precision("auto", "cuda:1") == expected
    assert choose_precision("fp32", "cuda:1") == "fp32"
    assert asked == ["cuda:1"]


@pytest.mark.parametrize("capability", [(6, 1), (7, 0), (8, 0)])
def test_training_never_computes_in_float16(
    capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda name: capability)
    given: list[tuple[Any, ...]] = []

    def noted(kind: str, dtype: torch.dtype, enabled: bool) -> AbstractContextManager[None]:
        given.append((kind, dtype, enabled))
        return nullcontext()

    monkeypatch.setattr(torch, "autocast", noted)
    with autocast("cuda:0", "auto"):
        pass
    assert given == [("cuda", torch.bfloat16, capability >= (8, 0))]


def test_of_several_threads_the_last_one_restores_what_torch_had() -> None:
    first, second = autocast("cpu", "fp32"), autocast("cpu", "fp32")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not torch.backends.cudnn.allow_tf32
    second.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32


def test_float32_takes_no_tf32_and_leaves_torch_as_it_was() -> None:
    assert torch.backends.cudnn.allow_tf32
    with autocast("cpu", "fp32"):
        assert not torch.backends.cudnn.allow_tf32
    with autocast("cpu", "bf16"):
        assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)],
)
def test_networks_run_in_the_chosen_precision(precision: str, dtype: torch.dtype) -> None:
    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    seen = []
    network.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    with autocast("cpu", precision):
        network(torch.zeros(1, 1, 8, 8))
    probability = predict_tile(network, torch.zeros(1, 8, 8), "max", "cpu", precision)
    assert set(seen) == {dtype}
    assert probability.dtype == torch.float32

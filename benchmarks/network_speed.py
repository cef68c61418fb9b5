"""One network on one device, in a process of its own; ``throughput.py`` starts it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.children import child_main, forget_peak, peak_bytes, resident_bytes
from pipeline.boundaries.batches import Batches, chosen_batch
from pipeline.boundaries.device import autocast, choose_precision, place
from pipeline.boundaries.model import load_model
from pipeline.boundaries.networks import NETWORKS, AnyConfig
from pipeline.boundaries.predict import (
    ORIENTATIONS,
    boundary_probability,
    orient,
    predict_tile,
    reverse,
)
from pipeline.boundaries.prepared import prepared
from pipeline.boundaries.quick_calls import quick_calls
from pipeline.packaged import model_path

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of sections with 8 orientations and their maximum: ours, naive, convolutions alone.

    On a CPU as many sections as threads, since ours gives each a section of its own.

    Parameters
    ----------
    job
        ``model`` (a packaged name or a file) or ``architecture`` and ``shape``, with random
        weights, which do not change the speed; ``device``, ``side`` of the section in pixels,
        ``rounds`` and ``threads``; ``precision`` (by default ``auto``) and ``compile`` (``off``)
        of ours.

    Returns
    -------
    result
        Medians of the rounds, in which the ways take turns.
    """
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    device = job["device"]
    plain, shape = _network(job)
    plain = plain.eval().to(device, memory_format=torch.contiguous_format)
    precision = choose_precision(job.get("precision", "auto"), device)
    network = quick_calls(prepared(plain, device), job.get("compile", "off"), device)
    side = job["side"] - job["side"] % shape.stride
    on_gpu = device.startswith("cuda")
    count = 1 if on_gpu else job["threads"]
    sections = torch.rand(count, 2 * shape.context_sections + 1, side, side, device=device)
    seen = sections[:1]
    forget_peak()
    before = torch.cuda.memory_allocated(device) if on_gpu else resident_bytes()
    batches, batch = Batches(device), chosen_batch("auto", "auto", side * side, device)

    def predict() -> list[Tensor]:
        parts = [partial(torch.clone, one) for one in sections.split(1)]
        maps = batches.predict_each(
            network, parts, batch, "max", precision, at_once=None if on_gpu else count
        )
        return list(maps)

    ours = predict()[0]
    memory = (torch.cuda.max_memory_allocated(device) if on_gpu else peak_bytes()) - before
    layers = convolutions_alone(
        place(copy.deepcopy(plain), device), seen, device, precision, batch.orientations
    )
    ways: dict[str, Callable[[], Any]] = {
        "ours": predict,
        "naive": lambda: [naive(plain, one) for one in sections.split(1)],
        "convolutions": lambda: [layers() for _ in range(count)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(job["rounds"]):
        for name, call in ways.items():
            seconds[name].append(_seconds(call, device))
    return {
        "voxels": count * side * side,
        "seconds": {name: median(times) for name, times in seconds.items()},
        "precision": precision,
        "compile": job.get("compile", "off"),
        "largest_difference": float((ours - exact(plain, seen, device)).abs().max()),
        "memory_bytes": memory,
        "busy": busy_fraction(ways["ours"], device),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
    }


@torch.inference_mode()
def naive(network: nn.Module, seen: Tensor) -> Tensor:
    """The straight way: 8 eager passes in float32, all maps kept, then their maximum.

    As torch is: on a GPU of compute capability 8 or more its convolutions take TF32.
    """
    maps = []
    for turns, flip in ORIENTATIONS:
        logits = network(orient(seen, turns, flip).contiguous())
        maps.append(reverse(boundary_probability(logits), turns, flip))
    return torch.stack(maps).amax(0)


def exact(network: nn.Module, seen: Tensor, device: str) -> Tensor:
    """The map of the straight way in float32 of 24 bits, by which others are judged."""
    with autocast(device, "fp32"):
        return naive(network, seen)


def convolutions_alone(
    network: nn.Module, seen: Tensor, device: str, precision: str, at_once: int
) -> Callable[[], None]:
    """What runs the convolutions of 8 passes on inputs of their shapes, and nothing else.

    Orientations come ``at_once`` together. Inputs of equal shape are one tensor.
    """
    inputs: list[tuple[nn.Module, Tensor]] = []
    known: dict[object, Tensor] = {}

    def keep(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        kind = (given[0].shape, given[0].dtype, given[0].stride())
        inputs.append((module, known.setdefault(kind, torch.rand_like(given[0]))))

    hooks = [
        module.register_forward_pre_hook(keep)
        for module in network.modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    predict_tile(network, seen.repeat(at_once, 1, 1, 1), "none", device, precision)
    for hook in hooks:
        hook.remove()

    @torch.inference_mode()
    def run() -> None:
        for _ in range(0, len(ORIENTATIONS), at_once):
            with autocast(device, precision):
                for module, given in inputs:
                    module(given)

    return run


def busy_fraction(call: Callable[[], Any], device: str) -> float | None:
    """Share of the time in which a GPU computes; ``None`` without one."""
    if not device.startswith("cuda"):
        return None
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        seconds = _seconds(call, device)
    computing = sum(event.self_device_time_total for event in profile.key_averages())
    return float(computing / 1e6 / seconds)


def _network(job: dict[str, Any]) -> tuple[nn.Module, AnyConfig]:
    if "model" in job:
        model = load_model(model_path(job["model"]))
        return model.network, NETWORKS[str(model.shape["architecture"])].configured(model.shape)
    known = NETWORKS[job["architecture"]]
    shape = known.configured(job["shape"])
    return known.build(shape), shape


def _seconds(call: Callable[[], Any], device: str) -> float:
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    child_main(measure)

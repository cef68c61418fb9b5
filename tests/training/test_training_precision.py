"""Mixed precision on a CPU, which computes bf16 and fp16 too, if slowly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.training import precision
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import Training
from pipeline.training.precision import loss_scaler, mixed_with
from pipeline.training.volumes import TrainingVolume

SMALL: dict[str, Any] = {
    "steps": 4, "batch": 2, "crop": 32, "warmup_steps": 1, "checkpoint_steps": 2, "seed": 5,
    "network": {"architecture": "u_net", "width": 8, "depth": 2},
}  # fmt: skip


def trained(path: Path, stop: int = 99, **changes: Any) -> Training:
    z, y, x = np.indices((3, 48, 48))
    membrane = ((y + 3 * z) % 12 < 3) | ((x + 2 * z) % 14 < 3)
    volume = TrainingVolume(
        "cells", np.where(membrane, 0.2, 0.8).astype(np.float32), membrane.astype(np.uint8)
    )
    training = Training([volume], TrainingConfig.model_validate({**SMALL, **changes}), path)
    list(training.run(stop=lambda: training.step >= stop))
    return training


def difference(one: Training, other: Training) -> float:
    pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize(("precision", "likeness"), [("bf16", 0.8), ("fp16", 0.9)])
def test_mixed_arithmetic_keeps_weights_in_fp32_and_comes_near(
    precision: str, likeness: float, tmp_path: Path
) -> None:
    start = trained(tmp_path / "start.pt", steps=1, learning_rate=1e-30)
    full = trained(tmp_path / "fp32.pt", precision="fp32", steps=1, learning_rate=1e-3)
    mixed = trained(tmp_path / "c.pt", precision=precision, steps=1, learning_rate=1e-3)
    assert {p.dtype for p in mixed.network.parameters()} == {torch.float32}
    # The first step of Adam moves a weight by the rate, towards where its gradient points.
    moved = [
        torch.cat([(b - a).detach().flatten() for a, b in zip(*weights, strict=True)])
        for weights in (
            (start.network.parameters(), one.network.parameters()) for one in (full, mixed)
        )
    ]
    assert not torch.equal(*moved)
    assert float(torch.nn.functional.cosine_similarity(*moved, dim=0)) > likeness


def test_fp16_scales_its_loss_and_goes_on_with_the_same_factor(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole.pt", precision="fp16")
    first = trained(tmp_path / "c.pt", stop=3, precision="fp16")
    assert first.scaler.is_enabled()
    second = trained(tmp_path / "c.pt", precision="fp16")
    assert second.scaler.state_dict() == whole.scaler.state_dict()
    assert difference(whole, second) == 0


def test_a_step_whose_scaled_gradients_overflow_is_left_out(tmp_path: Path) -> None:
    before = trained(tmp_path / "c.pt", stop=1, precision="fp16")
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    state["scaler"] |= {"scale": 2.0**60}
    torch.save(state, tmp_path / "c.pt")
    after = trained(tmp_path / "c.pt", stop=1, precision="fp16")
    assert after.scaler.get_scale() == 2.0**59
    assert difference(before, after) == 0


def test_nothing_but_fp16_scales_losses() -> None:
    assert not loss_scaler("fp32", "cpu").is_enabled()
    assert not loss_scaler("bf16", "cpu").is_enabled()
    assert mixed_with("fp32", "cpu") == torch.float32


@pytest.mark.parametrize(
    ("native", "expected"), [("bf16", torch.bfloat16), ("fp16", torch.float32)]
)
def test_auto_trains_in_bf16_or_fp32_also_where_prediction_takes_fp16(
    native: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        precision, "choose_precision", lambda asked, _: native if asked == "auto" else asked
    )
    assert mixed_with("auto", "cuda") == expected
    assert mixed_with("fp16", "cuda") == torch.float16

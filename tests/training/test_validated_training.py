"""Trainings that validate: resumed, ended early, with the weights of the best validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.boundaries.networks.hybrid_u_net import HybridUNetConfig
from pipeline.boundaries.networks.rc_spcnet import RCSPCNetConfig
from pipeline.errors import ConfigError, ModelError
from pipeline.training.config import TrainingConfig
from pipeline.training.crops import draw
from pipeline.training.loop import Training
from pipeline.training.prefetch import drawn_ahead
from pipeline.training.validation import split
from pipeline.training.volumes import TrainingVolume

SETTINGS: dict[str, Any] = {
    "network": RCSPCNetConfig(stem=8, widths=(8, 16), units=(1,) * 6),
    "steps": 8, "batch": 2, "crop": 32, "warmup_steps": 1, "checkpoint_steps": 3, "seed": 5,
    "learning_rate": 0.02, "schedule": "plateau", "plateau_patience": 1, "optimiser": "adam",
    "weight_decay": 0, "average_decay": 0, "loss": "mse", "gradient_norm": None,
    "validation": {"share": 0.3, "every_steps": 2},
}  # fmt: skip


def config_of(**changes: Any) -> TrainingConfig:
    validation = {**SETTINGS["validation"], **changes.pop("validation", {})}
    return TrainingConfig.model_validate({**SETTINGS, **changes, "validation": validation})


def cells() -> tuple[TrainingVolume, TrainingVolume]:
    """Bright cells between dark lines, split."""
    z, y, x = np.indices((6, 48, 48))
    membrane = ((y + 3 * z) % 12 < 3) | ((x + 2 * z) % 14 < 3)
    noise = np.random.default_rng(0).normal(0, 0.05, membrane.shape)
    raw = np.clip(np.where(membrane, 0.2, 0.8) + noise, 0, 1).astype(np.float32)
    learned, held = split(TrainingVolume("cells", raw, membrane.astype(np.uint8)), 0.3)
    assert held is not None
    return learned, held


def training(path: Path, config: TrainingConfig, **how: Any) -> Training:
    learned, held = cells()
    return Training([learned], config, path, held_out=[held], **how)


def state_of(one: Training) -> dict[str, torch.Tensor]:
    networks = {"network": one.network, "average": one.average, "result": one.result}
    return {f"{k}.{n}": t for k, m in networks.items() for n, t in m.state_dict().items()}


def assert_same(one: Training, other: Training) -> None:
    assert one.history.entries == other.history.entries
    assert one.history.watched == other.history.watched
    expected, found = state_of(one), state_of(other)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("killed_after", [1, 4, 5, 7])
def test_killed_and_resumed_equals_uninterrupted(killed_after: int, tmp_path: Path) -> None:
    config = config_of()
    whole = training(tmp_path / "whole.pt", config)
    list(whole.run())
    rates = [e.loss for e in whole.history.entries]
    assert len(rates) == 4
    killed = training(tmp_path / "c.pt", config).run()
    for _ in range(killed_after):
        next(killed)
    killed.close()
    resumed = training(tmp_path / "c.pt", config)
    assert resumed.step == killed_after // 3 * 3
    list(resumed.run())
    assert_same(whole, resumed)


def test_the_learning_rate_falls_where_validation_does_not_improve(tmp_path: Path) -> None:
    one = training(tmp_path / "c.pt", config_of(steps=12, learning_rate=0.2))
    progress = list(one.run())
    losses = [p.validation.loss for p in progress if p.validation]
    assert len(losses) == 6
    expected, best, count = [], float("inf"), 0
    for p in progress:
        expected.append(0.2 * 0.7**count)
        if p.validation:
            count += p.validation.loss >= best
            best = min(best, p.validation.loss)
    assert count > 0
    assert [p.learning_rate for p in progress] == pytest.approx(expected)


def test_an_early_end_is_kept_and_gives_the_best_weights(tmp_path: Path) -> None:
    # Steps of no length at all: nothing improves after the first validation.
    config = config_of(learning_rate=1e-30, validation={"patience": 2}, steps=50)
    one = training(tmp_path / "c.pt", config)
    one.network.eval()
    for module in one.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    progress = list(one.run())
    assert [p.step for p in progress if p.validation] == [2, 4, 6]
    assert [p.improved for p in progress if p.validation] == [True, False, False]
    again = training(tmp_path / "c.pt", config)
    assert again.ended
    assert list(again.run()) == []
    assert_same(one, again)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_result_has_the_weights_that_were_asked_for(keep: str, tmp_path: Path) -> None:
    config = config_of(steps=12, learning_rate=0.3, validation={"keep": keep, "every_steps": 1})
    one = training(tmp_path / "c.pt", config)
    kept: dict[int, dict[str, torch.Tensor]] = {}
    for progress in one.run():
        kept[progress.step] = {k: t.clone() for k, t in one.average.state_dict().items()}
    assert one.history.best is not None
    best = one.history.best.step
    assert best < 12  # so that the two differ
    expected = kept[best if keep == "best" else 12]
    found = one.result.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not one.result.training


def test_validation_changes_nothing_of_what_is_learned(tmp_path: Path) -> None:
    learned, held = cells()
    config = config_of(schedule="cosine")
    with_it = Training([learned], config, tmp_path / "a.pt", held_out=[held])
    without = Training([learned], config, tmp_path / "b.pt")
    list(with_it.run())
    list(without.run())
    found = without.network.state_dict()
    assert all(torch.equal(found[n], t) for n, t in with_it.network.state_dict().items())


def test_threads_that_draw_ahead_change_nothing(tmp_path: Path) -> None:
    one = training(tmp_path / "a.pt", config_of(), drawing_threads=0)
    two = training(tmp_path / "b.pt", config_of(), drawing_threads=3)
    list(one.run())
    list(two.run())
    assert_same(one, two)


def test_batches_come_in_their_order_however_long_they_take() -> None:
    from threading import Event

    last = Event()

    def drawn(step: int) -> int:
        if step == 3:
            assert last.wait(10)
        if step == 5:
            last.set()
        return step

    assert list(drawn_ahead(drawn, 3, 9, 4)) == list(range(3, 9))


def test_a_batch_that_cannot_be_drawn_stops_the_training() -> None:
    def drawn(step: int) -> int:
        if step == 2:
            raise ModelError("no such crop")
        return step

    batches = drawn_ahead(drawn, 0, 9, 2)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ModelError, match="no such crop"):
        next(batches)


def test_a_plateau_without_validation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plateau needs sections.*validation\.share"):
        Training([cells()[0]], config_of(), tmp_path / "c.pt")


@pytest.mark.parametrize("change", [{"validations": [[2]]}, {"best": None, "validations": 3}])
def test_a_checkpoint_with_damaged_validations_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "c.pt"
    list(training(path, config_of(steps=2)).run())
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        training(path, config_of(steps=2))


def test_a_network_with_context_is_trained_and_resumed(tmp_path: Path) -> None:
    config = config_of(network=HybridUNetConfig(context_sections=1, width=8, depth=2), steps=4)
    whole = training(tmp_path / "a.pt", config)
    list(whole.run())
    assert len(whole.history.entries) == 2
    first = training(tmp_path / "b.pt", config)
    list(first.run(stop=lambda: first.step >= 1))
    second = training(tmp_path / "b.pt", config)
    list(second.run())
    assert_same(whole, second)


def test_volumes_of_different_voxels_are_drawn_at_one_pixel_size() -> None:
    """Stripes of one period in nm have one period in pixels, whatever the voxels."""
    still = {
        "scale": (1, 1), "rotation_degrees": 0, "elastic_pixels": 0, "contrast": 0,
        "brightness": 0, "gamma": 0, "noise": 0, "blur_sigma": 0, "defect_probability": 0,
    }  # fmt: skip
    for voxel in (4.0, 8.0, 16.0):
        nm = (np.arange(160) + 0.5) * voxel
        wave = (0.5 + 0.4 * np.sin(2 * np.pi * nm / 160)).astype(np.float32)
        raw = np.broadcast_to(wave, (2, 160, 160)).copy()
        volume = TrainingVolume(
            "w", raw, np.zeros(raw.shape, np.uint8), voxel_nm=(50, voxel, voxel)
        )
        config = config_of(augmentation=still, pixel_nm=8.0, crop=32, batch=1)
        row = draw([volume], config, 1)[0][0, 0, 16].numpy() - 0.5
        # A period is 20 pixels of 8 nm: half of it later the wave is its negative.
        np.testing.assert_allclose(row[10:], -row[:-10], atol=0.06)
        assert row.max() > 0.3

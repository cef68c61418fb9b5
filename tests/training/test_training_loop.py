from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.boundaries.networks.rc_spcnet import RCSPCNetConfig
from pipeline.errors import ConfigError, ModelError
from pipeline.training.augmentation import AugmentationConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.crops import draw, generator_of
from pipeline.training.loop import Training
from pipeline.training.schedules import learning_rate
from pipeline.training.targets import IGNORE
from pipeline.training.volumes import TrainingVolume

NETWORK = RCSPCNetConfig(stem=8, widths=(8, 16), units=(1,) * 6)
CONFIG = TrainingConfig(
    network=NETWORK, steps=6, batch=2, crop=32, warmup_steps=2, checkpoint_steps=2, seed=5
)


def cells(shape: tuple[int, int, int] = (3, 48, 48), **how: Any) -> TrainingVolume:
    """Bright cells with a dark grid of membranes."""
    z, y, x = np.indices(shape)
    membrane = ((y + 3 * z) % 12 < 3) | ((x + 2 * z) % 14 < 3)
    noise = np.random.default_rng(0).normal(0, 0.05, shape)
    raw = np.clip(np.where(membrane, 0.2, 0.8) + noise, 0, 1).astype(np.float32)
    return TrainingVolume("cells", raw, membrane.astype(np.uint8), **how)


def trained(path: Path, config: TrainingConfig = CONFIG, **how: Any) -> Training:
    training = Training([cells()], config, path, **how)
    for _ in training.run():
        pass
    return training


def state_of(training: Training) -> dict[str, torch.Tensor]:
    networks = {"network": training.network, "average": training.average}
    return {f"{k}.{n}": t for k, m in networks.items() for n, t in m.state_dict().items()}


def test_an_easy_problem_is_learned(tmp_path: Path) -> None:
    config = CONFIG.model_copy(
        update={
            "steps": 60,
            "learning_rate": 0.01,
            "warmup_steps": 5,
            "checkpoint_steps": 1000,
            "augmentation": AugmentationConfig(elastic_pixels=0, gamma=0, blur_sigma=0),
        }
    )
    losses = [p.loss for p in Training([cells()], config, tmp_path / "c.pt").run()]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize("interrupted_after", [1, 2, 3, 5])
def test_interrupted_and_resumed_equals_uninterrupted(
    interrupted_after: int, tmp_path: Path
) -> None:
    expected = state_of(trained(tmp_path / "whole.pt"))
    path = tmp_path / "c.pt"
    first = Training([cells()], CONFIG, path)
    steps = list(first.run(stop=lambda: first.step >= interrupted_after))
    assert [p.step for p in steps] == list(range(1, interrupted_after + 1))
    second = Training([cells()], CONFIG, path)
    assert second.step == interrupted_after
    assert [p.step for p in second.run()] == list(range(interrupted_after + 1, 7))
    found = state_of(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_killed_between_checkpoints_goes_on_from_the_last_one(tmp_path: Path) -> None:
    expected = state_of(trained(tmp_path / "whole.pt"))
    killed = Training([cells()], CONFIG, tmp_path / "c.pt").run()
    for _ in range(3):
        next(killed)
    killed.close()
    resumed = Training([cells()], CONFIG, tmp_path / "c.pt")
    assert resumed.step == 2
    list(resumed.run())
    found = state_of(resumed)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_finished_training_has_nothing_left_to_do(tmp_path: Path) -> None:
    expected = state_of(trained(tmp_path / "c.pt"))
    again = Training([cells()], CONFIG, tmp_path / "c.pt")
    assert list(again.run()) == []
    found = state_of(again)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_the_average_follows_the_weights_slowly(tmp_path: Path) -> None:
    training = Training([cells()], CONFIG, tmp_path / "c.pt")
    before = training.average.stem[0].weight.clone()  # type: ignore[index,union-attr,operator]
    next(training.run())
    new = training.network.stem[0].weight  # type: ignore[index,union-attr]
    # In step 0 the decay is (1 + 0) / (10 + 0).
    expected = 0.1 * before + 0.9 * new.detach()  # type: ignore[operator]
    torch.testing.assert_close(
        training.average.stem[0].weight.detach(),  # type: ignore[index,union-attr,operator]
        expected,
    )


def test_another_seed_gives_another_network(tmp_path: Path) -> None:
    one = state_of(trained(tmp_path / "1.pt", CONFIG.model_copy(update={"steps": 1})))
    two = state_of(trained(tmp_path / "2.pt", CONFIG.model_copy(update={"steps": 1, "seed": 6})))
    name = "average.head.4.weight"
    assert not torch.equal(one[name], two[name])


def test_fine_tuning_starts_from_the_given_weights(tmp_path: Path) -> None:
    start = trained(tmp_path / "1.pt").average.state_dict()
    tuned = Training([cells()], CONFIG, tmp_path / "2.pt", start=start)
    assert all(torch.equal(t, start[n]) for n, t in tuned.average.state_dict().items())
    assert tuned.step == 0


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    start = trained(tmp_path / "1.pt").average.state_dict()
    wider = CONFIG.model_copy(update={"network": RCSPCNetConfig(stem=5, widths=(4, 8))})
    with pytest.raises(ModelError, match=r"another shape than training\.network"):
        Training([cells()], wider, tmp_path / "2.pt", start=start)


@pytest.mark.parametrize(
    "change",
    [{"steps": 7}, {"seed": 6}, {"learning_rate": 1e-3}, {"network": RCSPCNetConfig(stem=5)}],
    ids=str,
)
def test_a_checkpoint_of_another_configuration_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "c.pt"
    trained(path, CONFIG.model_copy(update={"steps": 1}))
    other = CONFIG.model_copy(update={"steps": 1, **change})
    with pytest.raises(ConfigError, match="another configuration") as caught:
        Training([cells()], other, path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04" + b"\0" * 50])
def test_a_garbage_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a readable checkpoint") as caught:
        Training([cells()], CONFIG, path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    trained(path, CONFIG.model_copy(update={"steps": 1}))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        Training([cells()], CONFIG, path)


@pytest.mark.parametrize(
    "change",
    [{"network": {}}, {"average": None}, {"optimizer": {}}, {"step": "many"}, {"config": 3}],
    ids=str,
)
def test_a_checkpoint_with_foreign_parts_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    config = CONFIG.model_copy(update={"steps": 1})
    trained(path, config)
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises((ModelError, ConfigError), match=r"c\.pt"):
        Training([cells()], config, path)


@pytest.mark.parametrize("state", [[1, 2], {}, {"config": "{}"}, 3], ids=str)
def test_another_torch_file_is_refused(state: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    torch.save(state, path)
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        Training([cells()], CONFIG, path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def test_nothing_in_a_checkpoint_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"config": Bomb()}, tmp_path / "c.pt")
    with pytest.raises(ModelError):
        Training([cells()], CONFIG, tmp_path / "c.pt")
    assert not (tmp_path / "exploded").exists()


def test_training_on_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty"):
        Training([], CONFIG, tmp_path / "c.pt")


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    volume = cells()
    volume.raw[:] = np.nan
    with pytest.raises(ModelError, match=r"at step 0; lower training\.learning_rate"):
        list(Training([volume], CONFIG, tmp_path / "c.pt").run())


def test_draw_depends_on_seed_and_step_alone() -> None:
    torch.manual_seed(1)
    first = draw([cells()], CONFIG, 3)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, draw([cells()], CONFIG, 3), strict=True))
    for other in (
        draw([cells()], CONFIG, 4),
        draw([cells()], CONFIG.model_copy(update={"seed": 6}), 3),
    ):
        assert not torch.equal(first[0], other[0])


def test_generators_of_seed_and_step_do_not_meet() -> None:
    pairs = [(seed, step) for seed in range(20) for step in range(20)]
    assert len({generator_of(*pair).initial_seed() for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("isotropic", [True, False])
def test_batches_have_their_shapes_and_ranges(isotropic: bool) -> None:
    raw, target, known = draw([cells((6, 40, 9), isotropic=isotropic)], CONFIG, 0)
    assert raw.shape == (2, 1, 32, 32)
    assert target.shape == known.shape == (2, 32, 32)
    for tensor in (raw, target, known):
        assert tensor.dtype == torch.float32
        assert 0 <= float(tensor.min()) <= float(tensor.max()) <= 1


def planes_seen(isotropic: bool) -> set[int]:
    """Axes along which sections were taken: grey values of axis-wise ramps tell them."""
    still = AugmentationConfig(
        scale=(1, 1), rotation_degrees=0, elastic_pixels=0, contrast=0, brightness=0, gamma=0,
        noise=0, blur_sigma=0, defect_probability=0,
    )  # fmt: skip
    config = CONFIG.model_copy(update={"batch": 1, "augmentation": still})
    seen = set()
    for axis in range(3):
        raw = np.zeros((40, 40, 40), np.float32)
        raw += np.linspace(0, 1, 40, dtype=np.float32).reshape(
            [-1 if k == axis else 1 for k in range(3)]
        )
        volume = TrainingVolume("ramp", raw, np.zeros(raw.shape, np.uint8), isotropic=isotropic)
        if any(float(draw([volume], config, step)[0].std()) < 1e-3 for step in range(12)):
            seen.add(axis)
    return seen


def test_isotropic_volumes_give_crops_of_all_planes() -> None:
    assert planes_seen(isotropic=True) == {0, 1, 2}
    assert planes_seen(isotropic=False) == {0}


def test_volumes_are_drawn_by_their_weights() -> None:
    dark = TrainingVolume(
        "dark", np.zeros((1, 32, 32), np.float32), np.zeros((1, 32, 32), np.uint8), weight=1
    )
    marked = TrainingVolume(
        "marked", np.zeros((1, 32, 32), np.float32), np.ones((1, 32, 32), np.uint8), weight=3
    )
    config = CONFIG.model_copy(update={"batch": 400})
    _, target, _ = draw([dark, marked], config, 0)
    assert float(target.mean()) == pytest.approx(0.75, abs=0.07)


def test_ignored_voxels_are_unknown_and_not_boundary() -> None:
    target = np.zeros((1, 64, 64), np.uint8)
    target[:, :32] = IGNORE
    volume = TrainingVolume("half", np.zeros((1, 64, 64), np.float32), target)
    config = CONFIG.model_copy(update={"batch": 8})
    _, boundary, known = draw([volume], config, 1)
    assert float(boundary.max()) == 0
    assert 0.5 < float(known.mean()) < 0.95


def test_a_volume_without_known_voxels_teaches_nothing(tmp_path: Path) -> None:
    volume = cells()
    unknown = TrainingVolume("unknown", volume.raw, np.full_like(volume.target, IGNORE))
    config = CONFIG.model_copy(update={"weight_decay": 0.0})
    training = Training([unknown], config, tmp_path / "c.pt")
    before = [p.detach().clone() for p in training.network.parameters()]
    assert [p.loss for p in training.run()] == [0.0] * config.steps
    after = list(training.network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_learning_rate_warms_up_and_falls_to_one_hundredth() -> None:
    config = TrainingConfig(steps=110, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1)
    assert rates[10] == pytest.approx(1)
    assert rates[60] == pytest.approx(0.505)
    assert rates[110] == pytest.approx(0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_warm_up_longer_than_the_training_is_possible(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 1, "warmup_steps": 100})
    assert learning_rate(0, config) == pytest.approx(config.learning_rate / 100)
    assert trained(tmp_path / "c.pt", config).step == 1


def test_volumes_are_not_mutated(tmp_path: Path) -> None:
    volume = cells(isotropic=True)
    raw, target = volume.raw.copy(), volume.target.copy()
    list(Training([volume], CONFIG, tmp_path / "c.pt").run())
    assert np.array_equal(volume.raw, raw)
    assert np.array_equal(volume.target, target)

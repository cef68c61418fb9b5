"""Trainings that diverge, run out of room or memory, or are killed: clear, and nothing lost."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from small_pipeline import SECTIONS_NM, paint_tissue
from torch import Tensor

from pipeline.boundaries.model import load_model
from pipeline.cli import main
from pipeline.errors import ConfigError, ModelError, OutputError, ResourceError
from pipeline.training import loop
from pipeline.training.checkpoint import all_finite
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import Training
from pipeline.training.losses import LOSSES
from pipeline.training.memory import check_memory, least_bytes, told_of_memory
from pipeline.training.readback import Losses
from pipeline.training.validation import Validation
from pipeline.training.volumes import TrainingVolume
from workflows.train_boundaries import read_training, train_boundaries

NETWORK = {"architecture": "rc_spcnet", "stem": 8, "widths": [8, 16], "units": [1] * 6}
SMALL: dict[str, Any] = {
    "steps": 6, "batch": 2, "crop": 32, "warmup_steps": 1, "checkpoint_steps": 2, "seed": 5,
    "network": NETWORK,
}  # fmt: skip
CONFIG = TrainingConfig.model_validate(SMALL)


def cells(shape: tuple[int, int, int] = (3, 48, 48)) -> TrainingVolume:
    z, y, x = np.indices(shape)
    membrane = ((y + 3 * z) % 12 < 3) | ((x + 2 * z) % 14 < 3)
    raw = np.where(membrane, 0.2, 0.8).astype(np.float32)
    return TrainingVolume("cells", raw, membrane.astype(np.uint8))


def drawing_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("draw")]


def spoil(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The loss of one step is NaN."""
    real, calls = LOSSES[CONFIG.loss], iter(range(1000))

    def loss(*args: Any) -> Tensor:
        found = real(*args)
        return found * float("nan") if next(calls) == step else found

    monkeypatch.setitem(LOSSES, CONFIG.loss, loss)


@pytest.mark.parametrize("behind", [0, 2])
def test_a_loss_of_nan_names_its_step_and_keeps_the_checkpoint_before(
    behind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.pt"
    spoil(monkeypatch, 3)
    with pytest.raises(ModelError, match=r"nan at step 3; c\.pt is of step 2; lower .*fp32"):
        list(Training([cells()], CONFIG, path, steps_behind=behind).run())
    kept = torch.load(path, weights_only=True)
    assert kept["step"] == 2
    assert all_finite(kept)


def test_weights_of_nan_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    training = Training([cells()], CONFIG, path)
    progress = training.run()
    for _ in range(3):
        next(progress)
    with torch.no_grad():
        training.optimizer.state[next(training.network.parameters())]["exp_avg"].fill_(np.nan)
    with pytest.raises(ModelError, match="weights are NaN or infinite after step 3"):
        next(progress)
    assert all_finite(torch.load(path, weights_only=True))


def test_a_validation_of_nan_stops_the_training_before_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "validated", lambda *_: Validation(float("nan"), None))
    config = CONFIG.model_copy(
        update={"validation": CONFIG.validation.model_copy(update={"every_steps": 3})}
    )
    training = Training([cells()], config, tmp_path / "c.pt", held_out=[cells()])
    with pytest.raises(ModelError, match=r"validated became nan at step 3; c\.pt is of step 2"):
        list(training.run())
    assert training.history.entries == []


def test_threads_that_draw_end_with_a_training_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 1)
    with pytest.raises(ModelError):
        list(Training([cells()], CONFIG, tmp_path / "c.pt", drawing_threads=2).run())
    assert drawing_threads() == []


def test_threads_that_draw_end_with_a_training_that_is_interrupted(tmp_path: Path) -> None:
    progress = Training([cells()], CONFIG, tmp_path / "c.pt", drawing_threads=2).run()
    next(progress)
    assert drawing_threads() != []
    with pytest.raises(KeyboardInterrupt):
        progress.throw(KeyboardInterrupt)
    assert drawing_threads() == []


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_threads_and_losses_read_later_change_no_weight_of_a_resumed_training(
    stopped_after: int, tmp_path: Path
) -> None:
    whole = Training([cells()], CONFIG, tmp_path / "whole.pt")
    expected = [p.loss for p in whole.run()]
    how: dict[str, Any] = {"drawing_threads": 3, "steps_behind": 2}
    first = Training([cells()], CONFIG, tmp_path / "c.pt", **how)
    list(first.run(stop=lambda: first.step >= stopped_after))
    second = Training([cells()], CONFIG, tmp_path / "c.pt", **{**how, "drawing_threads": 1})
    found = [p.loss for p in second.run()]
    # A checkpoint waits for all losses, here every second step.
    assert found == [x if n % 2 else None for n, x in enumerate(expected)][stopped_after:]
    state = second.average.state_dict()
    assert all(torch.equal(state[name], t) for name, t in whole.average.state_dict().items())


def test_losses_are_read_in_their_order_and_none_is_lost() -> None:
    losses = Losses(2)
    read = [list(losses.add(step, torch.tensor(10.0 * step))) for step in range(4)]
    assert read == [[], [], [(0, 0.0)], [(1, 10.0)]]
    assert list(losses.rest()) == [(2, 20.0), (3, 30.0)]
    assert list(losses.rest()) == []


def test_a_full_disk_is_told_and_the_checkpoint_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    path = tmp_path / "c.pt"
    progress = Training([cells()], CONFIG, path).run()
    for _ in range(2):
        next(progress)
    before = path.read_bytes()
    (tmp_path / "c.partial").symlink_to("/dev/full")  # where the next one is written first
    with pytest.raises(ResourceError, match=r"c\.pt: the checkpoint of step 4.*No space left"):
        list(progress)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
    resumed = Training([cells()], CONFIG, path)
    assert resumed.step == 2
    assert len(list(resumed.run())) == 4


def _needs_too_much(*_: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_a_device_without_memory_is_told_with_a_way_out(tmp_path: Path) -> None:
    training = Training([cells()], CONFIG, tmp_path / "c.pt")
    training.network.register_forward_pre_hook(_needs_too_much)
    with pytest.raises(ResourceError, match=r"too little memory.*lower training\.batch"):
        list(training.run())


def test_other_errors_are_not_taken_for_missing_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), told_of_memory("cpu"):
        raise RuntimeError("shapes do not match")


def test_the_least_memory_by_hand() -> None:
    config = TrainingConfig.model_validate(
        {**SMALL, "network": {"architecture": "u_net", "width": 8, "depth": 1}, "batch": 3}
    )
    training = Training([cells()], config, Path("unused.pt"))
    weights = sum(p.numel() for p in training.network.parameters())
    # Two convolutions of 8 channels, two of 16 at half the resolution, 8 channels up again and
    # two of 8 there, and two classes.
    pixels = 32 * 32
    outputs = pixels * (8 + 8 + 16 / 4 + 16 / 4 + 8 + 8 + 8 + 2)
    assert least_bytes(config) == 4 * (5 * weights + 3 * outputs)


def test_a_training_that_cannot_fit_is_refused_before_it_begins() -> None:
    least = least_bytes(CONFIG)
    check_memory(CONFIG, least)
    with pytest.raises(ResourceError, match=r"needs .* GB of memory at least.*lower training"):
        check_memory(CONFIG, least - 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tissue = paint_tissue((8, 64, 64), cells=20, z_step=5)
    tifffile.imwrite(tmp_path / "raw.tif", tissue.raw)
    tifffile.imwrite(tmp_path / "cells.tif", tissue.cells.astype(np.uint16))
    volume = {
        "name": "painted", "raw": "raw.tif", "truth": "cells.tif", "truth_kind": "labels",
        "voxel_size_nm": list(SECTIONS_NM),
    }  # fmt: skip
    values = {"name": "small", "licence": "none", "training": SMALL, "volumes": [volume]}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


def test_no_model_is_left_by_a_training_that_diverged(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *("train", "boundaries", str(data / "small.yaml"), "--data", str(data), "--device", "cpu"),
        *("--output", str(data / "out"), "--set", "training.learning_rate=1e30"),
        *("--set", "training.gradient_norm=null"),
    ]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "lower training.learning_rate (it is 1e+30)" in capsys.readouterr().err
    assert not list((data / "out").glob("*.safetensors"))


def test_a_share_of_no_base_is_refused(data: Path) -> None:
    config = read_training(data / "small.yaml", ["base_share=0.5"])
    with pytest.raises(ConfigError, match=r"base_share = 0\.5.*--from"):
        train_boundaries(config, data, data / "out", device="cpu")


def test_a_folder_in_which_another_process_trains_is_refused_and_left_as_it_is(data: Path) -> None:
    config = read_training(data / "small.yaml")
    out = data / "out"
    out.mkdir()
    with (out / "lock").open("w") as file:
        file.write("process 7 on another")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match=r"in use by another training \(process 7 on another"):
            train_boundaries(config, data, out, device="cpu")
        assert [path.name for path in out.iterdir()] == ["lock"]
    assert train_boundaries(config, data, out, device="cpu").exists()


KILLED = """
import os, signal, sys, torch
torch.set_num_threads(1)
moment, count = sys.argv.pop(1), int(sys.argv.pop(1))
module, name = (torch, "save") if moment == "writing" else (os, "replace")
real, calls = getattr(module, name), []

def dies(*args, **how):
    if str(args[-1]).endswith("checkpoint.pt") or moment == "writing":
        calls.append(1)
        if len(calls) == count:
            if moment == "writing":
                args[1].write(b"half a checkpoint"); args[1].flush()
            if moment == "replaced":
                real(*args, **how)
            os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **how)

setattr(module, name, dies)
from pipeline.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written_gives_the_same_weights(data: Path) -> None:
    config = read_training(data / "small.yaml")
    expected = load_model(train_boundaries(config, data, data / "whole", device="cpu"))
    arguments = [
        *("train", "boundaries", str(data / "small.yaml"), "--data", str(data), "--device", "cpu"),
        *("--output", str(data / "out")),
    ]
    for moment, count in (("writing", 1), ("replacing", 1), ("replaced", 1), ("writing", 1)):
        script = [sys.executable, "-c", KILLED, moment, str(count), *arguments]
        assert subprocess.run(script, check=False).returncode == -signal.SIGKILL
        assert not list((data / "out").glob("*.safetensors"))
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    found = load_model(data / "out" / "small.safetensors").network.state_dict()
    weights = expected.network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=str)
def test_ended_at_any_moment_a_training_goes_on_to_the_same_weights(
    how: signal.Signals, data: Path
) -> None:
    longer = "training.steps=60"
    config = read_training(data / "small.yaml", [longer])
    expected = load_model(train_boundaries(config, data, data / "whole", device="cpu"))
    arguments = [
        *("train", "boundaries", str(data / "small.yaml"), "--data", str(data), "--device", "cpu"),
        *("--output", str(data / "out"), "--set", longer),
    ]
    checkpoint = data / "out" / "checkpoint.pt"
    reached = []
    for seconds in np.random.default_rng(int(how)).uniform(0, 0.2, 2):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        running = subprocess.Popen([sys.executable, "-m", "pipeline", *arguments])
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert running.poll() is None
            time.sleep(0.01)
        time.sleep(seconds)
        running.send_signal(how)
        assert running.wait(timeout=60) != 0
        reached.append(int(torch.load(checkpoint, weights_only=True)["step"]))
    assert reached == sorted(set(reached))
    assert reached[-1] < 60
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    found = load_model(data / "out" / "small.safetensors").network.state_dict()
    weights = expected.network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())

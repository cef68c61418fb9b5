"""Which device networks run on, where that is decided by a cluster file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from pipeline.errors import ConfigError
from workflows.cluster import Workplace
from workflows.devices import WorkerDevice, worker_device
from workflows.worker_specs import Specs, local_specs

CPU = """
kind: local
groups:
  cpu: {jobs: 1, cores: 1, memory: 1GiB}
"""
BOTH = CPU + "  gpu: {jobs: 1, cores: 1, memory: 1GiB}\n"


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Workplace:
    path = tmp_path / "cluster.yaml"
    path.write_text(request.param)
    return Workplace(cluster=path)


@pytest.mark.parametrize("cluster", [BOTH], indirect=True)
def test_a_group_of_gpus_gets_the_networks_though_the_driver_has_none(cluster: Workplace) -> None:
    assert worker_device("auto", cluster) == WorkerDevice("cuda", "bf16", here=False)
    assert worker_device("cpu", cluster) == WorkerDevice("cpu", "fp32", here=True)


@pytest.mark.parametrize("cluster", [CPU], indirect=True)
def test_without_one_networks_run_on_the_cpus(cluster: Workplace) -> None:
    assert worker_device("auto", cluster).name == "cpu"
    with pytest.raises(ConfigError, match="has no group gpu"):
        worker_device("cuda", cluster)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda name: (9, 0))


def seen_by(specs: Specs) -> list[str]:
    return [one["options"].get("env", {}).get("CUDA_VISIBLE_DEVICES") for one in specs.values()]


@pytest.mark.usefixtures("two_gpus")
def test_of_several_gpus_each_local_worker_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen_by(local_specs(3, 1, None)) == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert seen_by(local_specs(3, 1, None)) == ["4", "6", "4"]


def test_without_gpus_local_workers_see_what_this_process_sees() -> None:
    assert seen_by(local_specs(2, 1, None)) == [None, None]


@pytest.mark.usefixtures("two_gpus")
def test_a_run_in_this_process_says_how_to_use_the_other_gpus(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        assert worker_device("auto", Workplace()) == WorkerDevice("cuda", "bf16", here=True)
    assert "one of 2 GPUs is used; --workers 2 uses all" in caplog.text
    caplog.clear()
    assert worker_device("auto", Workplace(workers=2)).name == "cuda"
    assert worker_device("cuda:1", Workplace()).name == "cuda:1"
    assert not caplog.records


@pytest.mark.usefixtures("two_gpus")
def test_one_gpu_for_all_workers_is_refused_with_the_way_to_choose_gpus() -> None:
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=1"):
        worker_device("cuda:1", Workplace(workers=2))


def test_in_this_process_the_machine_decides() -> None:
    assert worker_device("cpu", Workplace()).here

"""Which device networks run on, where that is decided by a cluster file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from workflows.cluster import Workplace
from workflows.devices import WorkerDevice, worker_device

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


def test_in_this_process_the_machine_decides() -> None:
    assert worker_device("cpu", Workplace()).here

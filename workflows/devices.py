"""The device of the networks, where the workers may have another machine than the driver."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pipeline.boundaries.device import choose_device, choose_precision
from pipeline.errors import ConfigError
from workflows.cluster import Workplace
from workflows.executor import Executor
from workflows.worker_specs import visible_gpus

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerDevice:
    """What networks run on.

    Parameters
    ----------
    name
        ``cpu``, ``cuda`` or ``cuda:1``.
    precision
        What ``auto`` becomes there: ``fp32``, ``bf16`` or ``fp16``.
    here
        Whether this process has it, so that it may be tried before the run.
    """

    name: str
    precision: str
    here: bool


def worker_device(asked: str, workplace: Workplace) -> WorkerDevice:
    """The device for a run.

    Where a cluster file gives a group ``gpu``, networks run there, on its first device; its
    precision is taken as bf16, which GPUs compute natively from 2020 on. The workers of a
    scheduler that runs already are asked.

    Parameters
    ----------
    asked
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    workplace
        Where tasks run.

    Raises
    ------
    ConfigError
        For ``cuda`` on a cluster without a group ``gpu``.
    ResourceError
        If the device is not there, or no worker can be asked.
    """
    if workplace.file is not None:
        return _of_cluster(asked, workplace)
    if workplace.scheduler is not None:
        with Executor(workplace) as executor:
            name, precision = executor.ask(_found, asked, on_device=True)
        return WorkerDevice(name, precision, here=False)
    gpus = len(visible_gpus())
    if gpus > 1 and asked.startswith("cuda:") and not workplace.here:
        raise ConfigError(
            f"--device {asked} with --workers: each worker has a GPU of its own, in turn; give "
            f"--device cuda, and choose GPUs by CUDA_VISIBLE_DEVICES={asked[5:]} before the command"
        )
    found = WorkerDevice(*_found(asked), here=True)
    if gpus > 1 and found.name == "cuda" and workplace.here:
        LOG.info("one of %d GPUs is used; --workers %d uses all", gpus, gpus)
    return found


def _of_cluster(asked: str, workplace: Workplace) -> WorkerDevice:
    assert workplace.file is not None
    has_gpus = workplace.file.groups.gpu is not None
    if asked == "auto":
        asked = "cuda" if has_gpus else "cpu"
    if asked == "cpu":
        # jobs may get any machine of a queue: only fp32 is the same on all
        return WorkerDevice("cpu", "fp32", here=True)
    if not has_gpus:
        raise ConfigError(f"--device {asked}, but {workplace.cluster} has no group gpu; add one")
    return WorkerDevice(asked, "bf16", here=False)


def _found(asked: str) -> tuple[str, str]:
    """Device and precision where this runs."""
    name = choose_device(asked)
    return name, choose_precision("auto", name)

"""What each worker is started with: processes of this machine, or jobs of a queue.

Specifications are plain values as ``SpecCluster`` of dask takes them; classes stand as names.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from workflows.blocks import OVERLAPPED
from workflows.cluster_file import ClusterFile, Group

LOOPBACK = "127.0.0.1"
LEAVE_MINUTES = 3
"""A worker leaves at least so long before its job would be ended."""
SHORT_MINUTES = 15
"""Jobs up to this long are simply ended."""
JOBS = {
    "slurm": "dask_jobqueue.slurm.SLURMJob",
    "lsf": "dask_jobqueue.lsf.LSFJob",
    "pbs": "dask_jobqueue.pbs.PBSJob",
    "sge": "dask_jobqueue.sge.SGEJob",
}

Specs = dict[str, dict[str, Any]]
"""Name of a process or job -> its class, options and, of several workers, their suffixes."""


def local_specs(workers: int, threads: int, memory_bytes: int | None) -> Specs:
    """Equal workers on this machine; of several GPUs each sees one, in turn."""
    gpus = visible_gpus()
    found = {}
    for i in range(workers):
        one = {"env": {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]}} if len(gpus) > 1 else {}
        found[f"local-{i}"] = _local(threads, memory_bytes or 0, **one)
    return found


def visible_gpus() -> list[str]:
    """GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if not torch.cuda.is_available():
        return []
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    return asked.split(",") if asked else [str(i) for i in range(torch.cuda.device_count())]


def specs_of(file: ClusterFile, security: Any, settings: Mapping[str, Any]) -> Specs:
    """Workers of a cluster file.

    Parameters
    ----------
    file
        The cluster.
    security
        Dask's TLS settings, if the file has any.
    settings
        Of dask, that the workers need too.
    """
    found: Specs = {}
    for name, group in file.groups.given().items():
        at_once = _at_once(file, name)
        found |= (
            _local_group(name, group, at_once)
            if file.kind == "local"
            else _jobs(file, name, group, at_once, security, settings)
        )
    return found


def _at_once(file: ClusterFile, name: str) -> int:
    """Tasks of a worker at a time: where a GPU computes all else is done by the CPU workers."""
    return OVERLAPPED if name == "gpu" and file.groups.cpu is not None else 1


def announced(name: str) -> str:
    """The resource that workers of a group announce: ``CPU`` or ``GPU``."""
    return name.upper()


def _local(threads: int, memory_bytes: int, **more: Any) -> dict[str, Any]:
    options = {
        "nthreads": threads,
        "memory_limit": memory_bytes,
        "host": LOOPBACK,
        "dashboard": False,
        "preload": ["workflows.local_worker"],
        **more,
    }
    return {"cls": "distributed.Nanny", "options": options}


def _local_group(name: str, group: Group, at_once: int) -> Specs:
    """Each GPU worker sees one device, CPU workers none."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = asked.split(",") if asked else [str(i) for i in range(group.workers)]
    found = {}
    for i in range(group.workers):
        device = devices[i % len(devices)] if name == "gpu" else ""
        found[f"{name}-{i}"] = _local(
            at_once,
            group.memory_bytes,
            resources={announced(name): at_once},
            env={"CUDA_VISIBLE_DEVICES": device},
            local_directory=str(group.scratch) if group.scratch else None,
        )
    return found


def _jobs(
    file: ClusterFile,
    name: str,
    group: Group,
    at_once: int,
    security: Any,
    settings: Mapping[str, Any],
) -> Specs:
    several = group.workers_per_job
    options = {
        "cores": group.cores * several,
        "processes": several,
        "memory": f"{group.memory_bytes * several}B",
        "queue": group.queue,
        "walltime": _walltime(file.kind, group),
        "interface": file.interface,
        "protocol": "tls://" if file.tls else None,
        "security": security,
        "death_timeout": 120,
        "local_directory": str(group.scratch) if group.scratch else None,
        "job_name": f"neurons-{name}",
        "job_extra_directives": list(group.directives),
        "job_script_prologue": [*_environment(settings), *group.prologue],
        "log_directory": str(file.logs.absolute()),
        "python": file.python or shlex.quote(sys.executable),
        # One task at a time uses all cores, or two the GPU: the last --nthreads counts.
        "worker_extra_args": ["--nthreads", str(at_once), *_worker_options(name, group, at_once)],
        ("account" if file.kind in ("slurm", "pbs") else "project"): group.account,
    }
    if file.kind in ("pbs", "sge"):
        options["resource_spec"] = group.resource_spec
    one: dict[str, Any] = {"cls": JOBS[file.kind], "options": options}
    if several > 1:
        one["group"] = [f"-{i}" for i in range(several)]
    return {f"{name}-{i}": one for i in range(group.jobs)}


def _worker_options(name: str, group: Group, at_once: int) -> list[str]:
    """Options of ``dask worker``: what it announces, and when it leaves by itself."""
    options = ["--resources", f"{announced(name)}={at_once}", "--no-dashboard"]
    options += ["--dashboard-address", f"{LOOPBACK}:0"]
    if group.minutes is not None and group.minutes > SHORT_MINUTES:
        spread = max(1, group.minutes // 60)
        stay = group.minutes - LEAVE_MINUTES - spread
        options += ["--lifetime", f"{stay}m", "--lifetime-stagger", f"{spread}m"]
    return options


def _environment(settings: Mapping[str, Any]) -> list[str]:
    """Shell lines that give jobs our folder and our settings of dask."""
    lines = [f"cd {shlex.quote(str(Path.cwd()))}"]
    for key, value in settings.items():
        name = key.upper().replace(".", "__").replace("-", "_")
        lines.append(f"export DASK_{name}={shlex.quote(str(value))}")
    return lines


def _walltime(kind: str, group: Group) -> str:
    """In the form that the queue takes: LSF counts in hours and minutes."""
    assert group.minutes is not None
    hours, minutes = divmod(group.minutes, 60)
    return f"{hours:02}:{minutes:02}" if kind == "lsf" else f"{hours:02}:{minutes:02}:00"

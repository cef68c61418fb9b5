"""The YAML file of a cluster: which workers to start, how, and how they are reached."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

QUEUES = ("slurm", "lsf", "pbs", "sge")
UNITS = {"MiB": 20, "GiB": 30, "TiB": 40}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Strict):
    """Files in PEM format that every process of the run can read."""

    ca: Path = Field(description="Certificate of the authority that signed the others.")
    cert: Path = Field(description="Certificate of scheduler, workers and driver.")
    key: Path = Field(description="Its private key; only you may be able to read the file.")

    @field_validator("ca", "cert", "key")
    @classmethod
    def _there(cls, path: Path) -> Path:
        path = path.expanduser()
        if not path.is_file():
            raise ValueError("no such file")
        return path.absolute()


class Group(_Strict):
    """Workers of one kind; each is one process that runs one task at a time."""

    jobs: int = Field(ge=1, description="Jobs to submit.")
    workers_per_job: int = Field(1, ge=1, description="Processes in each job.")
    cores: int = Field(1, ge=1, description="Cores of one worker, all used by its task.")
    memory: str = Field(
        description="Of one worker, e.g. 16GiB; one that exceeds it is ended and started again."
    )
    walltime: str | None = Field(
        None,
        pattern=r"^(\d+-)?\d{1,3}:\d\d(:\d\d)?$",
        description="Longest time of a job, hours:minutes or days-hours:minutes, in quotes; "
        "jobs that have ended are submitted again while there is work.",
    )
    queue: str | None = Field(None, description="Queue or partition; the site's default if none.")
    account: str | None = Field(None, description="Account or project that is charged.")
    resource_spec: str | None = Field(
        None, description="PBS, SGE: what stands after -l, in place of what follows from the above."
    )
    directives: tuple[str, ...] = Field(
        (), description="Further options of the submit command, one a line, e.g. --gres=gpu:1."
    )
    prologue: tuple[str, ...] = Field(
        (), description="Shell lines before the worker starts, e.g. module load cuda."
    )
    scratch: Path | None = Field(None, description="Folder on each machine's own disk.")

    @field_validator("walltime", mode="before")
    @classmethod
    def _quoted(cls, value: object) -> object:
        if isinstance(value, int):
            raise ValueError('write the time in quotes, e.g. "08:00": YAML reads it as a number')
        return value

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str) -> str:
        bytes_of(value)
        return value

    @property
    def memory_bytes(self) -> int:
        """Of one worker."""
        return bytes_of(self.memory)

    @property
    def workers(self) -> int:
        """Of all jobs."""
        return self.jobs * self.workers_per_job

    @property
    def minutes(self) -> int | None:
        """Of a job."""
        if self.walltime is None:
            return None
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes = (int(n) for n in clock.split(":")[:2])
        return (int(days or 0) * 24 + hours) * 60 + minutes


class Groups(_Strict):
    """Where both are given, networks run on ``gpu`` and all else on ``cpu``."""

    cpu: Group | None = None
    gpu: Group | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.cpu is None and self.gpu is None:
            raise ValueError("give a group of workers, cpu or gpu or both")
        return self

    def given(self) -> dict[str, Group]:
        """Name -> group."""
        named = {"cpu": self.cpu, "gpu": self.gpu}
        return {name: group for name, group in named.items() if group is not None}


class ClusterFile(_Strict):
    """What ``--cluster FILE`` reads; ``docs/cluster.md`` explains it."""

    kind: Literal["slurm", "lsf", "pbs", "sge", "local"] = Field(
        description="The queue that jobs are submitted to; local: processes of this machine."
    )
    groups: Groups = Field(description="The workers.")
    interface: str | None = Field(
        None,
        description="Network interface that all machines have, e.g. ib0 or eth0 (see `ip addr`): "
        "workers and scheduler listen there, and nowhere else.",
    )
    scheduler_interface: str | None = Field(
        None, description="That of the machine where the run is started, if it is named otherwise."
    )
    scheduler_port: int = Field(0, ge=0, le=65535, description="0: any that is free.")
    tls: Tls | None = Field(None, description="Encrypts, and keeps other users out.")
    logs: Path = Field(Path("cluster-logs"), description="Folder for what jobs print.")
    wait_minutes: float = Field(
        720, gt=0, description="How long the run waits for a worker before it gives up."
    )
    python: str | None = Field(
        None,
        description="Interpreter of the workers, or how to call it (a container); by default "
        "that which starts the run.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        queued = self.kind in QUEUES
        if queued and self.interface is None:
            raise ValueError(
                "interface is missing: name the network interface by which the machines reach "
                "each other (see `ip addr` there), e.g. interface: ib0"
            )
        for name, group in self.groups.given().items():
            if queued and group.walltime is None:
                raise ValueError(f'groups.{name}.walltime is missing, e.g. walltime: "08:00"')
            if group.resource_spec and self.kind not in ("pbs", "sge"):
                raise ValueError(f"groups.{name}.resource_spec is for pbs and sge; use directives")
        gpu = self.groups.gpu
        if queued and gpu and gpu.workers_per_job > 1:
            raise ValueError(
                "groups.gpu.workers_per_job must be 1: ask for one GPU per job, and more jobs"
            )
        return self


def bytes_of(text: str) -> int:
    """``16GiB`` -> bytes.

    Raises
    ------
    ValueError
        If it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MGT]iB)", text)
    if match is None or float(match[1]) == 0:
        raise ValueError("give a size such as 16GiB")
    return int(float(match[1]) * 2 ** UNITS[match[2]])

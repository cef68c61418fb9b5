"""Where tasks run: in this process, on local dask workers, or on a cluster.

Everything that we start listens on the loopback device, unless a cluster file names an
interface.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, ResourceError
from workflows.cluster_file import QUEUES, ClusterFile, Tls
from workflows.job_watch import JobWatch
from workflows.local_worker import hush
from workflows.machine import available_cores
from workflows.memory import usable_bytes
from workflows.site import Site
from workflows.worker_specs import LOOPBACK, Specs, announced, local_specs, specs_of
from workflows.yaml_models import read_yaml

LOG = logging.getLogger(__name__)

CONNECT_SECONDS = 30.0
LOCAL_MINUTES = 3.0
SCHEDULER_MINUTES = 15.0
"""How long workers of a scheduler that was there before us are awaited."""
EXTRA = "pip install 'neuron-pipeline[cluster]'"
SUBMIT = {"slurm": "sbatch", "lsf": "bsub", "pbs": "qsub", "sge": "qsub"}

WORKER_SETTINGS: Mapping[str, Any] = {
    # Workers hold models and stores, not results: there is nothing to spill, and a worker that
    # pauses because of them would pause for ever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.admin.tick.limit": "1h",
}
SETTINGS: Mapping[str, Any] = {
    **WORKER_SETTINGS,
    # The driver itself counts deaths of workers, and names the task that causes them.
    "distributed.scheduler.allowed-failures": 0,
    # A solver may hold the interpreter for hours; a dead machine is noticed by its connection.
    "distributed.scheduler.worker-ttl": "6h",
    # A worker that died may take long to come back on a busy machine; it is not given up.
    "distributed.deploy.lost-worker-timeout": "24h",
    "distributed.worker.daemon": True,
}


@dataclass(frozen=True)
class Workplace:
    """Where tasks run, as the user asked for it.

    Parameters
    ----------
    workers
        Processes on this machine; 1: this process.
    threads
        Tasks that one local worker runs at the same time.
    memory_bytes
        Limit of one worker; ``None``: no limit.
    scheduler
        Address of a running scheduler, ``tcp://host:port`` or ``tls://host:port``; TLS files
        are taken from dask's own configuration.
    cluster
        YAML file of a cluster, see ``docs/cluster.md``.
    dashboard
        Whether to start dask's dashboard, or the address where.
    report
        HTML file for dask's performance report.

    Raises
    ------
    ConfigError
        If they do not go together, or the cluster file is wrong.
    """

    workers: int = 1
    threads: int = 1
    memory_bytes: int | None = None
    scheduler: str | None = None
    cluster: Path | None = None
    dashboard: bool | str = False
    report: Path | None = None

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.cluster is not None:
            raise ConfigError("give --scheduler or --cluster, not both")
        if self.workers < 1 or self.threads < 1:
            raise ConfigError(f"{self.workers} workers of {self.threads} threads: 1 is the least")
        if self.here and (self.dashboard or self.report):
            raise ConfigError(
                "a dashboard or a performance report needs dask workers: give --workers 2 or "
                "more, --scheduler or --cluster"
            )
        if (self.dashboard or self.report) and find_spec("bokeh") is None:
            raise ConfigError(f"the dashboard and the performance report need bokeh: {EXTRA}")
        if self.queued and find_spec("dask_jobqueue") is None:
            raise ConfigError(f"{self.cluster}: jobs of a queue need dask-jobqueue: {EXTRA}")

    @property
    def here(self) -> bool:
        """Whether tasks run in this process, one after the other."""
        return self.workers == 1 and self.scheduler is None and self.cluster is None

    @property
    def queued(self) -> bool:
        """Whether workers are jobs of a queue."""
        return self.file is not None and self.file.kind in QUEUES

    @cached_property
    def file(self) -> ClusterFile | None:
        """The cluster file, checked."""
        return None if self.cluster is None else read_yaml(self.cluster, ClusterFile)

    def task_bytes(self) -> int | None:
        """Memory that any task may use; ``None``: not limited, or not known."""
        limits = [] if self.memory_bytes is None else [self.memory_bytes // self.threads]
        if self.file:
            limits += [group.memory_bytes for group in self.file.groups.given().values()]
        return min(limits, default=None)

    def share_bytes(self) -> int:
        """Memory that any task should keep within; 0: not known.

        Without a limit it is a share of half of this machine's memory, of what is free at most.
        """
        limit = self.task_bytes()
        if limit is not None or self.scheduler is not None or self.file is not None:
            return limit or 0
        return usable_bytes() // (self.workers * self.threads)

    def task_threads(self, tasks: int, *, on_device: bool = False) -> int:
        """Threads that each of ``tasks`` tasks may use."""
        if self.scheduler is not None:
            return 1
        if self.file is None:
            at_once = max(1, min(tasks, self.workers * self.threads))
            return max(1, available_cores() // at_once)
        groups = self.file.groups
        wanted = (groups.gpu if on_device else groups.cpu) or groups.cpu or groups.gpu
        assert wanted is not None
        return wanted.cores


@contextmanager
def connected(workplace: Workplace) -> Iterator[Site]:
    """A connection to the workers of a workplace, started if need be and ended with the context.

    Raises
    ------
    ConfigError
        If the cluster file or an option is wrong.
    ResourceError
        If the scheduler cannot be reached, or jobs cannot be submitted.
    """
    import dask
    from distributed import Client, performance_report

    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        stack.callback(_restore, hush())
        if not workplace.queued:
            stack.enter_context(_silent_children())
        if workplace.scheduler is not None:
            client = stack.enter_context(_reached(workplace.scheduler))
            found = Site(client, SCHEDULER_MINUTES)
        else:
            specs = _specs(workplace)
            cluster = stack.enter_context(_started(workplace, specs))
            client = stack.enter_context(Client(cluster, security=cluster.security))
            found = _site(workplace, client, cluster, specs)
        if workplace.dashboard:
            LOG.info("dashboard: %s", client.dashboard_link)
        if workplace.report is not None:
            stack.enter_context(performance_report(str(workplace.report)))
        yield found


def _site(workplace: Workplace, client: Any, cluster: Any, specs: Specs) -> Site:
    file = workplace.file
    if file is None:
        return Site(client, LOCAL_MINUTES)
    groups = frozenset(announced(name) for name in file.groups.given())
    if file.kind == "local":
        return Site(client, LOCAL_MINUTES, groups)
    return Site(client, file.wait_minutes, groups, JobWatch(cluster, file, specs))


@contextmanager
def _reached(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        raise ResourceError(f"no scheduler can be reached at {address}: {error}") from error
    with client:
        try:
            client.run_on_scheduler(available_cores)
        except Exception as error:
            raise ConfigError(
                f"the scheduler at {address} cannot load this program ({error}); start it and "
                "its workers from the same environment"
            ) from error
        yield client


@contextmanager
def _started(workplace: Workplace, specs: Specs) -> Iterator[Any]:
    """Scheduler in this process, workers as specified."""
    from distributed import SpecCluster

    file = workplace.file
    if workplace.queued and file and shutil.which(SUBMIT[file.kind]) is None:
        raise ConfigError(
            f"{workplace.cluster}: {SUBMIT[file.kind]} is not known here; start the run where "
            "jobs can be submitted"
        )
    if workplace.queued:
        import dask_jobqueue  # noqa: F401  (takes signals, which only the main thread may)
    scheduler = {"cls": "distributed.Scheduler", "options": _scheduler_options(workplace)}
    try:
        cluster = SpecCluster(
            workers=specs,
            scheduler=scheduler,
            security=_security(file.tls) if file and file.tls else None,
            name="neurons",
        )
    except (AssertionError, RuntimeError, ValueError) as error:
        # Dask's own clean-up may fail after what a person should know.
        cause = error.__cause__ or error.__context__ or error
        raise ResourceError(
            f"{workplace.cluster or 'local workers'}: the workers cannot be started: "
            f"{' '.join(str(cause).split())}"
        ) from error
    if workplace.queued and file and not file.tls:
        LOG.info(
            "the scheduler listens at %s without TLS: whoever can reach that address can run "
            "programs as you, see docs/cluster.md",
            cluster.scheduler_address,
        )
    with cluster:
        yield cluster


def _specs(workplace: Workplace) -> Specs:
    file = workplace.file
    if file is None:
        return local_specs(workplace.workers, workplace.threads, workplace.memory_bytes)
    return specs_of(file, _security(file.tls) if file.tls else None, WORKER_SETTINGS)


def _scheduler_options(workplace: Workplace) -> dict[str, Any]:
    """Where the scheduler listens."""
    file, dashboard = workplace.file, workplace.dashboard
    options: dict[str, Any] = {
        "dashboard": bool(dashboard),
        "dashboard_address": f"{LOOPBACK}:8787" if dashboard is True else dashboard,
    }
    if not dashboard:
        options["dashboard_address"] = f"{LOOPBACK}:0"
    if file is None or file.kind not in QUEUES:
        return {**options, "host": LOOPBACK}
    options |= {
        "interface": file.scheduler_interface or file.interface,
        "port": file.scheduler_port,
    }
    if file.tls:
        options |= {"protocol": "tls://", "security": _security(file.tls)}
    return options


def _security(tls: Tls) -> Any:
    from distributed import Security

    roles = ("scheduler", "worker", "client")
    files = {f"tls_{role}_cert": str(tls.cert) for role in roles}
    files |= {f"tls_{role}_key": str(tls.key) for role in roles}
    return Security(tls_ca_file=str(tls.ca), require_encryption=True, **files)


@contextmanager
def _silent_children() -> Iterator[None]:
    """Processes that are started meanwhile print no more of dask's messages than this one."""
    name = "DASK_LOGGING__DISTRIBUTED"
    before = os.environ.get(name)
    os.environ[name] = "critical"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _restore(levels: Mapping[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)

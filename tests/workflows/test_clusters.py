from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from pipeline.errors import ConfigError, ResourceError
from workflows import cluster, job_watch, memory
from workflows.cluster import Workplace
from workflows.cluster_file import ClusterFile, bytes_of
from workflows.executor import Executor
from workflows.worker_specs import specs_of
from workflows.yaml_models import read_yaml

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs" / "clusters").glob("*.yaml"))

QUEUE = """
    kind: {kind}
    interface: lo
    logs: {logs}
    groups:
      cpu: {{jobs: 1, workers_per_job: 2, cores: 2, memory: 1GiB, walltime: "01:00"}}
      gpu: {{jobs: 1, memory: 1GiB, walltime: "01:00", prologue: [export ON_GPU=yes]}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(textwrap.dedent(text), "utf-8")
    return path


# The file


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_files_that_are_shipped_are_accepted(path: Path) -> None:
    assert Workplace(cluster=path).file is not None
    assert len(SHIPPED) >= 4


QUOTED = '"08:00"'
CPU = 'groups: {cpu: {jobs: 1, memory: 1GiB, walltime: "08:00"}}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"kind: slurm\n{CPU}", "interface is missing"),
        (f"kind: slurn\ninterface: lo\n{CPU}", "kind = 'slurn'"),
        (f"kind: slurm\ninterface: lo\nqueue: x\n{CPU}", "queue = 'x'"),
        ("kind: local\ngroups: {}", "cpu or gpu"),
        ("kind: local\ngroups: {cpu: {jobs: 1}}", r"groups.cpu.memory"),
        ("kind: local\ngroups: {cpu: {jobs: 1, memory: 16}}", r"groups.cpu.memory"),
        ("kind: local\ngroups: {cpu: {jobs: 1, memory: 16GB}}", "such as 16GiB"),
        ("kind: local\ngroups: {cpu: {jobs: 0, memory: 1GiB}}", r"groups.cpu.jobs = 0"),
        (f"kind: slurm\ninterface: lo\n{CPU.replace('walltime', 'wall')}", r"groups.cpu.wall"),
        (
            f"kind: slurm\ninterface: lo\n{CPU.replace(QUOTED, '12:00:00')}",
            "in quotes",
        ),
        ("kind: slurm\ninterface: lo\ngroups: {cpu: {jobs: 1, memory: 1GiB}}", "walltime"),
        (
            f"kind: slurm\ninterface: lo\ntls: {{ca: /no/ca, cert: /no/c, key: /no/k}}\n{CPU}",
            r"tls.ca.*no such file",
        ),
        ("kind: [", "broken YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_at_fault(
    text: str, told: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=told) as caught:
        Workplace(cluster=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        Workplace(scheduler="tcp://h:1", cluster=tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="needs dask workers"):
        Workplace(report=tmp_path / "report.html")


def test_sizes_are_read_in_binary_units() -> None:
    assert bytes_of("1.5GiB") == 3 * 2**29
    assert bytes_of("512 MiB") == 2**29


def test_a_task_may_use_what_its_group_says(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "kind: local\ngroups:\n  cpu: {jobs: 3, cores: 2, memory: 4GiB}\n"
        "  gpu: {jobs: 1, cores: 6, memory: 8GiB}",
    )
    place = Workplace(cluster=path)
    assert place.task_threads(100) == 2
    assert place.task_threads(100, on_device=True) == 6
    assert place.task_bytes() == 4 << 30
    assert Workplace(memory_bytes=1 << 30, cluster=path).task_bytes() == 1 << 30
    assert place.share_bytes() == 4 << 30


def test_tasks_without_a_limit_keep_within_half_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: 48 << 30)
    free = SimpleNamespace(available=40 << 30)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: free)
    assert Workplace().share_bytes() == 24 << 30
    assert Workplace(workers=3, threads=2).share_bytes() == 4 << 30
    assert Workplace(workers=3, memory_bytes=9 << 30).share_bytes() == 9 << 30
    assert Workplace(scheduler="tcp://far:1").share_bytes() == 0  # nothing is known of it
    free.available = 3 << 30
    assert Workplace().share_bytes() == 3 << 30  # others use the rest


# Job scripts


def script(kind: str, group: str, tmp_path: Path, **options: Any) -> str:
    """Job script of the first job of a group."""
    values = {"jobs": 1, "workers_per_job": 1, "memory": "1GiB", "walltime": "26:30", **options}
    file = ClusterFile.model_validate(
        {"kind": kind, "interface": "ib0", "logs": tmp_path / "logs", "groups": {group: values}}
    )
    settings = {"distributed.worker.memory.pause": False}
    spec = specs_of(file, None, settings)[f"{group}-0"]
    module, _, name = spec["cls"].rpartition(".")
    job = getattr(importlib.import_module(module), name)
    return str(job("tcp://10.0.0.1:8786", f"{group}-0", **spec["options"]).job_script())


def test_a_slurm_job_asks_for_all_its_workers_need(tmp_path: Path) -> None:
    text = script(
        "slurm",
        "cpu",
        tmp_path,
        workers_per_job=4,
        cores=2,
        memory="8GiB",
        queue="normal",
        account="lab",
        directives=["--constraint=zen4"],
        prologue=["module load gcc"],
    )
    lines = text.splitlines()
    for wanted in ("-p normal", "-A lab", "--cpus-per-task=8", "--mem=32G", "-t 26:30:00"):
        assert f"#SBATCH {wanted}" in lines
    assert "#SBATCH --constraint=zen4" in lines
    assert lines.index("module load gcc") == len(lines) - 2
    assert f"cd {shlex.quote(os.getcwd())}" in lines
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in lines


def test_a_worker_runs_one_task_at_a_time_and_says_what_it_is(tmp_path: Path) -> None:
    command = shlex.split(script("slurm", "gpu", tmp_path, cores=8).splitlines()[-1])
    assert command[0] == sys.executable
    assert [b for a, b in itertools.pairwise(command) if a == "--nthreads"][-1] == "1"
    assert command[command.index("--resources") + 1] == "GPU=1"
    assert command[command.index("--interface") + 1] == "ib0"
    assert command[command.index("--memory-limit") + 1] == "1.00GiB"


def test_workers_leave_before_their_job_is_ended(tmp_path: Path) -> None:
    command = shlex.split(script("slurm", "cpu", tmp_path, walltime="10:00").splitlines()[-1])
    stay, spread = (
        int(command[command.index(f"--lifetime{more}") + 1].removesuffix("m"))
        for more in ("", "-stagger")
    )
    assert stay + spread < 600
    assert stay - spread > 500
    assert "--lifetime" not in script("slurm", "cpu", tmp_path, walltime="00:10")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("lsf", ["#BSUB -W 26:30", "#BSUB -n 4", "#BSUB -q long", '#BSUB -P "lab"']),
        ("pbs", ["#PBS -l walltime=26:30:00", "#PBS -q long", "#PBS -A lab"]),
        ("sge", ["#$ -l h_rt=26:30:00", "#$ -q long", "#$ -P lab"]),
    ],
)
def test_other_queues_are_asked_in_their_own_words(
    kind: str, wanted: list[str], tmp_path: Path
) -> None:
    lines = script(kind, "cpu", tmp_path, cores=4, queue="long", account="lab").splitlines()
    assert [line for line in wanted if line not in lines] == []


def test_pbs_resources_follow_from_cores_and_memory_or_are_given(tmp_path: Path) -> None:
    assert "#PBS -l select=1:ncpus=4:mem=16GB" in script(
        "pbs", "cpu", tmp_path, cores=4, memory="16GiB"
    )
    given = script("pbs", "cpu", tmp_path, resource_spec="select=1:ncpus=4:ngpus=1")
    assert "#PBS -l select=1:ncpus=4:ngpus=1\n" in given


# Groups of workers


def where(task: int) -> tuple[str, str]:
    """Worker and devices that a task sees."""
    from distributed import get_worker

    return str(get_worker().name), os.environ.get("CUDA_VISIBLE_DEVICES", "none")


def names_of_workers(executor: Executor, tasks: int, *, on_device: bool) -> set[tuple[str, str]]:
    found = set()
    failures = executor.run(
        where,
        range(tasks),
        name=str,
        done=lambda _, result: found.add(result),
        on_device=on_device,
    )
    assert failures == []
    return found


@pytest.mark.parametrize(("others", "at_once"), [("  cpu: {jobs: 1, memory: 1GiB}\n", 2), ("", 1)])
def test_a_gpu_worker_beside_cpu_workers_overlaps_two_blocks(
    others: str, at_once: int, tmp_path: Path
) -> None:
    text = f"kind: local\ngroups:\n{others}  gpu: {{jobs: 1, memory: 1GiB}}"
    specs = specs_of(read_yaml(written(tmp_path, text), ClusterFile), None, {})
    options = specs["gpu-0"]["options"]
    assert (options["nthreads"], options["resources"]) == (at_once, {"GPU": at_once})
    assert "cpu-0" not in specs or specs["cpu-0"]["options"]["nthreads"] == 1


def test_tasks_of_the_device_go_to_gpu_workers_and_others_to_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    path = written(
        tmp_path,
        "kind: local\ngroups:\n  cpu: {jobs: 1, memory: 1GiB}\n  gpu: {jobs: 1, memory: 1GiB}",
    )
    with Executor(Workplace(cluster=path)) as executor:
        assert names_of_workers(executor, 12, on_device=True) == {("gpu-0", "0")}
        assert names_of_workers(executor, 12, on_device=False) == {("cpu-0", "")}
        assert listening_beyond_loopback([os.getpid()]) == []


def listening_beyond_loopback(roots: list[int]) -> list[Any]:
    processes = [p for pid in roots for p in psutil.Process(pid).children(recursive=True)]
    found = []
    for process in [*processes, *map(psutil.Process, roots)]:
        for one in process.net_connections(kind="inet"):
            if one.status == psutil.CONN_LISTEN and one.laddr.ip not in ("127.0.0.1", "::1"):
                found.append((process.cmdline(), one.laddr))
    return found


# Job queues: stand-ins for the submit commands run the job script here

RUN = """#!/bin/sh
# {submit}: runs the script of a job as processes of this machine
script=$(mktemp {folder}/job-XXXXXX)
cat {source} > "$script"
setsid bash "$script" >> {folder}/out.txt 2>&1 &
echo $! >> {folder}/jobs.txt
printf '{answer}' $!
"""
KILL = """#!/bin/sh
# {cancel}: ends a job and all its processes
kill -9 "-$1"
"""
QUEUES = {
    "slurm": ("sbatch", "scancel", '"$1"', "Submitted batch job %d\\n"),
    "lsf": ("bsub", "bkill", "", "Job <%d> is submitted to queue <x>.\\n"),
    "pbs": ("qsub", "qdel", '"$1"', "%d.server\\n"),
}


@pytest.fixture
def queue(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder in which a stand-in of a job queue notes its jobs."""
    submit, cancel, source, answer = QUEUES[request.param]
    commands, folder = tmp_path / "bin", tmp_path / "queue"
    commands.mkdir()
    folder.mkdir()
    texts = {
        submit: RUN.format(submit=submit, folder=folder, source=source, answer=answer),
        cancel: KILL.format(cancel=cancel),
    }
    for name, text in texts.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    monkeypatch.setenv("PYTHONPATH", path)
    yield folder
    for number in jobs_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)


def jobs_of(folder: Path) -> list[int]:
    noted = folder / "jobs.txt"
    return [int(n) for n in noted.read_text().split()] if noted.exists() else []


def running(job: int) -> bool:
    return any(os.getpgid(p.pid) == job for p in psutil.process_iter() if is_alive(p))


def ends_soon(job: int) -> bool:
    deadline = time.monotonic() + 20
    while running(job) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not running(job)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def on_gpu(_: int) -> str:
    return os.environ.get("ON_GPU", "no")


@pytest.mark.parametrize(
    "queue",
    ["slurm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("lsf", "pbs"))],
    indirect=True,
)
def test_two_groups_of_jobs_start_work_and_end(
    queue: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["queue"]
    path = written(tmp_path, QUEUE.format(kind=kind, logs=tmp_path / "logs"))
    with Executor(Workplace(cluster=path)) as executor:
        assert executor.ask(on_gpu, 0, on_device=True) == "yes"
        assert executor.ask(on_gpu, 0) == "no"
        names = {name for name, _ in names_of_workers(executor, 8, on_device=False)}
        assert names <= {"cpu-0-0", "cpu-0-1"}
        jobs = jobs_of(queue)
        assert len(jobs) == 2
        assert all(running(job) for job in jobs)
        assert listening_beyond_loopback([os.getpid(), *jobs]) == []
    assert all(ends_soon(job) for job in jobs)


MAKE_TLS = (
    "openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj /CN=neurons",
    "-addext basicConstraints=critical,CA:TRUE -keyout run.key -out run.pem",
)
"""As in the documentation."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
@pytest.mark.parametrize("queue", ["slurm"], indirect=True)
@pytest.mark.usefixtures("queue")
def test_with_tls_only_those_with_the_files_are_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 3.0)
    documented = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    assert all(line in documented for line in MAKE_TLS)
    subprocess.run(" ".join(MAKE_TLS).split(), cwd=tmp_path, check=True, capture_output=True)
    cert, key = tmp_path / "run.pem", tmp_path / "run.key"
    text = QUEUE.format(kind="slurm", logs=tmp_path / "logs")
    path = written(tmp_path, f"{text}    tls: {{ca: {cert}, cert: {cert}, key: {key}}}\n")
    with Executor(Workplace(cluster=path)) as executor:
        assert executor.ask(on_gpu, 0, on_device=True) == "yes"
        address = executor.scheduler_address
        assert address.startswith("tls://")
        for stranger in (address, address.replace("tls", "tcp")):
            with (
                pytest.raises(ResourceError, match="no scheduler can be reached"),
                Executor(Workplace(scheduler=stranger)) as other,
            ):
                other.ask(on_gpu, 0)
        assert executor.ask(on_gpu, 0) == "no"


@pytest.mark.slow
@pytest.mark.parametrize("queue", ["slurm"], indirect=True)
def test_a_job_that_ends_is_submitted_again(
    queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_watch, "GONE_SECONDS", 2.0)
    path = written(tmp_path, QUEUE.format(kind="slurm", logs=tmp_path / "logs"))
    with Executor(Workplace(cluster=path)) as executor:
        assert executor.ask(on_gpu, 0, on_device=True) == "yes"
        for job in jobs_of(queue):
            os.killpg(job, signal.SIGKILL)
        assert executor.ask(on_gpu, 0, on_device=True) == "yes"
        assert len(jobs_of(queue)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("queue", ["slurm"], indirect=True)
def test_where_no_worker_comes_the_logs_are_named_and_quoted(queue: Path, tmp_path: Path) -> None:
    text = QUEUE.format(kind="slurm", logs=tmp_path / "logs").replace("export ON_GPU=yes", "exit")
    path = written(tmp_path, text + "    wait_minutes: 0.2\n")
    with Executor(Workplace(cluster=path)) as executor:
        assert executor.ask(on_gpu, 0) == "no"
        (tmp_path / "logs" / "neurons-gpu-1.err").write_text("module: command not found\n")
        with pytest.raises(ResourceError, match="no GPU workers came") as caught:
            executor.ask(on_gpu, 0, on_device=True)
    assert str(tmp_path / "logs") in str(caught.value)
    assert "command not found" in str(caught.value)


def test_a_machine_without_the_queue_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = written(tmp_path, QUEUE.format(kind="slurm", logs=tmp_path / "logs"))
    with (
        pytest.raises(ConfigError, match="sbatch is not known here"),
        Executor(Workplace(cluster=path)) as executor,
    ):
        executor.ask(on_gpu, 0)


@pytest.mark.parametrize("queue", ["slurm"], indirect=True)
def test_what_the_queue_says_of_a_refused_job_is_told(queue: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho invalid account lab >&2; exit 1\n")
    path = written(tmp_path, QUEUE.format(kind="slurm", logs=tmp_path / "logs"))
    with (
        pytest.raises(ResourceError, match="invalid account lab"),
        Executor(Workplace(cluster=path)) as executor,
    ):
        executor.ask(on_gpu, 0)
    assert jobs_of(queue) == []


@pytest.mark.parametrize("queue", ["slurm"], indirect=True)
@pytest.mark.usefixtures("queue")
def test_an_interface_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    text = QUEUE.format(kind="slurm", logs=tmp_path / "logs").replace("lo\n", "ib7\n")
    with (
        pytest.raises(ResourceError, match=r"ib7.*lo"),
        Executor(Workplace(cluster=written(tmp_path, text))) as executor,
    ):
        executor.ask(on_gpu, 0)

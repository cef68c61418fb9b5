from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.errors import BlockError, ConfigError, InputError, ResourceError
from workflows import attempts, cluster, executor
from workflows.attempts import DIED, Attempts, Failures
from workflows.cluster import Workplace
from workflows.executor import Executor

ROOT = Path(__file__).parents[2]
IMPORTABLE = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSE_SECONDS", (0.0, 0.0))


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Executor]:
    with Executor(Workplace(workers=2)) as executor:
        yield executor


def run(
    executor: Executor, work: Callable[[Any], Any], tasks: Any
) -> tuple[dict[Any, Any], Failures]:
    results: dict[Any, Any] = {}
    failures = executor.run(work, tasks, name=str, done=results.__setitem__)
    return results, failures


def run_here(work: Callable[[Any], Any], tasks: Any) -> tuple[dict[Any, Any], Failures]:
    with Executor(Workplace()) as executor:
        return run(executor, work, tasks)


def square(n: int) -> int:
    return n * n


# In this process


def run_overlapped(work: Callable[[Any], Any], tasks: Any) -> tuple[dict[Any, Any], Failures]:
    results: dict[Any, Any] = {}
    with Executor(Workplace()) as executor:
        done = results.__setitem__
        failures = executor.run(work, tasks, name=str, done=done, on_device=True, at_once=2)
    return results, failures


def test_tasks_that_overlap_give_the_results_of_one_after_the_other() -> None:
    """Two at a time and no more: each waits for another, but for the last of an odd number."""
    at_once, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def work(n: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        both.wait(20)
        with lock:
            at_once -= 1
        return n * n

    results, failures = run_overlapped(work, range(8))
    assert results == {n: n * n for n in range(8)}
    assert failures == []
    assert most == 2


def test_where_tasks_overlap_results_are_recorded_in_the_thread_of_the_run() -> None:
    seen: set[int] = set()
    with Executor(Workplace()) as executor:
        executor.run(
            square, range(5), name=str, done=lambda *_: seen.add(threading.get_ident()), at_once=2
        )
    assert seen == {threading.get_ident()}


def test_where_tasks_overlap_those_that_fail_are_named_and_the_others_are_done() -> None:
    def work(n: int) -> int:
        if n == 3:
            raise TypeError("not this one")
        return n

    results, failures = run_overlapped(work, range(6))
    assert set(results) == {0, 1, 2, 4, 5}
    assert [(one.name, one.message) for one in failures] == [("3", "not this one")]


def test_a_task_that_is_due_again_waits_for_a_thread_without_being_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Task 0 is due again while 1 and 2 hold both threads."""
    waits, tried, wait = 0, 0, executor.wait

    def counted(*args: Any) -> Any:
        nonlocal waits
        waits += 1
        return wait(*args)

    def work(n: int) -> int:
        nonlocal tried
        tried += n == 0
        if n == 0 and tried == 1:
            raise BlockError("again")
        time.sleep(0.3 if n else 0)
        return n

    monkeypatch.setattr(attempts, "PAUSE_SECONDS", (0.05, 0.05))
    monkeypatch.setattr(executor, "wait", counted)
    results, failures = run_overlapped(work, range(3))
    assert results == {0: 0, 1: 1, 2: 2}
    assert failures == []
    assert waits <= 8


def test_where_tasks_overlap_an_error_that_all_would_meet_ends_the_run() -> None:
    def work(n: int) -> int:
        raise ResourceError("no memory")

    with pytest.raises(ResourceError, match="no memory"):
        run_overlapped(work, range(50))


def test_one_worker_runs_in_this_process_in_order() -> None:
    results, failures = run_here(lambda n: (n, os.getpid()), [3, 1, 2])
    assert list(results.values()) == [(n, os.getpid()) for n in (3, 1, 2)]
    assert failures == []


@pytest.mark.usefixtures("no_pause")
def test_what_fails_once_is_tried_again_after_the_others() -> None:
    order = []

    def work(n: int) -> int:
        order.append(n)
        if order == [0]:
            raise OSError("store does not answer")
        return n

    results, failures = run_here(work, range(3))
    assert order.count(0) == 2
    assert sorted(results) == [0, 1, 2]
    assert failures == []


def test_a_retry_is_not_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSE_SECONDS", (0.2, 0.2))
    order = []

    def work(n: int) -> None:
        order.append(n)
        if n == 0:
            raise ValueError

    run_here(work, range(4))
    assert order == [0, 1, 2, 3, 0, 0]


@pytest.mark.usefixtures("no_pause")
def test_a_task_that_always_fails_is_given_up_after_three_attempts_and_named() -> None:
    def work(n: int) -> int:
        if n == 2:
            raise ValueError("no such chunk")
        return n

    results, failures = run_here(work, range(5))
    assert sorted(results) == [0, 1, 3, 4]
    (failure,) = failures
    assert (failure.name, failure.kind, failure.attempts) == ("2", "ValueError", 3)
    assert failure.message == "no such chunk"
    assert "in work" in failure.traceback
    assert failures.untried == 0


@pytest.mark.parametrize(
    ("error", "tries"), [(InputError("bad voxel"), 1), (TypeError("bug"), 1), (BlockError("x"), 3)]
)
@pytest.mark.usefixtures("no_pause")
def test_what_time_does_not_heal_is_not_tried_again(error: Exception, tries: int) -> None:
    tried = []

    def work(n: int) -> None:
        tried.append(n)
        raise error

    _, failures = run_here(work, [7])
    assert len(tried) == tries
    assert failures[0].attempts == tries


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/out/0"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/out/0"),
        PermissionError(errno.EACCES, "Permission denied", "/out/0"),
        ConfigError("no such key"),
        ResourceError("no GPU"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_every_task_would_meet_ends_the_run_at_once(error: BaseException) -> None:
    tried = []

    def work(n: int) -> None:
        tried.append(n)
        raise error

    with pytest.raises(type(error)) as caught:
        run_here(work, range(5))
    assert caught.value is error
    assert tried == [0]


@pytest.mark.usefixtures("no_pause")
def test_if_the_first_eight_fail_the_rest_is_not_tried() -> None:
    def work(n: int) -> None:
        raise ValueError(n)

    _, failures = run_here(work, range(1000))
    assert len(failures) == 8
    assert failures.untried == 992


@pytest.mark.usefixtures("no_pause")
def test_one_success_is_enough_to_go_on_to_the_end() -> None:
    def work(n: int) -> None:
        if n != 3:
            raise ValueError(n)

    results, failures = run_here(work, range(40))
    assert list(results) == [3]
    assert len(failures) == 39
    assert failures.untried == 0


# Deaths of workers, without workers


def simulated(
    poison: set[int], tasks: int, seed: int, accidents: float
) -> tuple[set[int], Failures, int]:
    """Two tasks at a time on each of three workers; a poison task, or an accident, kills both."""
    rng = random.Random(seed)
    book = Attempts(range(tasks), str)
    workers: list[list[Any]] = [[], [], []]
    done: set[int] = set()
    deaths = 0
    while book.unfinished:
        for worker in sorted(workers, key=len):
            while len(worker) < 2 and (attempt := book.next()):
                worker.append(attempt)
        worker = rng.choice([w for w in workers if w])
        first = worker[0]
        accident = not first.alone and rng.random() < accidents
        if first.task in poison or accident:
            deaths += 1
            for attempt in worker:
                book.died(attempt)
            worker.clear()
        else:
            done.add(worker.pop(0).task)
            book.succeeded(first)
    return done, book.end(), deaths


@pytest.mark.parametrize("seed", range(20))
def test_only_poison_tasks_are_named_and_all_others_done(seed: int) -> None:
    poison = set(random.Random(seed).sample(range(60), seed % 6))
    done, failures, deaths = simulated(poison, 60, seed, accidents=0.1)
    assert {int(failure.name) for failure in failures} == poison
    assert {failure.kind for failure in failures} <= {DIED}
    assert done == set(range(60)) - poison
    assert deaths < 60


def test_where_every_task_kills_its_worker_the_run_ends_soon() -> None:
    done, failures, deaths = simulated(set(range(1000)), 1000, 0, accidents=0.0)
    assert done == set()
    assert failures.untried > 900
    assert deaths < 60


def test_where_workers_begin_to_die_late_the_run_ends_too() -> None:
    done, failures, deaths = simulated(set(range(100, 1000)), 1000, 0, accidents=0.0)
    assert done == set(range(100))
    assert failures.untried > 800
    assert deaths < 60


# On workers


def fail_on_three(n: int) -> int:
    if n == 3:
        raise ValueError("three is refused")
    return n * n


@pytest.mark.usefixtures("no_pause")
def test_a_worker_s_traceback_comes_back_and_the_others_are_done(two_workers: Executor) -> None:
    results, failures = run(two_workers, fail_on_three, range(20))
    assert results == {n: n * n for n in range(20) if n != 3}
    (failure,) = failures
    assert (failure.name, failure.attempts) == ("3", 3)
    assert "fail_on_three" in failure.traceback
    assert "three is refused" in failure.traceback


def fill_the_disk(n: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/out/chunk")


def test_a_full_disk_on_a_worker_is_raised_as_such(two_workers: Executor) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        run(two_workers, fill_the_disk, range(100))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/out/chunk")


def stamp(task: tuple[str, int]) -> None:
    folder, n = task
    Path(folder, str(n)).touch()
    time.sleep(0.02)


def test_few_tasks_are_in_flight_however_many_there_are(
    two_workers: Executor, tmp_path: Path
) -> None:
    ended = most = 0

    def done(task: tuple[str, int], _: None) -> None:
        nonlocal ended, most
        ended += 1
        most = max(most, len(list(tmp_path.iterdir())) - ended)
        time.sleep(0.05)

    tasks = [(str(tmp_path), n) for n in range(30)]
    assert two_workers.run(stamp, tasks, name=str, done=done) == []
    assert ended == 30
    assert most <= 4


def die(task: tuple[str, int]) -> int:
    """Task 5 always kills its worker; task 2 only the first time."""
    folder, n = task
    mark = Path(folder, "died")
    if n == 5 or (n == 2 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def test_a_task_that_kills_its_worker_is_named_and_the_others_are_done(
    two_workers: Executor, tmp_path: Path
) -> None:
    tasks = [(str(tmp_path), n) for n in range(12)]
    results, failures = run(two_workers, die, tasks)
    assert sorted(results.values()) == [n for n in range(12) if n != 5]
    (failure,) = failures
    assert failure.name == str(tasks[5])
    assert failure.kind == DIED
    assert "died 4 times" in failure.message


@pytest.mark.usefixtures("no_pause")
def test_an_answer_is_asked_of_a_worker(two_workers: Executor) -> None:
    assert two_workers.ask(square, 7, on_device=True) == 49
    with pytest.raises(ResourceError, match="three is refused"):
        two_workers.ask(fail_on_three, 3)


# A scheduler of its own

SCHEDULER = """
import asyncio, sys
from distributed import Scheduler

if sys.argv[1:]:
    sys.modules["workflows"] = None

async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()

asyncio.run(main())
"""


@pytest.fixture
def lonely_scheduler(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    more = [request.param] if hasattr(request, "param") else []
    process = subprocess.Popen(
        [sys.executable, "-c", SCHEDULER, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": IMPORTABLE},
    )
    assert process.stdout
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()


@pytest.fixture
def worker_of(
    lonely_scheduler: tuple[subprocess.Popen[str], str],
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "distributed.cli.dask_worker", lonely_scheduler[1]]
    command += ["--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard", "--no-nanny"]
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": IMPORTABLE}
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.usefixtures("worker_of")
def test_a_killed_scheduler_ends_the_run_with_one_clear_line(
    lonely_scheduler: tuple[subprocess.Popen[str], str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor, "RESULT_SECONDS", 3.0)
    process, address = lonely_scheduler
    results = {}

    def done(n: int, result: int) -> None:
        results[n] = result
        if len(results) == 5:
            process.kill()

    began = time.monotonic()
    with (
        pytest.raises(ResourceError, match=r"lost the scheduler.*run the same command again"),
        Executor(Workplace(scheduler=address)) as there,
    ):
        there.run(square, range(10_000), name=str, done=done)
    assert 5 <= len(results) < 100
    assert time.monotonic() - began < 60
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("lonely_scheduler", ["without workflows"], indirect=True)
def test_a_scheduler_of_another_environment_is_refused(
    lonely_scheduler: tuple[subprocess.Popen[str], str],
) -> None:
    with (
        pytest.raises(ConfigError, match="same environment"),
        Executor(Workplace(scheduler=lonely_scheduler[1])) as executor,
    ):
        run(executor, square, [1])


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    with (
        pytest.raises(ResourceError, match=r"no scheduler .*tcp://127\.0\.0\.1:9"),
        Executor(Workplace(scheduler="tcp://127.0.0.1:9")) as executor,
    ):
        run(executor, square, [1])


INTERRUPTED = """
import sys, time
from workflows.cluster import Workplace
from workflows.executor import Executor

def main():
    with Executor(Workplace(workers=2)) as executor:
        tasks = [0.0] + [60.0] * 8
        executor.run(time.sleep, tasks, name=str, done=lambda *_: print("begun", flush=True))

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_interrupted_run(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    if how == signal.SIGINT:  # as a terminal does: to all processes of the group
        os.killpg(process.pid, how)
    else:
        process.kill()
    _, told = process.communicate(timeout=60)
    _, left = psutil.wait_procs(children, timeout=20)
    assert left == []
    assert "Worker" not in told

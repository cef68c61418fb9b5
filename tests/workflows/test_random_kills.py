"""Runs that are killed (SIGKILL, from here) at random moments, again and again."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from kill_server import Server
from small_pipeline import assert_same, contents, paint_tissue, settings, write_volume

from pipeline.config import PipelineSections
from workflows.provenance import Ledger
from workflows.reconstruct import STAGES

BLOCK_SHAPE = (4, 16, 16)
KILLS = 40
LONGEST_SECONDS = 1.0
"""That a run is left alone, at most, if it gets on."""
INSIDE_WRITES_OR_MERGES = 10
RUN_KILLS, WORKER_KILLS = 2, 3
"""Of runs on dask workers, and of workers in each."""
WORKER_BYTES = 100 << 20
"""A worker that has imported the program is larger."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(models: Any) -> PipelineSections:
    return settings(
        models.network,
        models.forests,
        lifted={"superpixels_per_cell": 40, "context_nm": 100.0},
        multicut={"domain_nodes": 40, "solve_at_once_edges": 100},
    )


@pytest.fixture(scope="module")
def server(config: PipelineSections) -> Iterator[Server]:
    with Server(rows=64) as started:
        started.warm(config)
        yield started


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 x 4 x 4 blocks."""
    tissue = paint_tissue((16, 64, 64), 120, 5, seed=3)
    return write_volume(tmp_path_factory.mktemp("volume") / "v.zarr", tissue.raw)


@pytest.fixture(scope="module")
def uninterrupted(
    server: Server, volume: Path, config: PipelineSections, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("whole") / "out.zarr"
    server.start(volume, output, config, block_shape=BLOCK_SHAPE)
    assert server.wait() == 0
    return output


@dataclass
class Log:
    """What the killed runs wrote down: tasks and writes that began and ended."""

    path: Path
    lines: list[str] = field(default_factory=list)

    def of_last_run(self) -> list[str]:
        known = len(self.lines)
        self.lines = self.path.read_text().splitlines() if self.path.exists() else []
        return self.lines[known:]


def open_at_the_end(lines: list[str]) -> list[str]:
    """What had begun and not ended, outermost first."""
    stack: list[str] = []
    for line in lines:
        word, _, what = line.partition(" ")
        if word == "begin":
            stack.append(what)
        elif stack and stack[-1] == what:
            stack.pop()
    return stack


def marked(output: Path) -> set[tuple[str, str, str]]:
    """Tasks whose outputs count as done, as far as any is known of an output."""
    ledger = Ledger(output)
    return {
        (stage.name, step.replace(" ", "_"), task)
        for stage in STAGES
        for step in ledger.steps(stage.name)
        for task in ledger.done(stage.name, step)
    }


def begun(lines: list[str]) -> list[tuple[str, str, str]]:
    words = [line.split() for line in lines if line.startswith("begin task ")]
    return [(stage, step, task) for _, _, stage, step, task in words]


def test_a_run_killed_at_forty_random_moments_gives_the_same_output(
    server: Server, volume: Path, config: PipelineSections, uninterrupted: Path, tmp_path: Path
) -> None:
    rng = random.Random(11)
    kills, inside, unfinished, stages = 0, 0, 0, Counter[str]()
    attempt = 0
    while kills < KILLS:
        attempt += 1
        output, log = tmp_path / f"out{attempt}.zarr", Log(tmp_path / f"log{attempt}")
        finished, seconds = False, LONGEST_SECONDS
        while not finished:
            before = marked(output)
            process = server.start(
                volume, output, config, log=str(log.path), block_shape=BLOCK_SHAPE
            )
            finished = server.wait(timeout=rng.uniform(0.1, seconds)) is not None
            if not finished:
                os.kill(process, signal.SIGKILL)
                assert server.wait() == -signal.SIGKILL
                kills += 1
            # on a busy machine a run may need longer to get anywhere
            seconds = LONGEST_SECONDS if marked(output) != before else 2 * seconds
            lines = log.of_last_run()
            again = set(begun(lines)) & before
            assert not again, f"done before the kill, computed again: {sorted(again)[:5]}"
            twice = [task for task, n in Counter(begun(lines)).items() if n > 1]
            assert not twice, f"computed twice in one run: {twice[:5]}"
            if not finished:
                pending = open_at_the_end(lines)
                tasks = [what.split() for what in pending if what.startswith("task ")]
                unfinished += bool(tasks) and tuple(tasks[0][1:]) not in marked(output)
                stages.update(task[1] for task in tasks)
                merging = any(task[2] != "blocks" for task in tasks)
                inside += merging or any(what.startswith("write ") for what in pending)
        assert_same(contents(output), contents(uninterrupted))
    assert inside >= INSIDE_WRITES_OR_MERGES, inside
    assert unfinished >= INSIDE_WRITES_OR_MERGES, unfinished
    assert len(stages) >= 4, stages


def descendants(process: int) -> list[psutil.Process]:
    """Processes below a run: its dask workers, and what looks after them."""
    try:
        return psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers_of(process: int) -> list[psutil.Process]:
    """Processes that compute for a run; they hold the most memory."""
    found = []
    for one in descendants(process):
        with suppress(psutil.Error):
            if "spawn_main" in " ".join(one.cmdline()) and one.memory_info().rss > WORKER_BYTES:
                found.append(one)
    return found


def kill_a_worker(server: Server, process: int, rng: random.Random) -> None:
    """At a random moment of a run that goes on."""
    assert server.wait(timeout=rng.uniform(0.2, 2.0)) is None, server.said()
    while not workers_of(process):
        assert server.wait(timeout=0.2) is None, server.said()
    rng.choice(workers_of(process)).kill()


def test_killed_workers_and_drivers_of_workers_change_nothing_and_leave_nobody_behind(
    server: Server, volume: Path, config: PipelineSections, uninterrupted: Path, tmp_path: Path
) -> None:
    rng, output = random.Random(5), tmp_path / "out.zarr"
    for _ in range(RUN_KILLS):
        before = marked(output)
        process = server.start(volume, output, config, block_shape=BLOCK_SHAPE, workers=2)
        while marked(output) == before:  # until the workers work
            assert server.wait(timeout=0.1) is None, server.said()
        for _ in range(WORKER_KILLS):
            kill_a_worker(server, process, rng)
        everybody = descendants(process)
        os.kill(process, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        _, alive = psutil.wait_procs(everybody, timeout=60)
        assert not alive, "workers outlive their run"
    server.start(volume, output, config, block_shape=BLOCK_SHAPE, workers=2)
    assert server.wait(timeout=600) == 0, server.said()
    assert_same(contents(output), contents(uninterrupted))

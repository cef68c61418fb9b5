"""A server that starts runs, each a process of its own, for the test to kill.

Read from standard input: one JSON object a line, the arguments of ``run``. Written:
``started <process>``; ``paused <process>`` when a run is at the moment where it is to be
killed; ``ended <status>`` when the process is gone. What a run shares with the test is the
disk. Tables are written in tasks of few rows, so that small volumes make many.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from small_pipeline import by_contents, paint_tissue

import workflows.tasks
from pipeline.config import parse_config
from pipeline.store import Output
from workflows import stage_run
from workflows.cluster import Workplace
from workflows.in_memory import reconstruct_array
from workflows.prepare import prepare
from workflows.provenance import Ledger
from workflows.reconstruct import reconstruct
from workflows.source import Source
from workflows.stage_run import Order

WRITES = ("write", "write_rows", "finish_table", "write_level_block", "finish_pyramid")
"""What writes to an output, beside ``save_part``."""


def pause() -> None:
    print(f"paused {os.getpid()}", flush=True)
    time.sleep(600)


def pause_before(owner: Any, name: str, when: Callable[..., bool], call: int = 1) -> None:
    """Pause where ``owner.name`` is called for the ``call``-th time with such arguments."""
    original = getattr(owner, name)
    count = 0

    def replaced(*args: Any, **keywords: Any) -> Any:
        nonlocal count
        count += bool(when(*args))
        if count == call:
            pause()
        return original(*args, **keywords)

    setattr(owner, name, replaced)


def pause_after(owner: Any, name: str, when: Callable[..., bool], call: int = 1) -> None:
    """Pause where ``owner.name`` has returned for the ``call``-th time."""
    original = getattr(owner, name)
    count = 0

    def replaced(*args: Any, **keywords: Any) -> Any:
        nonlocal count
        result = original(*args, **keywords)
        count += bool(when(*args))
        if count == call:
            pause()
        return result

    setattr(owner, name, replaced)


MOMENTS: dict[str, Callable[[], None]] = {
    # the voxels are in a temporary file that has not got the block's name yet
    "inside the write of a block": lambda: pause_before(
        Path, "replace", lambda _, target: "labels/superpixels/0/c/" in str(target), 4
    ),
    "between the data of a block and its mark": lambda: pause_before(
        Ledger, "mark", lambda _, stage, *__: stage == "boundaries", 3
    ),
    "inside the write of a part": lambda: pause_before(
        os, "replace", lambda _, target: "graph.parts/blocks" in str(target), 5
    ),
    "inside a merge of parts": lambda: pause_before(
        workflows.tasks, "save_part", lambda path, _: "graph.parts/ranges" in str(path)
    ),
    "between two tasks that write a table": lambda: pause_after(
        Output, "write_rows", lambda _, table, *__: table == "edges", 2
    ),
    # some columns have their names, some have not
    "inside the end of a table": lambda: pause_before(
        Path, "rename", lambda _, target: str(target).endswith("graph/edges/length_voxels")
    ),
    "before the mark of a finished table": lambda: pause_after(
        Output, "finish_table", lambda _, table, *__: table == "nodes"
    ),
    "inside a pyramid": lambda: pause_after(
        Output, "write_level_block", lambda _, array, *__: array == "neurons"
    ),
    "before the metadata of a pyramid": lambda: pause_before(
        Output, "finish_pyramid", lambda _, array, *__: array == "neurons"
    ),
    "before the record of a finished stage": lambda: pause_before(
        Ledger, "finish", lambda _, record: record.stage == "features"
    ),
    "while stale outputs are removed": lambda: pause_before(
        Output, "remove", lambda _, name: name == "superpixels"
    ),
    "before the record of a stale stage": lambda: pause_before(
        Ledger, "save", lambda _, record: record.stage == "superpixels"
    ),
}


def note(log: Path) -> None:
    """Append to a file when tasks and writes begin and end."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(owner: Any, name: str, what: Callable[..., str]) -> None:
        original = getattr(owner, name)

        def replaced(*args: Any, **keywords: Any) -> Any:
            text = what(*args)
            os.write(file, f"begin {text}\n".encode())
            result = original(*args, **keywords)
            os.write(file, f"end {text}\n".encode())
            return result

        setattr(owner, name, replaced)

    def task(job: Any, _: int, one: Any) -> str:
        step = workflows.tasks.step_of(one).replace(" ", "_")
        return f"task {job.stage} {step} {one.name}"

    noted(stage_run, "run_task", task)
    noted(workflows.tasks, "save_part", lambda *_: "write save_part")
    for name in WRITES:
        noted(Output, name, lambda *_, name=name: f"write {name}")


def run(
    volume: str,
    output: str,
    config: str,
    moment: str | None = None,
    log: str | None = None,
    block_shape: tuple[int, int, int] = (7, 16, 16),
    workers: int = 1,
    shuffled: int | None = None,
) -> None:
    if moment:
        MOMENTS[moment]()
    if log:
        note(Path(log))
    source = Source(Path(volume), None, None, None)
    sections = parse_config(json.loads(config), "test")
    prepared = prepare(source, sections, Path(output), device="cpu", block_shape=tuple(block_shape))
    reconstruct(
        prepared,
        Workplace(workers=workers),
        order=list if shuffled is None else shuffled_by(random.Random(shuffled)),
    )


def shuffled_by(rng: random.Random) -> Order:
    """Tasks of every pass in another order."""
    return lambda tasks: rng.sample(list(tasks), len(tasks))


def in_memory(volume: str, arrays: str, config: str, voxel_size_nm: list[float]) -> None:
    """The same without blocks, saved as numpy arrays under the names of an output's contents."""
    raw = np.asarray(zarr.open_array(Path(volume) / "0", mode="r"))
    np.savez(arrays, **by_contents(without_blocks(raw, config, voxel_size_nm)))


def warm(config: str, voxel_size_nm: list[float]) -> None:
    """Load the compiled loops, so that runs need not; a run is killed before it could."""
    without_blocks(paint_tissue((4, 40, 40), 20, 5).raw, config, voxel_size_nm)


def without_blocks(
    raw: NDArray[np.uint8], config: str, voxel_size_nm: list[float]
) -> dict[str, Any]:
    z, y, x = voxel_size_nm
    return reconstruct_array(raw, (z, y, x), parse_config(json.loads(config), "test"))


def main() -> None:
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        arguments = json.loads(line)
        if "warm" in arguments:
            warm(arguments["warm"], arguments["voxel_size_nm"])
            print("ready", flush=True)
            continue
        process = os.fork()
        if not process:
            (in_memory if "arrays" in arguments else run)(**arguments)
            os._exit(0)
        print(f"started {process}", flush=True)
        print(f"ended {os.waitpid(process, 0)[1]}", flush=True)


if __name__ == "__main__":
    main()

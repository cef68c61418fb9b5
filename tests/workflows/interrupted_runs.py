"""A server that starts runs and lets each pause at a moment, where the test kills it.

Read from standard input: one JSON object a line, with ``moment`` and the arguments of the
run. Written: ``paused <process>`` when the moment is there, ``ended <status>`` when the
process is gone. Every run is a process of its own; what it shares with the test is the disk.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import pipeline.store.output
from pipeline.config import parse_config
from pipeline.store import Output
from workflows.blockwise import Source
from workflows.parts import Parts
from workflows.prepare import prepare
from workflows.provenance import Ledger
from workflows.reconstruct import reconstruct


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


MOMENTS: dict[str, Callable[[], None]] = {
    # the voxels are in a temporary file that has not got the block's name yet
    "inside the write of a block": lambda: pause_before(
        Path, "replace", lambda _, target: "labels/superpixels/0/c/" in str(target), 4
    ),
    "between the data of a block and its mark": lambda: pause_before(
        Ledger, "mark", lambda _, stage, block: stage == "boundaries", 3
    ),
    "inside the write of a part": lambda: pause_before(
        os, "replace", lambda _, target: "graph.parts" in str(target), 5
    ),
    "inside a merge": lambda: pause_before(
        Parts,
        "__getitem__",
        lambda parts, index: "features.parts" in str(parts.paths[0]) and index == 3,
    ),
    # some columns have their names, some have not
    "inside the write of a table": lambda: pause_before(
        Path, "rename", lambda _, target: str(target).endswith("graph/edges/length_voxels")
    ),
    "before a pyramid": lambda: pause_before(
        pipeline.store.output, "build_levels", lambda group, *_: group.name == "neurons"
    ),
    "while stale outputs are removed": lambda: pause_before(
        Output, "remove", lambda _, name: name == "superpixels"
    ),
    "before the record of a stale stage": lambda: pause_before(
        Ledger, "save", lambda _, record: record.stage == "superpixels"
    ),
}


def run(moment: str, volume: str, output: str, config: str) -> None:
    MOMENTS[moment]()
    source = Source(Path(volume), None, None, None)
    sections = parse_config(json.loads(config), "test")
    reconstruct(prepare(source, sections, Path(output), device="cpu", block_shape=(7, 16, 16)))


def main() -> None:
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            run(**json.loads(line))
            os._exit(0)
        print(f"ended {os.waitpid(process, 0)[1]}", flush=True)


if __name__ == "__main__":
    main()

"""Memory of the machine, and of a process tree while something runs."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil

SECONDS = 0.5
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def machine_bytes() -> int:
    """Memory of this machine, or of the container or job that this process is in."""
    total = int(psutil.virtual_memory().total)
    try:
        return min(total, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no such limit: there is no file, or it says "max"
        return total


def usable_bytes() -> int:
    """Half of ``machine_bytes``, but not more than is free now."""
    return min(machine_bytes() // 2, int(psutil.virtual_memory().available))


def tree_bytes() -> int:
    """Memory of this process and its children; shared pages count once where that is known."""
    total = 0
    process = psutil.Process()
    children = process.children(recursive=True)
    if not children:  # nothing is shared, and this is ten times faster
        return int(process.memory_info().rss)
    for one in [process, *children]:
        try:
            info = one.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(info, "pss", info.rss)
    return total


class PeakMemory:
    """Context that samples ``tree_bytes``; ``bytes`` is the largest value seen."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self.bytes = tree_bytes()
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stop.set()
        self._thread.join()
        self.bytes = max(self.bytes, tree_bytes())

    def _sample(self) -> None:
        while not self._stop.wait(SECONDS):
            self.bytes = max(self.bytes, tree_bytes())

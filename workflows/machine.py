"""What the machine has."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores that this process may use: those it is bound to, and ``OMP_NUM_THREADS`` at most."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = bound or 1
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) > 0 else cores

"""Loaded by workers on this machine: they leave Ctrl-C and messages to the run itself."""

from __future__ import annotations

import logging
import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Called by dask when a worker starts, in its main thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hush()


def hush() -> dict[str, int]:
    """Silence dask's loggers: what matters of their messages the run says itself.

    Returns
    -------
    levels
        Of the loggers before.
    """
    names = [n for n in logging.root.manager.loggerDict if n.split(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return levels

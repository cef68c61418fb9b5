"""A folder that one process at a time may write to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import OutputError


@contextmanager
def held_alone(lock: Path, output: Path, by: str) -> Iterator[None]:
    """Hold a folder; another process is refused. The system frees it if we are killed.

    Parameters
    ----------
    lock
        File that is locked; it and its folder are made if need be.
    output
        What the user calls the folder, for messages.
    by
        What else may be writing to it, for messages.

    Raises
    ------
    OutputError
        If another process holds it, or its file system has no locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise OutputError(
                f"{output} is in use by another {by} ({file.read().strip()}); "
                "wait for it, or give another --output"
            ) from error
        except OSError as error:
            raise OutputError(
                f"{lock} cannot be locked ({error.strerror}); give an --output on a file "
                "system that has locks"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield

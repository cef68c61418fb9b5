"""Work of a network's layers shared by as many threads as torch may use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier

import torch


def in_threads(work: Callable[[int], None], pieces: int) -> None:
    """``work(0)`` to ``work(pieces - 1)``, in any order, each with one thread of torch.

    Parameters
    ----------
    work
        Must not depend on other pieces, nor call this.
    pieces
        Their number; one piece is computed by the calling thread.
    """
    threads = torch.get_num_threads()
    if threads == 1 or pieces == 1:
        for piece in range(pieces):
            work(piece)
        return

    def one(piece: int) -> None:
        with torch.inference_mode():  # a state of each thread
            work(piece)

    for _ in _pool(threads).map(one, range(pieces)):
        pass


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that compute with one thread of torch each; they wait between calls.

    They do not survive a fork, as torch's own do not.
    """
    started = Barrier(threads + 1)

    def prepare() -> None:
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(threads, "layers", prepare)
    for _ in range(threads):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(threads)  # threads that start later take the number that was set last
    return pool

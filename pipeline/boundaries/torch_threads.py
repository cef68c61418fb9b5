"""Work in threads with one thread of torch each: passes of a network, or parts of its layers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


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

    for _ in _pool(threads, threads).map(one, range(pieces)):
        pass


def in_order(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """What ``work`` makes of each item, in their order, several at a time.

    Parameters
    ----------
    work
        Is called with one thread of torch.
    items
        Are taken one by one, by the calling thread, as others end.
    at_once
        Not more than torch's threads; so many items, or results that are not taken yet, are
        in memory.

    Raises
    ------
    Exception
        The first one that ``work`` raised, after the calls that had begun.
    """
    pool = _pool(at_once, torch.get_num_threads())
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) == at_once:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for one in begun:
            one.cancel()
        wait(begun)


@lru_cache(maxsize=2)
def _pool(count: int, threads: int) -> ThreadPoolExecutor:
    """Threads that compute with one thread of torch each; they wait between calls.

    No more than are needed: each keeps memory of what it computed. They do not survive a fork,
    as torch's own do not.

    Parameters
    ----------
    count
        Of them.
    threads
        Of torch in the calling thread, which are set again.
    """
    started = Barrier(count + 1)

    def prepare() -> None:
        torch.get_num_threads()  # the first call in a thread takes the number of the process
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(count, "passes", prepare)
    for _ in range(count):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(threads)  # threads that start later take the number that was set last
    return pool

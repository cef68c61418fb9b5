"""Batches that are drawn ahead of the step that needs them, in threads.

What a step draws depends on its number alone, so the order in which threads work changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Drawn = TypeVar("Drawn")
AHEAD = 2
"""Steps that are drawn ahead by each thread."""


def drawn_ahead(
    draw: Callable[[int], Drawn], first: int, end: int, threads: int
) -> Generator[Drawn, None, None]:
    """``draw(step)`` for every step from ``first`` to before ``end``, in their order.

    Parameters
    ----------
    draw
        Must not depend on what was drawn before.
    first, end
        Steps.
    threads
        That draw ahead, each with one thread of torch; 0: each step is drawn when it is needed.
    """
    if threads == 0:
        yield from map(draw, range(first, end))
        return
    pool = ThreadPoolExecutor(threads, "draw", torch.set_num_threads, (1,))
    waiting: deque[Future[Drawn]] = deque()
    try:
        for step in range(first, end):
            waiting.append(pool.submit(draw, step))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

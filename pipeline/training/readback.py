"""Losses brought from the device to the host without making the device wait.

To read a number from a CUDA device at once ends the queue of its work: it stands still until the
next step is queued. So a copy is queued behind the step and read some steps later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

STEPS_BEHIND = 2
"""On a CUDA device. The host is never further ahead, so batches do not pile up either."""


class Losses:
    """Losses of steps, read in their order some steps later.

    Parameters
    ----------
    behind
        How many steps later; 0: at once.
    """

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._waiting: deque[tuple[int, Tensor, torch.cuda.Event | None]] = deque()

    def add(self, step: int, loss: Tensor) -> Iterator[tuple[int, float]]:
        """Take note of a step's loss, a scalar; the losses that can be read now, with steps."""
        if loss.is_cuda:
            copy = torch.empty((), dtype=loss.dtype, pin_memory=True)
            copy.copy_(loss.detach(), non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(torch.cuda.current_stream(loss.device))
            self._waiting.append((step, copy, copied))
        else:
            self._waiting.append((step, loss.detach(), None))
        return self._read(self._behind)

    def rest(self) -> Iterator[tuple[int, float]]:
        """All that were not read yet."""
        return self._read(0)

    def _read(self, left: int) -> Iterator[tuple[int, float]]:
        while len(self._waiting) > left:
            step, copy, copied = self._waiting.popleft()
            if copied is not None:
                copied.synchronize()
            yield step, float(copy)

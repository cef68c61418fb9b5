"""Loops compiled by numba: as fast as C, and the same bits on every machine.

No fast-math: an expression is computed as it is written, so a voxel's result does not depend
on where it lies in its array. The compiled code is kept on disk beside the source, or in the
user's cache; where neither can be written it is compiled again by every process. What is kept
is renewed when its own file changes, so compiled functions call none of another file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """A function of arrays and numbers, compiled on its first call; it releases the GIL.

    >>> @compiled
    ... def total(values):
    ...     result = 0
    ...     for value in values:
    ...         result += value
    ...     return result
    >>> int(total(np.arange(4)))
    6
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to keep it: a read-only installation without a home folder
        return cast(Function, numba.njit(**options)(function))

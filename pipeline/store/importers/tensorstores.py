"""Reading with tensorstore: imported when needed, few retries, and an end when a store is silent.

A large read goes in pieces, so that the time without an answer, not the whole time, is limited.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, StoreError
from pipeline.store.arrays import reason
from pipeline.store.importers.checks import Slices

ANSWER_SECONDS = 120.0
"""A store that has not sent the whole of a piece by then is taken for dead."""
RETRIES = {"max_retries": 6, "initial_delay": "500ms", "max_delay": "8s"}
PIECE_BYTES = 16 << 20
MISSING = "this format needs the library tensorstore: pip install 'neuron-pipeline[transfer]'"

PASSING = ("ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
REFUSING = ("PERMISSION_DENIED", "UNAUTHENTICATED")
"""How tensorstore's messages begin where the store may answer later, and where it may not."""
DETAILS = re.compile(r" \[(?:http_response_body|tensorstore_spec|source locations)")
"""What follows is of no use to people."""

Spec = Mapping[str, Any]


def tensorstore(path: str) -> Any:
    """The library.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import tensorstore as library
    except ImportError as error:
        raise InputError(f"{path}: {MISSING}") from error
    return library


def open_store(path: str, spec: Spec, known: bool = False) -> Any:
    """An array, for reading.

    Parameters
    ----------
    path
        For messages.
    spec
        tensorstore's description.
    known
        Whether ``spec`` holds all metadata, so that the stored ones are not read: tensorstore
        refuses an array for attributes that it does not need.

    Raises
    ------
    InputError
        If tensorstore is missing, or see ``answer``.
    """
    library = tensorstore(path)
    how = {"assume_metadata": True} if known else {"read": True}
    return answer(path, library.open(dict(spec), context=_context(library), open=True, **how))


def read_key(path: str, store: Spec, key: str) -> bytes | None:
    """Content of a file in a key-value store, ``None`` if it is not there; see ``open_store``."""
    library = tensorstore(path)
    opened = answer(path, library.KvStore.open(dict(store), context=_context(library)))
    found = answer(path, opened.read(key))
    return None if found.state == "missing" else bytes(found.value)


def answer(path: str, future: Any) -> Any:
    """What a future gives.

    Raises
    ------
    StoreError
        If it gives nothing in ``ANSWER_SECONDS``, or the store fails again and again.
    InputError
        If the store refuses, or what it holds is damaged.
    """
    try:
        return future.result(timeout=ANSWER_SECONDS)
    except TimeoutError as error:
        future.cancel()
        raise StoreError(
            f"{path}: the store sent no answer within {ANSWER_SECONDS:g} seconds"
        ) from error
    except ValueError as error:
        told = reason(ValueError(DETAILS.split(str(error))[0]))
        if told.startswith(PASSING):
            raise StoreError(f"{path}: the store fails again and again ({told})") from error
        if told.startswith(REFUSING):
            raise InputError(f"{path}: the store does not let it be read ({told})") from error
        raise InputError(f"{path}: damaged, truncated or not readable ({told})") from error


def piecewise(
    read: Callable[[Slices], Any], chunk: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[[Slices], NDArray[Any]]:
    """Read a part in pieces of whole chunks, of about ``PIECE_BYTES`` each."""

    def whole(part: Slices) -> NDArray[Any]:
        data = np.empty([axis.stop - axis.start for axis in part], dtype)
        for piece in pieces(part, chunk, max(1, PIECE_BYTES // dtype.itemsize)):
            target = tuple(
                slice(inner.start - outer.start, inner.stop - outer.start)
                for inner, outer in zip(piece, part, strict=True)
            )
            data[target] = read(piece)
        return data

    return whole


def pieces(part: Slices, chunk: tuple[int, ...], voxels: int) -> Iterator[Slices]:
    """Cut a part between chunks until a piece has few voxels or is one chunk.

    >>> list(pieces((slice(0, 4), slice(1, 3)), (2, 8), 4))
    [(slice(0, 2, None), slice(1, 3, None)), (slice(2, 4, None), slice(1, 3, None))]
    """
    steps = list(chunk)
    lengths = [axis.stop - axis.start for axis in part]
    for axis in reversed(range(len(part))):
        others = math.prod(min(s, n) for s, n in zip(steps, lengths, strict=True))
        fit = max(1, voxels * min(steps[axis], lengths[axis]) // max(1, others) // steps[axis])
        steps[axis] *= min(fit, -(-lengths[axis] // steps[axis]) + 1)
    cuts = [
        [axis.start, *range((axis.start // step + 1) * step, axis.stop, step), axis.stop]
        for axis, step in zip(part, steps, strict=True)
    ]
    ranges = ([slice(a, b) for a, b in itertools.pairwise(axis)] for axis in cuts)
    yield from itertools.product(*ranges)


def _context(library: Any) -> Any:
    kinds = ("http_request_retries", "gcs_request_retries", "s3_request_retries")
    return library.Context(dict.fromkeys(kinds, RETRIES))

"""How a benchmark ends where people can do something about it: one line, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pipeline.errors import PipelineError

WRONG = 2
"""Exit code, as of ``python -m pipeline``."""


def as_program(main: Callable[[], object]) -> None:
    """Call ``main``; an error of the user's is one line and exit code 2."""
    try:
        main()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(WRONG) from None

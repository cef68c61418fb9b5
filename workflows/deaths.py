"""Which task runs die in that work in their own process: they cannot survive to tell.

A crash in a library or a lack of memory ends such a run without a word, and the next one begins
with the same task. So the task is noted before it begins, and who finds a note knows.
"""

from __future__ import annotations

import json
from pathlib import Path

FILE = "running"
NAMED_AT = 3
"""Deaths in a row, of as many runs, until a person is told."""


class Deaths:
    """Counts runs in a row that died in the same task.

    Parameters
    ----------
    folder
        Of the records of an output.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.task, self.times = "", 0
        try:
            task, before = json.loads(self._file.read_bytes())
            self.task, self.times = str(task), int(before) + 1
        except (FileNotFoundError, ValueError, TypeError):
            return

    @property
    def warning(self) -> str:
        """What a person should know; empty if there is nothing."""
        if self.times < NAMED_AT:
            return ""
        return (
            f"warning: the last {self.times} runs died in {self.task}, as by a crash in a library "
            "or for want of memory; --workers 2 runs tasks in processes of their own, names those "
            "that kill them and does the others"
        )

    def begin(self, task: str) -> None:
        """Note the task that begins, and how many runs died in it before.

        Of tasks that overlap the one that began last is noted.
        """
        before = self.times if task == self.task else 0
        self._file.write_text(json.dumps([task, before]))

    def end(self) -> None:
        """Note that none is running."""
        self._file.unlink(missing_ok=True)

"""What was computed from what: records, done marks, failures, and the lock of one output.

Everything lies in ``<output>/.pipeline``::

    <stage>.json                record
    <stage>.marks/<step>        one line a finished task, appended after its data
    <stage>.parts/<step>/       what tasks keep for later steps, until the stage is finished
    <stage>.failed/<step>/      the traceback of every task that failed
    run.<id>                    the run that may write
    running                     the task that runs in the process of the run, see ``deaths``
    lock
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import OutputError, ResourceError
from pipeline.store.nodes import remove_leftovers
from workflows.exclusive import held_alone
from workflows.fingerprints import differences, fingerprint_content, fingerprint_of
from workflows.parts import Kept
from workflows.records import Record, State, StepRecord

__all__ = [
    "Ledger",
    "Record",
    "State",
    "StepRecord",
    "differences",
    "fingerprint_content",
    "fingerprint_of",
]

_RECORD = TypeAdapter(Record)


class Ledger:
    """Records, done marks, parts and failures of one output."""

    def __init__(self, output: Path) -> None:
        self.folder = output / ".pipeline"

    def record(self, stage: str) -> Record | None:
        """The record of a stage, if it ever started; see ``Record.unreadable``.

        Raises
        ------
        OutputError
            If it is no JSON, which this program never writes.
        """
        path = self.folder / f"{stage}.json"
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise OutputError(
                f"{path}: damaged record ({error}); remove it, and the stage is computed anew"
            ) from error
        try:
            return _RECORD.validate_python(content)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, one["loc"])) or "all" for one in error.errors())
            why = f"its record was written by another version of this program ({where})"
            return Record(stage, "", False, unreadable=why)

    def save(self, record: Record) -> None:
        """Write a record atomically."""
        _write(self.folder / f"{record.stage}.json", json.dumps(asdict(record), indent=1))

    def done(self, stage: str, step: str) -> dict[str, Kept]:
        """Finished tasks of a pass or step, and what each kept.

        A line that was cut by a kill does not count. The marks are the index of the parts.
        """
        found: dict[str, Kept] = {}
        try:
            file = self._marks(stage, step).open("rb")
        except FileNotFoundError:
            return found
        with file:
            for line in file:
                try:
                    task, kept = json.loads(line)
                except ValueError:
                    continue
                # each line would bring names of its own, and there may be millions
                found[task] = {sys.intern(table): (n, a, b) for table, (n, a, b) in kept.items()}
        return found

    def mark(self, stage: str, step: str, task: str, kept: Kept) -> None:
        """Note that the data of a task are written; only the process that drives the run does.

        The line is not forced to the disk: a kill does not lose it, and one that a power cut
        loses only lets its task be computed again. Its data are not forced either, so a mark
        should not outlive them.
        """
        path = self._marks(stage, step)
        line = json.dumps([task, kept], separators=(",", ":"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(f"{line}\n".encode())
        self._failure(stage, step, task).unlink(missing_ok=True)

    def unmark(self, stage: str, step: str) -> None:
        """Forget the marks of a pass or step, so that all its tasks are computed again."""
        self._marks(stage, step).unlink(missing_ok=True)

    def steps(self, stage: str) -> list[str]:
        """Passes and steps of a stage that have marks."""
        folder = self.folder / f"{stage}.marks"
        return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []

    def parts(self, stage: str, step: str) -> Path:
        """Folder of what the tasks of a pass or step keep."""
        return self.folder / f"{stage}.parts" / _file_name(step)

    def failures(self, stage: str, step: str) -> Path:
        """Folder of the tracebacks of tasks that failed."""
        return self.folder / f"{stage}.failed" / _file_name(step)

    def failed(self, stage: str, step: str) -> dict[str, str]:
        """Tasks that failed and were not done since, with what was noted."""
        found = {}
        for file in sorted(self.failures(stage, step).glob("*.txt")):
            with suppress(FileNotFoundError):  # a run may just have done it
                found[file.name.removesuffix(".txt")] = file.read_text()
        return found

    def note_failure(self, stage: str, step: str, task: str, text: str) -> None:
        """Note why a task failed, until it is done or the stage is forgotten."""
        _write(self._failure(stage, step, task), text)

    def start(
        self, stage: str, fingerprint: str, content: Mapping[str, Any] | None = None
    ) -> Record:
        """Forget what is known of a stage; its new, unfinished record.

        Parameters
        ----------
        stage
            Its name.
        fingerprint
            Of what decides its result.
        content
            What the fingerprint was made of, to say later what changed.
        """
        self.forget(stage)
        record = Record(stage, fingerprint, False, content or {}, started=_now())
        self.save(record)
        return record

    def finish(self, record: Record) -> None:
        """Note that a stage is complete; its parts are not needed any more."""
        self.save(replace(record, finished=True, ended=_now()))
        self.remove_parts(record.stage)

    def remove_parts(self, stage: str) -> None:
        """Remove what the tasks of a finished stage kept."""
        _remove(self.folder / f"{stage}.parts")

    def forget(self, stage: str) -> None:
        """Remove record, marks, parts and failures of a stage; the record goes first."""
        (self.folder / f"{stage}.json").unlink(missing_ok=True)
        for kind in ("marks", "parts", "failed"):
            _remove(self.folder / f"{stage}.{kind}")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the output; a second run is refused. The system frees it if we are killed."""
        with held_alone(self.folder / "lock", self.folder.parent, "run"):
            yield

    def claim(self, run: str) -> None:
        """Note which run may write; a task of an earlier one that still runs finds out.

        Every run has its own file, so that a file system which remembers another for a while
        misleads no worker.
        """
        own = self._run(run)
        own.touch()
        for other in self.folder.glob(self._run("*").name):
            if other != own:
                other.unlink(missing_ok=True)
        remove_leftovers(self.folder)

    def check_claim(self, run: str) -> None:
        """Check that a run may write still.

        Raises
        ------
        ResourceError
            If another run has begun since, or this machine does not see the run's files.
        """
        try:
            self._run(run).open().close()
        except FileNotFoundError as error:
            raise ResourceError(
                f"{self.folder.parent}: another run has begun, or this worker on "
                f"{os.uname().nodename} sees other files under that name than the run"
            ) from error

    def _run(self, run: str) -> Path:
        return self.folder / f"run.{run}"

    def _marks(self, stage: str, step: str) -> Path:
        return self.folder / f"{stage}.marks" / _file_name(step)

    def _failure(self, stage: str, step: str, task: str) -> Path:
        return self.failures(stage, step) / f"{_file_name(task)}.txt"


def _file_name(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise AssertionError(f"{name!r} cannot be the name of a step or task")
    return name


def _remove(folder: Path) -> None:
    """Remove a folder: at once under its name, then as far as open files allow."""
    doomed = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.removed")
    with suppress(FileNotFoundError):
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text)
    os.replace(temporary, path)

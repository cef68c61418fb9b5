"""What was computed from what: fingerprints, stage records, done marks, and the lock.

Everything lies in ``<output>/.pipeline``: ``<stage>.json`` (record), ``<stage>.done`` (one
line a finished write block, appended after its data), ``<stage>.parts/`` (outputs of blocks
of table stages until they are merged), ``lock``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.contract import Stage, StageConfig
from pipeline.errors import OutputError

State = Literal["missing", "unfinished", "done", "stale"]


@dataclass(frozen=True)
class Record:
    """What is known of one stage of an output.

    Parameters
    ----------
    stage
        Name.
    fingerprint
        Of everything that decides the result.
    finished
        Whether outputs are complete.
    blocks
        Number of write blocks.
    seconds
        Wall time, with that of runs that an error or Ctrl-C ended.
    peak_bytes
        Largest resident memory of the process tree seen while it ran.
    """

    stage: str
    fingerprint: str
    finished: bool
    blocks: int
    seconds: float = 0.0
    peak_bytes: int = 0
    started: str = ""
    ended: str = ""

    def worked(self, seconds: float, peak_bytes: int) -> Record:
        """With the time and memory of one more run."""
        return replace(
            self,
            seconds=self.seconds + seconds,
            peak_bytes=max(self.peak_bytes, peak_bytes),
        )


def fingerprint(
    stage: Stage,
    config: StageConfig,
    files: Sequence[str],
    inputs: Mapping[str, str],
    geometry: Mapping[str, Any],
) -> str:
    """Hash of everything that decides a stage's result.

    Parameters
    ----------
    stage
        Its name and version count.
    config
        Its resolved parameters.
    files
        Model files; their content counts, not their place.
    inputs
        Fingerprint of the raw volume and of the stages that it reads.
    geometry
        Shape and voxel size of the volume.
    """
    paths = {Path(f) for f in files}
    values = config.model_dump(mode="json")
    content = {
        "stage": stage.name,
        "version": stage.version,
        "config": {
            k: v for k, v in values.items() if not (isinstance(v, str) and Path(v) in paths)
        },
        "files": [file_hash(Path(f)) for f in files],
        "inputs": dict(sorted(inputs.items())),
        "geometry": dict(geometry),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Ledger:
    """Records, done marks and parts of one output."""

    def __init__(self, output: Path) -> None:
        self.folder = output / ".pipeline"

    def record(self, stage: str) -> Record | None:
        """The record of a stage, if it ever started."""
        path = self.folder / f"{stage}.json"
        if not path.exists():
            return None
        try:
            return Record(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise OutputError(
                f"{path}: damaged record ({error}); remove it, and the stage is computed anew"
            ) from error

    def save(self, record: Record) -> None:
        """Write a record atomically."""
        _write(self.folder / f"{record.stage}.json", json.dumps(asdict(record), indent=1))

    def done(self, stage: str) -> set[str]:
        """Names of finished blocks; a last line that was cut by a kill does not count."""
        path = self.folder / f"{stage}.done"
        if not path.exists():
            return set()
        text = path.read_text()
        return set(text[: text.rfind("\n") + 1].split())

    def mark(self, stage: str, block: str) -> None:
        """Note that a block's data are written."""
        path = self.folder / f"{stage}.done"
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(f"{block}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def parts(self, stage: str) -> Path:
        """Folder of the outputs of blocks of a table stage."""
        return self.folder / f"{stage}.parts"

    def start(self, stage: str, fingerprint: str, blocks: int) -> Record:
        """Forget what is known of a stage; its new, unfinished record."""
        self.forget(stage)
        record = Record(stage, fingerprint, False, blocks, started=_now())
        self.save(record)
        return record

    def finish(self, record: Record) -> None:
        """Note that a stage is complete; its parts are not needed any more."""
        self.save(replace(record, finished=True, ended=_now()))
        shutil.rmtree(self.parts(record.stage), ignore_errors=True)

    def forget(self, stage: str) -> None:
        """Remove record, marks and parts of a stage; the record goes first."""
        (self.folder / f"{stage}.json").unlink(missing_ok=True)
        (self.folder / f"{stage}.done").unlink(missing_ok=True)
        shutil.rmtree(self.parts(stage), ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the output; a second run is refused. The system frees it if we are killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise OutputError(
                    f"{self.folder.parent} is in use by another run ({file.read().strip()}); "
                    "wait for it, or give another --output"
                ) from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}")
            file.flush()
            yield


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text)
    os.replace(temporary, path)

"""What the models of an output learned from, kept with it: a model file may be replaced later.

``<output>/.pipeline/learned_from/<sha256 of the model file>.json``; the record of each stage
says which files it was computed with, so what is kept is never of another file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config import parse_config
from pipeline.contract import Stage
from pipeline.errors import OutputError, PipelineError
from pipeline.registry import STAGES
from pipeline.store import Output
from workflows.fingerprints import file_hash
from workflows.prepare import Run
from workflows.provenance import Ledger
from workflows.training_record import TrainingRecord, read_record

FOLDER = "learned_from"
Named = tuple[str, TrainingRecord]
"""Name of a model file, and its record."""


def keep_records(run: Run, contents: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep the records of the models that a run will use, and drop those of no stage.

    Parameters
    ----------
    run
        Whose output is locked.
    contents
        From ``run.fingerprint_contents``.

    Raises
    ------
    ModelError
        If the record of a model is damaged.
    """
    folder = run.ledger.folder / FOLDER
    used = {name for stage in STAGES for name in _hashes(run.ledger, stage)}
    for stage in STAGES:
        files = stage.files(run.config.section(stage.name)) if stage.files else []
        hashes = contents[stage.name]["files"]
        used.update(hashes)
        for path, name in zip(map(Path, files), hashes, strict=True):
            target = folder / f"{name}.json"
            if not target.exists():
                _write(target, {"model": path.name, "record": read_record(path).as_text()})
    for other in folder.glob("*.json"):
        if other.stem not in used:
            other.unlink()


def kept_records(output: Output, stages: Sequence[Stage] = STAGES) -> Iterator[Named]:
    """The models that stages of an output were computed with, and their records.

    Of an output that keeps none they are read from the model files, if these are still the same.

    Raises
    ------
    OutputError
        If what is kept is damaged.
    """
    ledger = Ledger(output.path)
    for stage in stages:
        if stage.files is None:
            continue
        if ledger.record(stage.name) is None:
            why = f"the output has no record of stage {stage.name}"
            yield stage.name, TrainingRecord(unknown=(why,))
        for name in _hashes(ledger, stage):
            yield _kept(ledger.folder / FOLDER / f"{name}.json") or _still_there(
                output, stage, name
            )


def _hashes(ledger: Ledger, stage: Stage) -> list[str]:
    """Of the model files that a stage was computed with."""
    record = ledger.record(stage.name)
    return list(record.content.get("files", [])) if record else []


def _kept(path: Path) -> Named | None:
    try:
        found = json.loads(path.read_bytes())
        return str(found["model"]), TrainingRecord.of_text(found["record"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise OutputError(
            f"{path}: damaged; remove it, and run the same command again to have it written"
        ) from error


def _still_there(output: Output, stage: Stage, name: str) -> Named:
    """The record of a model file that an older output was computed with."""
    with suppress(PipelineError, KeyError):  # also where it is of another version
        section = parse_config(output.attributes["config"], str(output.path)).section(stage.name)
        for path in map(Path, stage.files(section) if stage.files else ()):
            if file_hash(path) == name:
                return path.name, read_record(path)
    why = f"the output does not keep what the models of stage {stage.name} learned from"
    return stage.name, TrainingRecord(unknown=(why,))


def _write(path: Path, content: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps(content))
    os.replace(temporary, path)

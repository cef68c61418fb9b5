"""Expected scores of a reproduction: measured and written by a command, never by hand.

``NAME.expected.json`` beside ``NAME.yaml`` holds for each form (``full``, ``quick``) the scores,
the digests of the voxels, the hashes of the model files, and where and when it was measured.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError, OutputError
from pipeline.store.nodes import write_atomically
from workflows.reproduction import Form

CHANGED = ("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)*.json")
VERSIONS = ("neuron-pipeline", "torch", "numpy", "bioimage-cpp")


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measured(_Frozen):
    """Where, when and with what scores were measured."""

    date: str = Field(description="Day, UTC.")
    commit: str = Field(description="Of the checkout, + if files differed from it; or 'release'.")
    processor: str = Field(description="Name of the processor.")
    cores: int = Field(description="Of the machine.")
    device: str = Field(description="Of the network: cpu or cuda.")
    precision: str = Field(description="Of the network: fp32 or bf16.")
    versions: dict[str, str] = Field(description="Of the libraries that matter.")
    seconds: float = Field(description="Of all stages, from the imported volume to labels.")


class Expected(_Frozen):
    """What one form gave."""

    scores: dict[str, float] = Field(description="TRUTH/SCORE -> value.")
    voxels: dict[str, str] = Field(description="raw and truths -> SHA-256 of decoded voxels.")
    models: dict[str, str] = Field(description="File of a network or forest -> SHA-256.")
    measured: Measured = Field(description="Where and when.")


class _File(_Frozen):
    forms: dict[Form, Expected] = Field(default_factory=dict)


def read_expected(reproduction: Path, form: Form) -> Expected | None:
    """What was recorded for a form of the reproduction in this YAML file; ``None``: nothing.

    Raises
    ------
    ConfigError
        If the record is damaged.
    """
    return _read(_path(reproduction)).forms.get(form)


def record(reproduction: Path, form: Form, expected: Expected) -> Path:
    """Write down what a form gave, in place of what was recorded for it before.

    Raises
    ------
    ConfigError
        If scores that were recorded before are missing now.
    OutputError
        If the file cannot be written, as in an installed package.
    """
    path = _path(reproduction)
    before = _read(path).forms
    missing = sorted(set(before[form].scores) - set(expected.scores)) if form in before else []
    if missing:
        raise ConfigError(
            f"{path} has {', '.join(missing)}, which could not be scored now; give --data with all "
            "truths, or remove the file first"
        )
    forms = {**before, form: expected}
    content = _File(forms=dict(sorted(forms.items()))).model_dump(mode="json")
    try:
        write_atomically(path, content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def measured_here(device: str, precision: str, seconds: float) -> Measured:
    """What the record says of this machine, now."""
    return Measured(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        commit=_commit(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        device=device,
        precision=precision,
        versions={name: found for name in VERSIONS if (found := _version(name))},
        seconds=round(seconds, 1),
    )


def other_models(expected: Mapping[str, str], used: Mapping[str, str]) -> list[str]:
    """Model files that are not those that the expected scores were measured with."""
    return sorted(name for name in {*expected, *used} if expected.get(name) != used.get(name))


def _path(reproduction: Path) -> Path:
    return reproduction.with_suffix(".expected.json")


def _read(path: Path) -> _File:
    if not path.exists():
        return _File()
    try:
        return _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first: Any = error.errors()[0]
        raise ConfigError(
            f"{path}: is damaged ({'.'.join(map(str, first['loc']))}: {first['msg']}); it is "
            "written by reproduce --record"
        ) from error


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str:
    """Short hash of the checkout that this file lies in; ``release``: it lies in none.

    Records of other forms may differ from it: they are written one after the other.
    """
    head = _git("rev-parse", "--short", "HEAD")
    if not head:
        return "release"
    return head + ("+" if _git(*CHANGED) else "")


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

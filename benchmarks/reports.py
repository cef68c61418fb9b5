"""Reports of benchmarks: tables, facts about the machine, files written whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("numpy", "numba", "scipy", "scikit-learn", "bioimage-cpp", "python-elf")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column is text, all others are aligned right.

    Numbers are written with three significant digits, ``None`` as a dash.

    >>> print(markdown_table(["step", "s"], [["graph", 0.12345], ["fit", None]]), end="")
    | step | s |
    |---|---:|
    | graph | 0.123 |
    | fit | – |
    """
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def machine() -> dict[str, Any]:
    """Processor, cores, versions and commit: what a measured time depends on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
    }


def machine_sentence(facts: dict[str, Any]) -> str:
    """The facts of ``machine`` as one sentence."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items() if number)
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['system']}; Python "
        f"{facts['python']}, {versions}; commit {facts['commit']}."
    )


def commit() -> str:
    """Short hash of the checked-out commit, ``+`` if files differ from it; else ``unknown``."""
    head = _git("rev-parse", "--short", "HEAD")
    if not head:
        return "unknown"
    return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def report(folder: Path, name: str, text: str, values: dict[str, Any]) -> None:
    """Print a report and write it as Markdown and JSON, each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.md", text)
    write_whole(folder / f"{name}.json", json.dumps(values, indent=1) + "\n")
    print(text)


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name, then rename it, so that no reader sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)

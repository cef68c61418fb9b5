"""What reports of benchmarks are made of: tables, facts about the machine, whole files."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("numpy", "numba", "scipy", "scikit-learn", "torch", "bioimage-cpp", "python-elf")
PROGRAMS = ("pipeline", "workflows", "benchmarks", "configs", "pyproject.toml")
PAGES = (":(exclude)benchmarks/results", ":(exclude)*.md")
"""What numbers depend on, and what lies there that they do not depend on."""


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
    """Processor, cores, GPU, versions and commit: what a measured time depends on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": _gpu(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
    }


def machine_sentence(facts: dict[str, Any]) -> str:
    """The facts of ``machine`` as one sentence."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items() if number)
    gpu = f", {facts['gpu']}" if facts.get("gpu") else ""
    return (
        f"{facts['processor']}, {facts['cores']} cores{gpu}, {facts['system']}; Python "
        f"{facts['python']}, {versions}; commit {facts['commit']}."
    )


def commit() -> str:
    """Short hash of the checked-out commit; else ``unknown``.

    A ``+`` behind it: programs differ from the commit, or there are some that it does not have.
    """
    head = _git("rev-parse", "--short", "HEAD")
    if not head:
        return "unknown"
    changed = _git("status", "--porcelain", "--", *PROGRAMS, *PAGES)
    return f"{head}+" if changed else head


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


def _gpu() -> str | None:
    """Name of the CUDA device, where one is there."""
    import torch  # here: the children of a benchmark import this module and count their memory

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name, then rename it, so that no reader sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)

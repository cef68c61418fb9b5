"""What is said of a volume whose voxels differ from those that networks and forests know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.contract import VolumeInfo
from pipeline.forests import load_forest
from pipeline.registry import stage
from workflows.checks import Finding
from workflows.input_level import known_range, pixel_steps, planes_of
from workflows.prepare import Run

THICK_NM = 100
"""Sections beyond this were never measured by anybody here."""
LIKE = 1.25
"""Anisotropies that differ by no more than this factor count as alike."""


def check_voxel_size(run: Run) -> list[Finding]:
    """Which level is used, what the network sees, and what was never measured."""
    size = run.volume.voxel_size_nm
    known = known_range(run.config)
    findings = [Finding("fine", f"voxel size: {line}") for line in chosen_for_you(run)]
    if known is not None:
        findings += _pixels(run, known)
    if size[0] > THICK_NM:
        text = f"voxel size: sections are {size[0]:g} nm thick; quality was not measured there"
        findings.append(Finding("warning", text))
    return findings + _anisotropy(run)


def chosen_for_you(run: Run) -> list[str]:
    """The level that was chosen for the user, and why; nothing where it is the finest."""
    known = known_range(run.config)
    if run.source.finest is None or known is None:
        return []
    copies = "" if run.input_grid is None else "; labels are written on the finest grid, too"
    return [
        f"level {run.volume.level} ({_by(run.volume.voxel_size_nm)} nm) is used: the network "
        f"knows {_range(known)} nm{copies}; --level 0 takes the finest"
    ]


def _pixels(run: Run, known: tuple[float, float]) -> list[Finding]:
    """Edges that the network does not know, and how it sees them."""
    info = run.volume.info
    steps = pixel_steps(run.config, info)
    planes = planes_of(run.config, info)
    axes = [axis for axis in range(3) if any(axis != plane for plane in planes)]
    edges = [info.voxel_size_nm[axis] for axis in axes]
    low, high = known
    outside = not all(low <= edge <= high for edge in edges)
    resampled = [axis for axis in axes if steps[axis] != 1]
    if not outside and not resampled:
        return []
    pixel = info.voxel_size_nm[axes[-1]] * steps[axes[-1]]
    seen = f"it sees them as pixels of {pixel:.3g} nm" if resampled else "it sees them as they are"
    what = f"voxels of {_by(edges)} nm" if outside else f"voxels of {_by(edges)} nm are not square"
    text = f"voxel size: {what}; the network knows {_range(known)} nm, {seen}"
    return [Finding("warning", f"{text}; quality was not measured there")]


def _anisotropy(run: Run) -> list[Finding]:
    """Whether the forest learned from volumes as anisotropic as this one."""
    edges = stage("edges")
    paths = edges.files(run.config.section("edges")) if edges.files else []
    for path in paths:
        known = trained_anisotropy(load_forest(path).metadata)
        here = run.volume.info.anisotropy
        if known and not known[0] / LIKE <= here <= known[1] * LIKE:
            text = (
                f"voxel size: z is {here:.3g} times as long as y, x; the forest of the edges knows "
                f"{_range(known)} times; quality was not measured there"
            )
            return [Finding("warning", text)]
    return []


def trained_anisotropy(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    """Lowest and highest anisotropy of the volumes a forest learned from, if it says so."""
    try:
        sizes = [tuple(map(float, one["voxel_size_nm"])) for one in metadata["data"]]
        found = [VolumeInfo((1, 1, 1), (z, y, x), "").anisotropy for z, y, x in sizes]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (min(found), max(found)) if found else None


def _by(edges: Sequence[float]) -> str:
    return " x ".join(f"{edge:.3g}" for edge in edges)


def _range(known: tuple[float, float]) -> str:
    low, high = (f"{one:.3g}" for one in known)
    return low if low == high else f"{low} to {high}"

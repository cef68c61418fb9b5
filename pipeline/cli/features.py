"""``features``: every column that forests see, its unit and its meaning."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from pipeline.cli.options import Config, Set
from pipeline.config import load_config
from pipeline.contract import VolumeInfo

WIDTH = 96
FAMILIES = {
    ("edges", "raw"): "raw data and its filter responses, one sample per voxel face",
    ("edges", "boundary"): "boundary map and its filter responses, one sample per voxel face",
    ("edges", "regions"): "the two superpixels, combined",
    ("edges", "shape"): "the contact: its size, form and place",
    ("edges", "topology"): "the edge's place in the graph, overlap across sections",
    ("nodes", "superpixels"): "one superpixel; what the families `regions` combine",
    ("lifted", "paths"): "how the superpixels are connected, by P(cut) of the regular edges",
    ("lifted", "clustering"): "when, or whether, partitions of the graph join the superpixels",
    ("lifted", "regions"): "the two superpixels, combined; units as of superpixels",
    ("lifted", "geometry"): "where the superpixels lie, how large they are, how they overlap",
}
"""What a table's family is about."""


class Mode(StrEnum):
    """Superpixels within sections, or in space."""

    flat = "2d"
    cubic = "3d"


VOXEL_SIZES = {Mode.flat: (40.0, 4.0, 4.0), Mode.cubic: (8.0, 8.0, 8.0)}
"""Of volumes for which ``auto`` means that mode."""


@dataclass(frozen=True)
class Listed:
    """One column as it is listed."""

    table: str
    family: str
    name: str
    unit: str
    meaning: str


def features(
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", help="2d = flat sections, 3d; else as --config says, else 2d."),
    ] = None,
    config: Config = None,
    overrides: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List the columns of edges, superpixels and lifted edges, family by family."""
    loaded: Any = load_config(config, overrides or [])
    chosen = mode or Mode(loaded.features.mode if loaded.features.mode != "auto" else Mode.flat)
    if mode:
        loaded = load_config(config, [*(overrides or []), f"features.mode={mode.value}"])
    columns = listed(loaded.resolved(VolumeInfo((1, 1, 1), VOXEL_SIZES[chosen], "uint8")))
    if as_json:
        print(json.dumps([asdict(column) for column in columns], indent=1))
        return
    print(f"Columns in mode {chosen.value}; a/b stands for every a with every b.")
    for table in dict.fromkeys(column.table for column in columns):
        print("\n".join(described([c for c in columns if c.table == table])))


def listed(config: Any) -> list[Listed]:
    """All columns of a resolved configuration, in the order of the tables."""
    from pipeline.features.stage import edge_families, node_columns
    from pipeline.lifted.problem import feature_units

    edges = [
        Listed("edges", family, column.name, column.unit, column.meaning)
        for family, columns in edge_families(config.features).items()
        for column in columns
    ]
    nodes = [
        Listed("nodes", "superpixels", column.name, column.unit, column.meaning)
        for column in node_columns(config.features)
    ]
    lifted = [
        Listed("lifted", name.split("/")[0], name, unit, "")
        for name, unit in feature_units(config.lifted).items()
    ]
    return [*edges, *nodes, *lifted]


def described(columns: Sequence[Listed]) -> Iterator[str]:
    """Lines about the columns of one table."""
    table = columns[0].table
    yield f"\n{table}/features: {len(columns)} columns"
    for family in dict.fromkeys(column.family for column in columns):
        chosen = [column for column in columns if column.family == family]
        yield f"\n  {family} ({len(chosen)}): {FAMILIES.get((table, family), '')}"
        for stems, members in products(chosen):
            several = len(stems) > 1 or "/" in stems[0]
            yield from _product(stems, members) if several else _singly(members)


def products(columns: Sequence[Listed]) -> list[tuple[list[str], list[Listed]]]:
    """Columns named ``stem/ending``: stems that have the same endings, and the first's columns."""
    by_stem: dict[str, list[Listed]] = {}
    for column in columns:
        by_stem.setdefault(column.name.rpartition("/")[0], []).append(column)
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for stem, members in by_stem.items():
        signature = tuple((_ending(column), column.unit) for column in members)
        alike.setdefault(signature, []).append(stem)
    return [(stems, by_stem[stems[0]]) for stems in alike.values()]


def _product(stems: Sequence[str], members: Sequence[Listed]) -> Iterator[str]:
    """All stems, then all endings by unit."""
    yield from _wrapped(", ".join(stems), "    ")
    endings: dict[str, list[str]] = {}
    for column in members:
        endings.setdefault(column.unit, []).append(_ending(column))
    for unit, names in endings.items():
        yield from _wrapped(f"/ {', '.join(names)} [{unit}]", "      ")


def _singly(members: Sequence[Listed]) -> Iterator[str]:
    """A line a column."""
    name = max(len(column.name) for column in members)
    unit = max(len(column.unit) for column in members)
    for column in members:
        yield f"    {column.name:{name}}  {column.unit:{unit}}  {column.meaning}".rstrip()


def _ending(column: Listed) -> str:
    return column.name.rpartition("/")[2]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )

"""Pyramids built as a run builds them: level by level, block by block."""

from __future__ import annotations

from pipeline.store import Output
from pipeline.store.pyramid import Kind


def build_pyramid(output: Output, name: str, kind: Kind, *, backwards: bool = False) -> None:
    """All levels of a complete array, each block by itself, then the metadata."""
    for level in range(1, output.pyramid_levels + 1):
        output.create_level(name, level)
        for index in output.level_blocks(level)[:: -1 if backwards else 1]:
            output.write_level_block(name, kind, level, index)
    output.finish_pyramid(name, kind)

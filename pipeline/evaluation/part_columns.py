"""Parts of an evaluation as columns of plain numbers, to be kept in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from pipeline.evaluation.blockwise import LabelPart, LabelRow, MapPart, MapRow
from pipeline.evaluation.contingency import Contingency
from pipeline.evaluation.spans import ObjectSpans, Spans

Columns = dict[str, NDArray[Any]]

_LABEL_ROWS = TypeAdapter(tuple[LabelRow, ...])
_MAP_ROWS = TypeAdapter(tuple[MapRow, ...])


def label_columns(part: LabelPart) -> Columns:
    """Columns by name; ``label_part_of`` makes the same part of them, bit for bit."""
    columns = {"rows": np.frombuffer(_LABEL_ROWS.dump_json(part.rows), np.uint8)}
    if part.table is not None:
        columns |= {f"table.{name}": column for name, column in vars(part.table).items()}
    if part.spans is not None:
        for side, spans in vars(part.spans).items():
            columns |= {f"{side}.{name}": column for name, column in vars(spans).items()}
    return columns


def label_part_of(columns: Mapping[str, NDArray[Any]]) -> LabelPart:
    """The part that ``label_columns`` was given."""
    table = _group(columns, "table")
    sides = {side: _group(columns, side) for side in ("true", "predicted")}
    return LabelPart(
        _LABEL_ROWS.validate_json(columns["rows"].tobytes()),
        Contingency(**table) if table else None,
        ObjectSpans(**{side: Spans(**found) for side, found in sides.items()})
        if all(sides.values())
        else None,
    )


def map_columns(part: MapPart) -> Columns:
    """Columns by name; ``map_part_of`` makes the same part of them, bit for bit."""
    return {"rows": np.frombuffer(_MAP_ROWS.dump_json(part.rows), np.uint8)}


def map_part_of(columns: Mapping[str, NDArray[Any]]) -> MapPart:
    """The part that ``map_columns`` was given."""
    return MapPart(_MAP_ROWS.validate_json(columns["rows"].tobytes()))


def _group(columns: Mapping[str, NDArray[Any]], prefix: str) -> Columns:
    """Columns whose names begin with a prefix and a dot, without it."""
    begin = f"{prefix}."
    return {name.removeprefix(begin): columns[name] for name in columns if name.startswith(begin)}

"""The table of keys in docs/training.md says what the models say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.training.config import TrainingConfig

DOCS = Path(__file__).parents[2] / "docs" / "training.md"


def rows_of(model: type[BaseModel], prefix: str = "") -> list[str]:
    """A Markdown row for every key, those of nested models below it."""
    rows = []
    for name, field in model.model_fields.items():
        default: Any = field.default
        if isinstance(default, BaseModel) and name != "network":
            rows += rows_of(type(default), f"{prefix}{name}.")
            continue
        value = default.architecture if name == "network" else default  # type: ignore[union-attr]
        shown: Any = value
        if value is None or isinstance(value, bool):
            shown = {None: "null", False: "false", True: "true"}[value]
        elif isinstance(value, tuple):
            shown = list(value)
        rows.append(f"| `{prefix}{name}` | {shown} | {field.description} |")
    return rows


def test_every_key_stands_in_the_docs_with_its_default_and_description() -> None:
    text = DOCS.read_text("utf-8")
    missing = [row for row in rows_of(TrainingConfig) if row not in text]
    assert missing == []

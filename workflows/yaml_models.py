"""Pydantic models from and to YAML files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError
from workflows.overrides import overridden

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """A YAML file as a checked model.

    Parameters
    ----------
    path
        Of the file.
    model
        What it must hold.
    overrides
        See ``workflows.overrides``.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or a key or value is wrong; names it.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: broken YAML ({' '.join(str(error).split())})") from error
    if overrides:
        values = overridden(values if isinstance(values, dict) else {}, overrides)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        items = (
            f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"{path}: {'; '.join(items)}") from error


def write_yaml(path: Path, model: BaseModel, comment: str) -> None:
    """Write what differs from the defaults, whole or not at all, below a line of comment."""
    values = model.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, allow_unicode=True)
    temporary = path.with_suffix(".partial")
    temporary.write_text(f"# {' '.join(comment.split())}\n{text}", encoding="utf-8")
    temporary.replace(path)

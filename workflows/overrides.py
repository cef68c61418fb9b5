"""``--set dotted.key=value`` for YAML files of trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipeline.errors import ConfigError


def overridden(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The values of a YAML file with others in the place of some.

    Parameters
    ----------
    values
        Nested mappings; they stay as they are.
    overrides
        ``dotted.key=value``, the value in YAML. Sections that are missing are made.

    Raises
    ------
    ConfigError
        If an override is not of this form, or leads into something that holds no keys.

    >>> overridden({"training": {"steps": 5, "batch": 2}}, ["training.steps=9", "name=a"])
    {'training': {'steps': 9, 'batch': 2}, 'name': 'a'}
    """
    result = dict(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not (equals and all(names)):
            raise ConfigError(f"--set {override!r}: write it as training.steps=500")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"--set {override!r}: the value is not YAML") from error
        result = _with(result, names, value, override)
    return result


def _with(values: Any, names: Sequence[str], value: Any, override: str) -> dict[str, Any]:
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"--set {override!r}: there are no keys below {values!r}")
    first, *rest = names
    inner = _with(values.get(first), rest, value, override) if rest else value
    return {**values, first: inner}

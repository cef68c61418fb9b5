"""One configuration for the whole pipeline: a section a stage, YAML in, resolved YAML out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from pipeline.contract import StageConfig, VolumeInfo
from pipeline.errors import ConfigError
from pipeline.packaged import preset_path
from pipeline.registry import STAGES


class PipelineSections(StageConfig):
    """What every pipeline configuration can do; the sections themselves come from the registry."""

    def section(self, stage: str) -> StageConfig:
        """Parameters of one stage."""
        section: StageConfig = getattr(self, stage)
        return section

    def resolved(self, volume: VolumeInfo) -> Self:
        """Every ``auto`` decided for this volume."""
        return self.model_copy(
            update={s.name: self.section(s.name).resolved(volume) for s in STAGES}
        )


PipelineConfig: type[PipelineSections] = create_model(
    "PipelineConfig",
    __base__=PipelineSections,
    **{s.name: (s.config, Field(default_factory=s.config)) for s in STAGES},  # type: ignore[call-overload]
)
"""Frozen model with one section for each stage of ``registry.STAGES``."""


def load_config(preset: str | Path | None, overrides: Sequence[str] = ()) -> PipelineSections:
    """Configuration from a preset's name or a YAML file, and ``stage.key=value`` overrides.

    Raises
    ------
    ConfigError
        Naming the key, its value and what is allowed.
    """
    values: dict[str, Any] = {}
    source = "the defaults"
    if preset is not None:
        path = preset_path(str(preset))
        source = str(path)
        values = _read_yaml(path)
    for override in overrides:
        _set(values, override)
    if overrides:
        source = "--set" if preset is None else f"{source} with --set"
    return parse_config(values, source)


def parse_config(values: Mapping[str, Any], source: str) -> PipelineSections:
    """Check values against the stages' models."""
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe(error, source)) from error


def describe(error: ValidationError, source: str) -> str:
    """A validation error in one line: key, value, reason; for unknown keys the known ones."""
    parts = []
    for item in error.errors():
        location = [str(k) for k in item["loc"]]
        key = ".".join(location)
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {key!r} (known here: {', '.join(_known(location[:-1]))})")
        else:
            parts.append(f"{key} = {item['input']!r}: {item['msg']}")
    return f"{source}: " + "; ".join(parts)


def _known(location: Sequence[str]) -> list[str]:
    model: Any = PipelineConfig
    for key in location:
        field = getattr(model, "model_fields", {}).get(key)
        if field is None:
            return []
        model = field.annotation
    return list(getattr(model, "model_fields", {}))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: broken YAML ({' '.join(str(error).split())})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: expected sections such as 'multicut:', found {type(values).__name__}"
        )
    return {name: {} if section is None else section for name, section in values.items()}


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise ConfigError(
            f"--set {override!r}: write it as stage.key=value, e.g. multicut.beta=0.6"
        )
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {override!r}: the value is not YAML") from error
    inner = values.setdefault(section, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"section {section!r} must hold keys, found {inner!r}")
    inner[name] = value


def as_yaml(config: PipelineSections, *, sentences: bool = False) -> str:
    """The configuration as YAML, on request with a sentence above each key."""
    lines = []
    for stage in STAGES:
        section = config.section(stage.name)
        lines.append(f"{stage.name}:")
        for name, info in type(section).model_fields.items():
            if sentences:
                lines.append(f"  # {_sentence(info)}")
            value = section.model_dump(mode="json")[name]
            text = yaml.safe_dump(value, default_flow_style=True, width=math.inf).strip()
            lines.append(f"  {name}: {text.removesuffix('...').strip()}")
        if not type(section).model_fields:
            lines[-1] += " {}"
    return "\n".join(lines) + "\n"


def _sentence(info: FieldInfo) -> str:
    return " ".join((info.description or "").split())

"""Models, presets and other data that are installed with the package, by name or by path."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pipeline.errors import ConfigError, ModelError


def model_path(name_or_path: str | Path) -> Path:
    """Path of a model file, given as a path or as the name of a packaged model.

    Raises
    ------
    ModelError
        If neither exists; lists the packaged names.
    """
    path = _found(name_or_path, "models", ".safetensors")
    if path is None:
        raise ModelError(_missing("model", name_or_path, packaged_models()))
    return path


def preset_path(name_or_path: str | Path) -> Path:
    """Path of a configuration file, given as a path or as the name of a packaged preset.

    Raises
    ------
    ConfigError
        If neither exists; lists the packaged names.
    """
    path = _found(name_or_path, "presets", ".yaml")
    if path is None:
        raise ConfigError(_missing("preset", name_or_path, packaged_presets()))
    return path


def reproduction_path(name_or_path: str | Path) -> Path:
    """Path of a reproduction's YAML file, given as a path or as the name of a packaged one.

    Raises
    ------
    ConfigError
        If neither exists; lists the packaged names.
    """
    path = _found(name_or_path, "reproductions", ".yaml")
    if path is None:
        raise ConfigError(_missing("reproduction", name_or_path, packaged_reproductions()))
    return path


def packaged_sample() -> Path:
    """Folder of the embedded volume and its ground truth."""
    return _folder("sample")


def packaged_models() -> tuple[str, ...]:
    """Names of the packaged models, sorted."""
    return _names("models", ".safetensors")


def packaged_presets() -> tuple[str, ...]:
    """Names of the packaged presets, sorted."""
    return _names("presets", ".yaml")


def packaged_reproductions() -> tuple[str, ...]:
    """Names of the packaged reproductions, sorted."""
    return _names("reproductions", ".yaml")


def _found(name_or_path: str | Path, kind: str, suffix: str) -> Path | None:
    path = Path(name_or_path)
    if path.is_file():
        return path
    name = str(name_or_path)
    return _folder(kind) / f"{name}{suffix}" if name in _names(kind, suffix) else None


def _names(kind: str, suffix: str) -> tuple[str, ...]:
    folder = _folder(kind)
    return tuple(sorted(path.stem for path in folder.glob(f"*{suffix}") if path.is_file()))


def _folder(kind: str) -> Path:
    return Path(str(resources.files("pipeline"))) / "data" / kind


def _missing(what: str, asked: str | Path, names: tuple[str, ...]) -> str:
    known = ", ".join(names) or "none"
    return f"no {what} {str(asked)!r}: neither a file nor a packaged {what} (packaged: {known})"

"""Models, presets and other data that are installed with the package, by name or by path."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pipeline.errors import ConfigError, ModelError, PipelineError


def model_path(name_or_path: str | Path) -> Path:
    """Path of a model file, given as a path or as the name of a packaged model.

    Raises
    ------
    ModelError
        If neither exists; lists the packaged names.
    """
    return _path(name_or_path, "model", "models", ".safetensors", ModelError)


def preset_path(name_or_path: str | Path) -> Path:
    """Path of a configuration file, given as a path or as the name of a packaged preset.

    Raises
    ------
    ConfigError
        If neither exists; lists the packaged names.
    """
    return _path(name_or_path, "preset", "presets", ".yaml", ConfigError)


def reproduction_path(name_or_path: str | Path) -> Path:
    """Path of a reproduction's YAML file, given as a path or as the name of a packaged one.

    Raises
    ------
    ConfigError
        If neither exists; lists the packaged names.
    """
    return _path(name_or_path, "reproduction", "reproductions", ".yaml", ConfigError)


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


def _path(
    name_or_path: str | Path, what: str, kind: str, suffix: str, error: type[PipelineError]
) -> Path:
    """A file that exists, or the packaged one of this name; else ``error``, with the names."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = _names(kind, suffix)
    if str(name_or_path) in names:
        return _folder(kind) / f"{name_or_path}{suffix}"
    raise error(
        f"no {what} {str(name_or_path)!r}: neither a file nor a packaged {what} "
        f"(packaged: {', '.join(names) or 'none'})"
    )


def _names(kind: str, suffix: str) -> tuple[str, ...]:
    folder = _folder(kind)
    return tuple(sorted(path.stem for path in folder.glob(f"*{suffix}") if path.is_file()))


def _folder(kind: str) -> Path:
    return Path(str(resources.files("pipeline"))) / "data" / kind

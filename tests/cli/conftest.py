"""A small volume, its configuration file, and the command line called in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_pipeline import Tissue, paint_tissue, save_dark_network, settings, write_volume

from pipeline.cli import main
from pipeline.config import as_yaml


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Lines that report an error."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


Call = Callable[..., Answer]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: Any) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        code = ended.value.code
        out, err = capsys.readouterr()
        return Answer(int(code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def tissue() -> Tissue:
    return paint_tissue((5, 24, 22), 5, 5)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dark_network(tmp_path_factory.mktemp("network") / "dark.safetensors")


@pytest.fixture(scope="session")
def config(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(as_yaml(settings(network)))
    return path


@pytest.fixture
def volume(tissue: Tissue, tmp_path: Path) -> Path:
    return write_volume(tmp_path / "v.zarr", tissue.raw)

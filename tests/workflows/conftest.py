"""One network and two forests for all tests of the workflows, and a way to run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_pipeline import (
    Tissue,
    paint_tissue,
    save_dark_network,
    save_forests,
    settings,
    write_volume,
)

from pipeline.config import PipelineSections
from workflows.prepare import Run, prepare
from workflows.reconstruct import reconstruct
from workflows.source import Source


@dataclass(frozen=True)
class Models:
    network: Path
    forests: tuple[Path, Path]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    network = save_dark_network(folder / "dark.safetensors")
    return Models(network, save_forests(folder, network, paint_tissue((6, 40, 40), 8, 5)))


@pytest.fixture(scope="session")
def tissue() -> Tissue:
    """12 x 30 x 28 voxels, with blocks of 7 x 16 x 16: 2 x 2 x 2 blocks that do not divide it."""
    return paint_tissue((12, 30, 28), 8, 5)


@pytest.fixture(scope="session")
def volume(tissue: Tissue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_volume(tmp_path_factory.mktemp("volume") / "v.zarr", tissue.raw)


@pytest.fixture
def prepared(volume: Path, tmp_path: Path) -> Callable[..., Run]:
    def make(config: PipelineSections, path: Path = volume, **options: Any) -> Run:
        source = Source(path, None, options.pop("voxel_size_nm", None), options.pop("roi", None))
        output = options.pop("output", tmp_path / "out.neurons.zarr")
        return prepare(
            source, config, output, device="cpu", **{"block_shape": (7, 16, 16), **options}
        )

    return make


@pytest.fixture(scope="session")
def finished(models: Any, volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "out.neurons.zarr"
    source = Source(volume, None, None, None)
    config = settings(models.network, models.forests)
    reconstruct(prepare(source, config, path, device="cpu", block_shape=(7, 16, 16)))
    return path


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out.neurons.zarr"))

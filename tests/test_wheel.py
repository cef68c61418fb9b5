"""A wheel in an empty virtual environment does the main job from another folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = (
    "pipeline/data/models/default.safetensors",
    "pipeline/data/models/edges-anisotropic.safetensors",
    "pipeline/data/models/edges-isotropic.safetensors",
    "pipeline/data/models/lifted-anisotropic.safetensors",
    "pipeline/data/models/lifted-isotropic.safetensors",
    "pipeline/data/models/without-isbi2012.safetensors",
    "pipeline/data/models/LICENSE-WEIGHTS.md",
    "pipeline/data/presets/atum_sem.yaml",
    "pipeline/data/presets/cremi.yaml",
    "pipeline/data/presets/fib_sem.yaml",
    "pipeline/data/presets/isbi2012.yaml",
    "pipeline/data/presets/piriform.yaml",
    "pipeline/data/presets/snemi3d.yaml",
    "pipeline/data/reproductions/sample.expected.json",
    "pipeline/data/reproductions/sample.yaml",
    "pipeline/data/sample/bodies.tif",
    "pipeline/data/sample/raw.tif",
    "pipeline/data/sample/README.md",
    "pipeline/py.typed",
    "workflows/reconstruct.py",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_holds_models_presets_and_sample(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(NEEDED) <= names
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/"))]


@pytest.mark.slow
def test_torch_is_not_pinned(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    assert "Requires-Dist: torch" in lines


@pytest.mark.slow
def test_installed_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "torch==2.13.0"], check=True)
    subprocess.run([*pip, str(wheel)], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for command in (
        ["synth", "stack", "--shape", "3,128,128"],
        ["run", "stack/volume.zarr", "--config", "isbi2012", "--truth", "stack/truth.tif"],
        ["status", "stack/volume.neurons.zarr"],
    ):
        subprocess.run([str(python), "-m", "pipeline", *command], check=True, cwd=elsewhere)
    assert (elsewhere / "stack/volume.neurons.pictures/overview.png").exists()

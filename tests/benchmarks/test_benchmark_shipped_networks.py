"""The comparison of shipped networks, on small data of the data sets' form."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_benchmarks import small_config, synthetic_stack

from benchmarks import shipped_networks
from benchmarks.datasets import SNEMI3D
from benchmarks.published import read


def test_every_network_has_rows_of_its_own_on_the_same_voxels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, ids = synthetic_stack((3, 40, 36), SNEMI3D.voxel_size_nm)
    (tmp_path / "snemi3d").mkdir()
    for name, stack in (("raw", raw), ("neurites", ids)):
        whole = np.pad(stack, ((60, 17), (0, 0), (0, 0)), mode="edge").astype(np.uint8)
        tifffile.imwrite(tmp_path / "snemi3d" / f"{name}_z00-79.tif", whole)
    config = small_config(tmp_path, SNEMI3D.voxel_size_nm)
    networks = [tmp_path / "dark.safetensors", tmp_path / "same.safetensors"]
    shutil.copy(networks[0], networks[1])
    monkeypatch.setattr(shipped_networks, "DATASETS", (SNEMI3D,))
    words = ["--data", tmp_path, "--output", tmp_path / "out", "--config", config, "--quick"]
    words += [word for network in networks for word in ("--network", network)]
    found = read(shipped_networks.main([*map(str, words), "--device", "cpu"]))
    rows = found.tables[0].rows
    assert [row[1] for row in rows] == [str(n) for n in networks for _ in range(2)]
    assert [row[2] for row in rows] == ["multicut", "lifted multicut"] * 2
    scores = [row[3:6] for row in rows]
    assert scores[:2] == scores[2:]  # the same weights under another name
    assert all(0 <= row[5] < 1 for row in rows)
    assert [row[6] is None for row in rows] == [False, True] * 2

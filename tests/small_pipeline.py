"""A pipeline small enough for tests: painted cells, a network set by hand, tiny forests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.boundaries.model import save_model
from pipeline.boundaries.networks.rc_spcnet import RCSPCNet, RCSPCNetConfig
from pipeline.config import PipelineSections, parse_config
from pipeline.contract import Table, VolumeInfo
from pipeline.forests import fit_forest, save_forest
from pipeline.lifted.problem import feature_units
from pipeline.store import Output
from workflows.in_memory import reconstruct_array
from workflows.reconstruct import STAGES

SECTIONS_NM = (40.0, 8.0, 8.0)
CUBES_NM = (8.0, 8.0, 8.0)
STEEPNESS = 12.0


@dataclass(frozen=True)
class Tissue:
    """Bright cells between dark membranes; ``cells`` is 0 on the membranes."""

    raw: NDArray[np.uint8]
    cells: NDArray[np.uint64]


def paint_tissue(shape: tuple[int, int, int], cells: int, z_step: float, seed: int = 0) -> Tissue:
    """Voronoi cells; a step along z is as long as ``z_step`` pixels."""
    rng = np.random.default_rng(seed)
    scale = np.array([z_step, 1, 1])
    tree = cKDTree(rng.uniform(0, 1, (cells, 3)) * shape * scale)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    distance, nearest = tree.query(voxels * scale, k=2)
    membrane = distance[..., 1] - distance[..., 0] < 2.5
    raw = np.where(membrane, 40, 200) + rng.integers(-15, 16, shape)
    return Tissue(
        raw.astype(np.uint8), np.where(membrane, 0, nearest[..., 0] + 1).astype(np.uint64)
    )


def write_volume(
    path: Path, raw: NDArray[Any], voxel_size_nm: tuple[float, float, float] = SECTIONS_NM
) -> Path:
    """An OME-Zarr 0.5 image of one level, written with zarr itself."""
    scale = [{"type": "scale", "scale": list(voxel_size_nm)}]
    multiscale = {
        "axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    group = zarr.create_group(
        path, attributes={"ome": {"version": "0.5", "multiscales": [multiscale]}}
    )
    array = group.create_array(
        "0", shape=raw.shape, dtype=raw.dtype, chunks=tuple(min(16, n) for n in raw.shape)
    )
    array[...] = raw
    return path


def dark_shape(stem: int = 4) -> RCSPCNetConfig:
    """Shape of ``dark_network``."""
    return RCSPCNetConfig(stem=stem, widths=(8, 8), units=(1,) * 6, dilations=(1,) * 4)


def dark_network(stem: int = 4) -> RCSPCNet:
    """P(boundary) of a pixel = how dark the darkest pixel of its 2 x 2 square is."""
    network = RCSPCNet(dark_shape(stem)).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.zero_()
        network.stem[0].weight[0, 0, 1, 1] = -0.5
        network.stem[1].bias[0] = 0.5
        network.up_full.body[0].weight[:4, 0, 1, 1] = 1.0
        network.head[0].weight[0, 0, 1, 1] = 1.0
        network.head[4].weight[1, 0, 1, 1] = STEEPNESS
        network.head[4].bias.copy_(torch.tensor([0.0, -STEEPNESS / 2]))
    return network


def save_dark_network(path: Path, stem: int = 4) -> Path:
    """The network as a model file."""
    card = {"halo_pixels": 8, "stride_pixels": 8}
    save_model(path, dark_network(stem), dark_shape(stem).model_dump(), card)
    return path


def settings(
    network: Path,
    forests: tuple[Path, Path] | None = None,
    tile: tuple[int, int, int] = (1, 16, 16),
    **changes: Mapping[str, Any],
) -> PipelineSections:
    """Parameters for cells of some ten voxels; ``changes`` by stage."""
    values: dict[str, dict[str, Any]] = {
        "boundaries": {"model": str(network), "augmentation": "none", "tile": tile},
        "superpixels": {
            "threshold": 0.5,
            "distance_cap_voxels": 3,
            "sigma_seeds_voxels": 0.7,
            "seed_spacing_voxels": 8,
            "basin_voxels": 12,
            "min_size_voxels": 4,
        },
        "features": {"sigmas_voxels": [1.0]},
        "edges": {"forest": str(forests[0]) if forests else "none"},
        "lifted": {"forest": str(forests[1]) if forests else "none"},
    }
    for stage, change in changes.items():
        values[stage] = {**values.get(stage, {}), **change}
    return parse_config(values, "test")


def save_forests(
    folder: Path,
    network: Path,
    tissue: Tissue,
    voxel_size_nm: tuple[float, float, float] = SECTIONS_NM,
) -> tuple[Path, Path]:
    """Both forests, fitted on the features of a tissue."""
    config = settings(network)
    tables = reconstruct_array(tissue.raw, voxel_size_nm, config, until="features")
    features, names = (
        tables["edges"]["features"],
        tables["attributes"]["edges/features"]["names"],
    )
    boundary = features[:, names.index("boundary/mean")]
    lifted: Any = config.resolved(VolumeInfo((1, 1, 1), voxel_size_nm, "uint8")).section("lifted")
    lifted_names = list(feature_units(lifted))
    random = np.random.default_rng(0).uniform(0, 1, (200, len(lifted_names))).astype(np.float32)
    paths = folder / "edges.safetensors", folder / "lifted.safetensors"
    for path, rows, labels, columns in (
        (paths[0], features, boundary > 0.5, names),
        (paths[1], random, random.mean(1) > 0.5, lifted_names),
    ):
        forest, _ = fit_forest(
            rows, labels, columns, trees=5, max_depth=4, min_leaf=2, seed=0, threads=1
        )
        save_forest(path, forest)
    return paths


def contents(path: Path) -> dict[str, NDArray[Any]]:
    """Every array and every column of an output store, but for the list of background blocks."""
    store = Output.open(path)
    found: dict[str, NDArray[Any]] = {}
    for spec in (a for s in STAGES for a in s.arrays):
        place = path if spec.kind == "image" else path / "labels" / spec.name
        for level in sorted(p.name for p in place.iterdir() if p.name.isdecimal()):
            found[f"{spec.name}/{level}"] = np.asarray(zarr.open_array(place / level, mode="r"))
    for table in sorted({t.name for s in STAGES for t in s.tables} - {"background"}):
        columns: Table = store.read_table(table)
        found |= {f"{table}/{name}": values for name, values in columns.items()}
    return found


def by_contents(arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """What the run in memory gave, named as ``contents`` names it."""
    found: dict[str, NDArray[Any]] = {}
    for stage in STAGES:
        found |= {f"{array.name}/0": arrays[array.name] for array in stage.arrays}
        for table in (table for table in stage.tables if table.name != "background"):
            columns = arrays[table.name]
            found |= {f"{table.name}/{column}": columns[column] for column in table.columns}
    return found


def assert_same(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> None:
    """Same names, dtypes and bits."""
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert values.dtype == second[name].dtype, name
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def assert_same_as_arrays(stored: Mapping[str, NDArray[Any]], arrays: Mapping[str, Any]) -> None:
    """An output store holds what the run in memory gave."""
    for name, values in stored.items():
        first, second = name.split("/")
        if second == "0" and not isinstance(arrays[first], dict):
            np.testing.assert_array_equal(values, arrays[first], err_msg=name)
        elif isinstance(arrays[first], dict):
            np.testing.assert_array_equal(values, arrays[first][second], err_msg=name)

"""Fit the two random forests on boundary maps predicted out of fold.

1. Each annotated volume is halved along z; each half is predicted by the network that
   learned from the other halves, then goes through superpixels, graph and features.
2. The first forest learns from all clear edges. Its out-of-bag probabilities (for edges
   that it did not learn from, its predictions) stand for P(cut).
3. Lifted edges and their features are made from those, and the second forest is fitted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.metrics import roc_auc_score

from pipeline.boundaries.device import choose_device
from pipeline.config import PipelineSections, parse_config
from pipeline.contract import Triple, VolumeInfo
from pipeline.edges.targets import edge_targets, overlaps
from pipeline.errors import ConfigError
from pipeline.forests import Forest, fit_forest, predict, save_forest
from pipeline.lifted.problem import compute_lifted_problem
from workflows.blockwise import available_cores
from workflows.in_memory import reconstruct_array
from workflows.progress import progress_bar
from workflows.training_data import AnnotatedVolume, read_pair
from workflows.yaml_models import read_yaml


class ForestConfig(BaseModel):
    """Size of a forest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trees: int = Field(60, ge=1, le=2000, description="Number of trees.")
    max_depth: int = Field(12, ge=1, le=32, description="Depth of a tree.")
    min_leaf: int = Field(20, ge=1, description="Edges that a leaf holds at least.")
    max_rows: int = Field(
        400_000, ge=100, description="Edges learned from, at most; drawn at random."
    )


class EdgeTraining(BaseModel):
    """Configuration of ``train edges``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The forests become edges-<name> and lifted-<name>.")
    licence: str = Field(description="Terms under which the forests may be used.")
    volumes: tuple[AnnotatedVolume, ...] = Field(
        min_length=1, description="Labels of neurites, halved along z."
    )
    pipeline: dict[str, Any] = Field(
        default_factory=dict, description="Pipeline parameters, as in a preset."
    )
    edges: ForestConfig = Field(ForestConfig(), description="First forest.")
    lifted: ForestConfig = Field(ForestConfig(), description="Second forest.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")


@dataclass(frozen=True)
class Part:
    """One half of a volume, predicted out of fold, up to its features."""

    name: str
    volume: VolumeInfo
    tables: dict[str, Any]
    truth: NDArray[np.uint64]

    @property
    def edges(self) -> dict[str, NDArray[Any]]:
        """The table of regular edges."""
        edges: dict[str, NDArray[Any]] = self.tables["edges"]
        return edges


def read_edge_training(path: Path) -> EdgeTraining:
    """A configuration file of ``train edges``."""
    return read_yaml(path, EdgeTraining)


def train_edges(
    config: EdgeTraining,
    data: Path,
    output: Path,
    networks: Sequence[Path],
    *,
    device: str = "auto",
) -> list[Path]:
    """Fit and write both forests, and a report.

    Parameters
    ----------
    config
        Volumes and parameters.
    data
        Folder that the volumes' paths are relative to.
    output
        Folder of the forests and of ``<name>.json``, the report.
    networks
        Model files of fold 0 and fold 1.
    device
        Of the networks.

    Returns
    -------
    paths
        ``edges-<name>.safetensors`` and ``lifted-<name>.safetensors``.
    """
    if len(networks) != 2:
        raise ConfigError(f"give --network twice (fold 0, fold 1), not {len(networks)} times")
    parts = out_of_fold_parts(config, data, networks, choose_device(device))
    names = feature_names(parts)
    metadata = {
        "licence": config.licence,
        "data": [v.model_dump(mode="json") for v in config.volumes],
        "networks": [p.name for p in networks],
    }
    features = [p.edges["features"] for p in parts]
    targets = [targets_of(p, p.edges["uv"]) for p in parts]
    first, p_cut, report = fit(features, targets, names, config.edges, config.seed, metadata)
    lifted_features, lifted_targets = [], []
    problem_names: Sequence[str] = ()
    resolved: Any = parse_config(config.pipeline, config.name).section("lifted")
    for part, p in zip(parts, p_cut, strict=True):
        node_names = part.tables["attributes"]["nodes/features"]["names"]
        problem = compute_lifted_problem(
            part.tables["nodes"], {**part.edges, "p_cut": p}, node_names, resolved, part.volume
        )
        problem_names = problem.names
        lifted_features.append(problem.features)
        lifted_targets.append(targets_of(part, problem.uv))
    second, _, lifted_report = fit(
        lifted_features, lifted_targets, problem_names, config.lifted, config.seed + 1, metadata
    )
    output.mkdir(parents=True, exist_ok=True)
    paths = [output / f"{kind}-{config.name}.safetensors" for kind in ("edges", "lifted")]
    save_forest(paths[0], first)
    save_forest(paths[1], second)
    summary = {"edges": report, "lifted": lifted_report}
    (output / f"{config.name}.json").write_text(json.dumps(summary, indent=1) + "\n")
    return paths


def feature_names(parts: Sequence[Part]) -> list[str]:
    """Names of the columns of the edges' features, which all parts must share."""
    names = [list(p.tables["attributes"]["edges/features"]["names"]) for p in parts]
    for part, other in zip(parts, names, strict=True):
        if other != names[0]:
            raise ConfigError(
                f"{part.name} has other features than {parts[0].name}; train on volumes of one "
                "kind, flat or isotropic"
            )
    return names[0]


def out_of_fold_parts(
    config: EdgeTraining, data: Path, networks: Sequence[Path], device: str
) -> list[Part]:
    """Both halves of every volume, each predicted by the other fold's network."""
    parts = []
    with progress_bar("out of fold", 2 * len(config.volumes)) as advance:
        for volume in config.volumes:
            for half in (0, 1):
                parts.append(_part(volume.half(half), config, data, networks[1 - half], device))
                advance(1, parts[-1].name)
    return parts


def _part(
    volume: AnnotatedVolume, config: EdgeTraining, data: Path, network: Path, device: str
) -> Part:
    raw, truth = read_pair(volume, data)
    settings: PipelineSections = parse_config(
        {
            **config.pipeline,
            "boundaries": {**config.pipeline.get("boundaries", {}), "model": str(network)},
            "edges": {**config.pipeline.get("edges", {}), "forest": "none"},
        },
        config.name,
    )
    tables = reconstruct_array(raw, volume.voxel_size_nm, settings, device=device, until="features")
    shape: Triple = (raw.shape[0], raw.shape[1], raw.shape[2])
    name = f"{volume.name} z {volume.sections}"
    info = VolumeInfo(shape, volume.voxel_size_nm, raw.dtype.name)
    return Part(name, info, tables, truth.astype(np.uint64))


def targets_of(part: Part, uv: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """True cut or join of pairs of superpixels, and which of them are clear."""
    shares = overlaps(part.tables["superpixels"], part.truth, part.tables["nodes"]["id"])
    return edge_targets(uv, shares)


def fit(
    features: Sequence[NDArray[np.float32]],
    targets: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]],
    names: Sequence[str],
    config: ForestConfig,
    seed: int,
    metadata: dict[str, Any],
) -> tuple[Forest, list[NDArray[np.float32]], dict[str, Any]]:
    """The forest, P(cut) of all rows that no tree used on itself, and a report."""
    rows = np.concatenate(features)
    labels = np.concatenate([label for label, _ in targets])
    clear = np.flatnonzero(np.concatenate([keep for _, keep in targets]))
    chosen = clear
    if len(clear) > config.max_rows:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(clear, config.max_rows, replace=False))
    forest, out_of_bag = fit_forest(
        rows[chosen],
        labels[chosen],
        names,
        trees=config.trees,
        max_depth=config.max_depth,
        min_leaf=config.min_leaf,
        seed=seed,
        threads=available_cores(),
        metadata=metadata,
    )
    p = predict(forest, rows, names)
    p[chosen] = out_of_bag
    truth = labels[chosen]
    report = {
        "rows": len(rows),
        "clear": len(clear),
        "learned_from": len(chosen),
        "cut_share": float(truth.mean()),
        "out_of_bag_accuracy": float(((out_of_bag > 0.5) == truth).mean()),
        "out_of_bag_auc": float(roc_auc_score(truth, out_of_bag)),
    }
    split = np.cumsum([len(f) for f in features])[:-1]
    return forest, np.split(p, split), report

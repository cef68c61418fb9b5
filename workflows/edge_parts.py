"""Halves of annotated volumes, predicted out of fold, up to the features of their edges.

Predicting boundary maps takes most of the time of ``train edges``, so that parts can be kept
in a folder and read again: one ``.npz`` of plain arrays a part.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PipelineSections, parse_config
from pipeline.contract import Triple, VolumeInfo
from pipeline.edges.targets import (
    Overlaps,
    cells_of_sections,
    edge_targets,
    overlaps,
    same_section,
)
from pipeline.errors import ConfigError
from pipeline.registry import STAGES
from workflows.edge_training import EdgeTraining
from workflows.fingerprints import file_hash
from workflows.in_memory import reconstruct_array
from workflows.machine import available_cores
from workflows.progress import progress_bar
from workflows.training_data import AnnotatedVolume, Pair, described, read_pair

LAST = "features"
"""The last stage of a part; what follows depends on the forests."""
UNNAMED = "network"
"""Stands for the network in fingerprints: its content counts, not its name."""


@dataclass(frozen=True)
class Part:
    """One half of a volume, predicted out of fold, up to its features.

    Parameters
    ----------
    name
        For messages.
    volume
        Shape, voxel size, dtype.
    tables
        What ``reconstruct_array`` returns.
    truth
        (Z, Y, X) uint64 ids, 0 = unlabelled.
    sections_apart
        Whether ids of different sections are unrelated, so that nothing is known of pairs
        across sections.
    weight
        Of each edge in the forests.
    """

    name: str
    volume: VolumeInfo
    tables: dict[str, Any]
    truth: NDArray[np.uint64]
    sections_apart: bool = False
    weight: float = 1.0

    @property
    def edges(self) -> dict[str, NDArray[Any]]:
        """The table of regular edges."""
        edges: dict[str, NDArray[Any]] = self.tables["edges"]
        return edges

    @cached_property
    def shares(self) -> Overlaps:
        """How the superpixels overlap with the truth."""
        return overlaps(self.tables["superpixels"], self.truth, self.tables["nodes"]["id"])

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of the edges' features."""
        return list(self.tables["attributes"]["edges/features"]["names"])


def feature_names(parts: Sequence[Part]) -> list[str]:
    """Names of the columns of the edges' features, which all parts must share."""
    for part in parts:
        if part.feature_names != parts[0].feature_names:
            raise ConfigError(
                f"{part.name} has other features than {parts[0].name}; train on volumes of one "
                "kind, flat or isotropic"
            )
    return parts[0].feature_names


def targets_of(
    part: Part, uv: NDArray[np.uint64], limits: Mapping[str, float] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """True cut or join of pairs of superpixels, and which of them are clear.

    Parameters
    ----------
    part
        With its truth.
    uv
        (k, 2) uint64, rows of the part's nodes.
    limits
        ``min_overlap``, ``cut_above``, ``join_below`` of ``edge_targets``; None takes its
        defaults.

    Returns
    -------
    label
        (k,) uint8, 1 = cut, 0 = join.
    keep
        (k,) bool; False for pairs across sections where nothing is known of them.
    """
    label, keep = edge_targets(uv, part.shares, **(limits or {}))
    if part.sections_apart:
        keep = keep & same_section(uv, part.tables["nodes"]["box"])
    return label, keep


def out_of_fold_parts(
    config: EdgeTraining,
    data: Path,
    networks: Sequence[Path],
    device: str,
    kept: Path | None = None,
) -> list[Part]:
    """Both halves of every volume, each predicted by the other fold's network.

    Parameters
    ----------
    config
        Volumes and parameters of the pipeline.
    data
        Folder that the volumes' paths are relative to.
    networks
        Model files of fold 0 and fold 1.
    device
        Of the networks.
    kept
        Folder of parts from earlier calls, which is filled and read; a part that belongs to
        other data, parameters, networks or versions of the stages is computed again.

    Returns
    -------
    parts
        First and second half of the first volume, then of the next.
    """
    parts = []
    with progress_bar("out of fold", 2 * len(config.volumes)) as advance:
        for volume in [described(v, data) for v in config.volumes]:
            for half in (0, 1):
                one = volume.half(half)
                parts.append(_kept_part(one, config, data, networks[1 - half], device, kept, half))
                advance(1, parts[-1].name)
    return parts


def _kept_part(
    volume: AnnotatedVolume,
    config: EdgeTraining,
    data: Path,
    network: Path,
    device: str,
    kept: Path | None,
    half: int,
) -> Part:
    if kept is None:
        return _part(volume, config, data, network, device)
    path = kept / f"{volume.name}-half{half}.npz"
    key = part_fingerprint(volume, config, data, network)
    if path.is_file():
        part = load_part(path, key)
        if part is not None:
            return part
        print(f"{path}: of other data, parameters or code; computed again", file=sys.stderr)
    part = _part(volume, config, data, network, device)
    save_part(path, part, key)
    return part


def _part(
    volume: AnnotatedVolume, config: EdgeTraining, data: Path, network: Path, device: str
) -> Part:
    pair = read_pair(volume, data)
    raw = pair.raw
    tables = reconstruct_array(
        raw,
        volume.size_nm,
        _settings(config, str(network)),
        device=device,
        until=LAST,
        threads=available_cores(),
    )
    shape: Triple = (raw.shape[0], raw.shape[1], raw.shape[2])
    masked = volume.truth_kind != "labels"
    return Part(
        name=f"{volume.name} z {volume.sections}",
        volume=VolumeInfo(shape, volume.size_nm, raw.dtype.name),
        tables={name: table for name, table in tables.items() if name != "raw"},
        truth=_cells(pair, volume, config) if masked else _labels(pair),
        sections_apart=masked or volume.separate_sections,
        weight=volume.weight,
    )


def _labels(pair: Pair) -> NDArray[np.uint64]:
    """Ids, 0 where nothing is annotated."""
    return np.where(pair.known, pair.truth, 0).astype(np.uint64)


def _cells(pair: Pair, volume: AnnotatedVolume, config: EdgeTraining) -> NDArray[np.uint64]:
    """Ids of the cells of each section, 0 on membranes and where nothing is annotated."""
    zero: NDArray[np.bool_] = pair.truth == 0
    membranes = zero if volume.truth_kind == "cells" else ~zero
    return cells_of_sections(membranes | ~pair.known, min_voxels=config.min_cell_voxels)


def _settings(config: EdgeTraining, network: str) -> PipelineSections:
    return parse_config(
        {
            **config.pipeline,
            "boundaries": {**config.pipeline.get("boundaries", {}), "model": network},
            "edges": {**config.pipeline.get("edges", {}), "forest": "none"},
        },
        config.name,
    )


def part_fingerprint(
    volume: AnnotatedVolume, config: EdgeTraining, data: Path, network: Path
) -> str:
    """Hash of all that decides a part: data, network, parameters and versions of the stages."""
    settings = _settings(config, UNNAMED)
    pair = read_pair(volume, data)
    last = next(number for number, stage in enumerate(STAGES) if stage.name == LAST)
    content = {
        "volume": volume.model_dump(mode="json"),
        "min_cell_voxels": config.min_cell_voxels,
        "voxels": [hashlib.sha256(a.tobytes()).hexdigest() for a in vars(pair).values()],
        "network": file_hash(network) if network.is_file() else "",
        "stages": [
            [stage.name, stage.version, settings.section(stage.name).model_dump(mode="json")]
            for stage in STAGES[: last + 1]
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_part(path: Path, part: Part, key: str) -> None:
    """Write a part and the fingerprint of what it was made from; the file appears whole."""
    header = {
        "fingerprint": key,
        "name": part.name,
        "volume": [part.volume.shape, part.volume.voxel_size_nm, part.volume.dtype],
        "sections_apart": part.sections_apart,
        "weight": part.weight,
        "attributes": {name: dict(values) for name, values in part.tables["attributes"].items()},
    }
    arrays: dict[str, Any] = dict(_flat(part.tables))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), truth=part.truth, **arrays)
    temporary.replace(path)


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """``array:<name>`` and ``table:<table>/<column>``."""
    for name, content in tables.items():
        if isinstance(content, np.ndarray):
            yield f"array:{name}", content
        elif name != "attributes":
            for column, values in content.items():
                yield f"table:{name}/{column}", values


def load_part(path: Path, key: str) -> Part | None:
    """A part that was kept, or None if it was made from anything else or is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            if header["fingerprint"] != key:
                return None
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    tables: dict[str, Any] = {"attributes": header["attributes"]}
    for name, values in arrays.items():
        kind, _, place = name.partition(":")
        table, _, column = place.partition("/")
        if kind == "array":
            tables[place] = values
        elif kind == "table":
            tables.setdefault(table, {})[column] = values
    shape, voxel_size_nm, dtype = header["volume"]
    return Part(
        name=header["name"],
        volume=VolumeInfo(tuple(shape), tuple(voxel_size_nm), dtype),
        tables=tables,
        truth=arrays["truth"],
        sections_apart=header["sections_apart"],
        weight=header["weight"],
    )

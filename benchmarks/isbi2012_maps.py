"""Boundary maps that are predicted once and kept, because they take most of the time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.boundaries.device import choose_precision
from pipeline.boundaries.stage import BoundariesConfig
from pipeline.config import PipelineSections, parse_config
from pipeline.packaged import model_path
from pipeline.registry import STAGES
from workflows.fingerprints import file_hash
from workflows.in_memory import reconstruct_array
from workflows.machine import available_cores

MAPS = "boundaries"
"""The stage, and its array, that is kept."""


@dataclass(frozen=True)
class Predictor:
    """How sections become boundary maps, and all that follows.

    Parameters
    ----------
    config
        Of the pipeline.
    voxel_size_nm
        z, y, x.
    device
        Of the networks.
    kept
        Folder of maps from earlier calls, which is filled and read.
    """

    config: PipelineSections
    voxel_size_nm: tuple[float, float, float]
    device: str
    kept: Path

    def configured(
        self,
        model: Path | None = None,
        augmentation: str | None = None,
        forests: Mapping[str, Path | str] | None = None,
    ) -> PipelineSections:
        """The configuration with another network, augmentation or forests.

        Parameters
        ----------
        model
            File of the network.
        augmentation
            As ``boundaries.augmentation``.
        forests
            Stage (``edges``, ``lifted``) -> file, packaged name or ``none``.
        """
        values = self.config.model_dump()
        if model is not None:
            values[MAPS]["model"] = str(model)
        if augmentation is not None:
            values[MAPS]["augmentation"] = augmentation
        for stage, forest in (forests or {}).items():
            values[stage]["forest"] = str(forest)
        return parse_config(values, "isbi2012")

    def boundaries(self, raw: NDArray[Any], config: PipelineSections) -> NDArray[np.uint8]:
        """P(boundary) of sections, (Z, Y, X) uint8 0..255 = 0..1.

        Parameters
        ----------
        raw
            (Z, Y, X) grey values.
        config
            Names the network and the augmentation.
        """
        section = boundaries_section(config)
        name = f"{model_path(section.model).stem}-{section.augmentation}"
        path = self.kept / f"{name}-{self._key(raw, config)[:16]}.npy"
        if path.is_file():
            known: NDArray[np.uint8] = np.load(path, allow_pickle=False)
            return known
        found: NDArray[np.uint8] = self._run(raw, config, MAPS, {})[MAPS]
        save_whole(path, found)
        return found

    def reconstructed(
        self, raw: NDArray[Any], config: PipelineSections, until: str | None = None
    ) -> dict[str, Any]:
        """What ``reconstruct_array`` gives, made of the kept map."""
        return self._run(raw, config, until, {MAPS: self.boundaries(raw, config)})

    def _run(
        self,
        raw: NDArray[Any],
        config: PipelineSections,
        until: str | None,
        given: Mapping[str, Any],
    ) -> dict[str, Any]:
        return reconstruct_array(
            raw,
            self.voxel_size_nm,
            config,
            device=self.device,
            until=until,
            given=given,
            threads=available_cores(),
        )

    def _key(self, raw: NDArray[Any], config: PipelineSections) -> str:
        """Hash of grey values, network, arithmetic, and versions and parameters of the stages."""
        last = next(number for number, stage in enumerate(STAGES) if stage.name == MAPS)
        stages = STAGES[: last + 1]
        sections = {s.name: config.section(s.name).model_dump(mode="json") for s in stages}
        model = model_path(sections[MAPS].pop("model"))
        content = {
            "raw": hashlib.sha256(np.ascontiguousarray(raw).tobytes()).hexdigest(),
            "geometry": [*raw.shape, raw.dtype.name, *self.voxel_size_nm],
            "model": file_hash(model),
            "versions": [stage.version for stage in stages],
            "sections": sections,
        }
        precision = choose_precision(sections[MAPS]["precision"], self.device)
        if precision != "fp32":  # maps of another device differ; the key of fp32 is the older one
            content["arithmetic"] = precision
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def boundaries_section(config: PipelineSections) -> BoundariesConfig:
    """Parameters of the boundary maps."""
    section = config.section(MAPS)
    assert isinstance(section, BoundariesConfig)
    return section


def save_whole(path: Path, array: NDArray[Any]) -> None:
    """Write an array under another name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    partial.replace(path)

"""The folds of a cross-validation over ISBI 2012, and the networks that never saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import Dataset
from benchmarks.isbi2012_maps import Predictor
from pipeline.boundaries.model import read_card
from pipeline.config import PipelineSections
from pipeline.contract import VolumeInfo
from pipeline.errors import LeakageError
from workflows.edge_training import ForestConfig


@dataclass(frozen=True)
class Study:
    """A cross-validation.

    Parameters
    ----------
    dataset, data
        What is scored, and the folder it lies in.
    folds
        First and one past the last section of each.
    network
        Numbers of folds, rising -> file of the network that saw none of them.
    predictor
        Makes maps and reconstructions.
    output
        Folder of forests and scores.
    allow_seen
        Score also what a model saw, and say so.
    forest
        Size of the forests.
    """

    dataset: Dataset
    data: Path
    folds: tuple[tuple[int, int], ...]
    network: Callable[[tuple[int, ...]], Path]
    predictor: Predictor
    output: Path
    allow_seen: bool = False
    forest: ForestConfig = field(default_factory=ForestConfig)

    @property
    def config(self) -> PipelineSections:
        """Of the pipeline."""
        return self.predictor.config

    def others(self, fold: int) -> list[int]:
        """All folds but one."""
        return [number for number in range(len(self.folds)) if number != fold]

    def raw(self, fold: int) -> NDArray[Any]:
        """Grey values of a fold."""
        return self.dataset.load(self.data, self.dataset.raw, self.folds[fold])

    def truth(self, fold: int) -> NDArray[np.uint64]:
        """Neurites of a fold, 0 = membrane."""
        return self.dataset.load(self.data, self.dataset.truth, self.folds[fold]).astype(np.uint64)

    def membranes(self, fold: int) -> NDArray[Any]:
        """Mask of a fold, 0 = membrane."""
        assert self.dataset.membranes is not None
        return self.dataset.load(self.data, self.dataset.membranes, self.folds[fold])

    def nested_network(self, fold: int, scored: int) -> Path:
        """The network tuned without a fold and without the one that is scored."""
        return self.network((min(fold, scored), max(fold, scored)))

    def map_of(self, fold: int, model: Path, augmentation: str) -> NDArray[np.uint8]:
        """P(boundary) of a fold by a network."""
        config = self.predictor.configured(model, augmentation)
        return self.predictor.boundaries(self.raw(fold), config)

    def networks(self, fold: int) -> list[Path]:
        """All that take part in scoring a fold; the first one predicts it.

        Raises
        ------
        LeakageError
            If the card of one says that it learned from the fold, or, of a nested one, from the
            fold that it predicts.
        """
        networks = [self.network((fold,))]
        for other in self.others(fold):
            networks.append(self.nested_network(other, fold))
            require_tuned_without(networks[-1], self.dataset.raw, self.folds[other])
        for network in networks:
            require_tuned_without(network, self.dataset.raw, self.folds[fold])
        return networks

    def volume(self, fold: int) -> VolumeInfo:
        """Shape, voxel size and dtype of a fold."""
        raw = self.raw(fold)
        z, y, x = raw.shape
        return VolumeInfo((z, y, x), self.dataset.voxel_size_nm, raw.dtype.name)


def require_tuned_without(model: Path, raw: str, sections: tuple[int, int]) -> None:
    """Raise ``LeakageError`` if a model's card, or that of a model it started from, names sections.

    Parameters
    ----------
    model
        File of a network.
    raw
        Path of the grey values, as cards name it.
    sections
        First and one past the last that must not have been learned from.
    """
    card = read_card(model).model_extra or {}
    for begin, end in (s for c in _ancestry(card) for s in _learned(c, raw)):
        if max(begin, sections[0]) < min(end, sections[1]):
            raise LeakageError(
                f"{model} learned from sections {begin}-{end - 1} of {raw}; sections "
                f"{sections[0]}-{sections[1] - 1} cannot be scored with it: train it without them"
            )


def _ancestry(card: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A card, and the cards of the models that its model started from."""
    yield card
    base = card.get("base") or {}
    if base:
        yield from _ancestry(base.get("card", {}))


def _learned(card: Mapping[str, Any], raw: str) -> Iterator[tuple[int, int]]:
    """Runs of sections of a volume that a card lists, first and one past the last."""
    for volume in card.get("data", ()):
        if volume.get("raw") != raw:
            continue
        listed: Sequence[int] | None = volume.get("annotated_sections")
        if listed is not None:
            yield from ((z, z + 1) for z in listed)
        else:
            begin, end = volume.get("sections") or (0, 1 << 31)
            yield begin, end

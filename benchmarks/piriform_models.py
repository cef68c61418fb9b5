"""Networks and forests of the piriform benchmark: which there can be, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError

SHIPPED = "shipped"
FORESTS = ("edges-piriform", "lifted-piriform")
FOLDS = ("piriform-fold0", "piriform-fold1")
TRAIN = "python -m pipeline train"
CONFIGS = "configs/train"


@dataclass(frozen=True)
class Trained:
    """A row of the paper's table that can be ours.

    Parameters
    ----------
    network
        File of the network without its ending, as its configuration names it.
    config
        Of its training.
    lifted
        Whether labels of the lifted multicut are scored, not a map.
    """

    network: str
    config: str
    lifted: bool = False


TRAINED = {
    "RCNet": Trained("piriform-rcnet", "piriform_rcnet.yaml"),
    "RC-SPCNet": Trained("piriform", "piriform.yaml"),
    "RC-SPCNet (Focal-loss)": Trained("piriform-focal", "piriform_focal.yaml"),
    "RC-SPCNet-LMC": Trained("piriform", "piriform.yaml", lifted=True),
}
"""Method of the paper's table -> ours."""


@dataclass(frozen=True)
class Models:
    """A network, and the forests that follow it.

    Parameters
    ----------
    name
        ``shipped`` or the network's file without its ending.
    title
        Of its tables.
    overrides
        ``stage.key=value`` by which the configuration names the files.
    own_forests
        Whether the forests learned from stacks 1 and 2, too.
    """

    name: str
    title: str
    overrides: tuple[str, ...] = ()
    own_forests: bool = False


def found_models(folder: Path) -> list[Models]:
    """The shipped models, then what was trained.

    Raises
    ------
    InputError
        If several files have the name of a model.
    """
    shipped = "Shipped network and forests, which never saw mouse piriform cortex"
    models = [Models(SHIPPED, shipped)]
    forests = [_found(folder, name) for name in FORESTS]
    own = all(path is not None for path in forests)
    for one in dict.fromkeys(trained.network for trained in TRAINED.values()):
        path = _found(folder, one)
        if path is None:
            continue
        # The forests learned from maps of this network's folds.
        fitting = own and one == TRAINED["RC-SPCNet-LMC"].network
        overrides = [f"boundaries.model={path}"]
        if fitting:
            overrides += [
                f"{stage}.forest={forest}"
                for stage, forest in zip(("edges", "lifted"), forests, strict=True)
            ]
        title = f"{one}.safetensors with {'forests of its own' if fitting else 'shipped forests'}"
        models.append(Models(one, title, tuple(overrides), fitting))
    return models


def to_train(models: Sequence[Models]) -> list[str]:
    """Commands that make what is missing, in order."""
    there = {one.name for one in models}
    commands = [
        f"{TRAIN} boundaries {CONFIGS}/{one.config} --data DATA "
        f"--output runs/piriform/{one.network}"
        for one in TRAINED.values()
        if one.network not in there and not one.lifted
    ]
    if not any(one.own_forests for one in models):
        commands += [
            f"{TRAIN} boundaries {CONFIGS}/piriform.yaml --fold {fold} --data DATA "
            f"--output runs/piriform/fold{fold}"
            for fold in (0, 1)
        ]
        networks = " ".join(
            f"--network runs/piriform/fold{fold}/{name}.safetensors"
            for fold, name in enumerate(FOLDS)
        )
        commands.append(
            f"{TRAIN} edges {CONFIGS}/edges_piriform.yaml --data DATA {networks} "
            "--output runs/piriform/forests"
        )
    return commands


def _found(folder: Path, name: str) -> Path | None:
    """The one file of this name below a folder."""
    paths = sorted(folder.rglob(f"{name}.safetensors"))
    if len(paths) > 1:
        raise InputError(
            f"{folder}: several files are named {name}.safetensors; keep one of {paths[0]} and "
            f"{paths[1]}"
        )
    return paths[0] if paths else None

"""The networks that have rows in the paper's Table 1, and the files that fill them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.network_counts import parameters
from pipeline.boundaries.model import BoundaryModel, load_model
from pipeline.boundaries.networks import NETWORKS as REGISTRY
from pipeline.errors import InputError
from pipeline.packaged import model_path

CONFIG = "configs/train/rc_spcnet_isbi2012.yaml"
QUARTER = {"stem": 16, "widths": [32, 64], "dilations": [2, 2, 2, 2]}
"""Of RC-SPCNet and RCNet: half the channels of our small shape."""
Size = Literal["small", "paper"]


@dataclass(frozen=True)
class NetworkRows:
    """A network of the table, with a row for every post-processing.

    Parameters
    ----------
    name
        For ``--model NAME=FILE``.
    title
        For people.
    paper
        What the paper's table calls it; empty: it is not in there.
    shape
        What a model file must say of its network.
    small
        What else its shape has in a training of minutes on a CPU: about a quarter of the
        multiplications of our small shape where that trains.
    """

    name: str
    title: str
    paper: str = ""
    shape: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)

    def network(self, size: Size) -> dict[str, Any]:
        """``training.network`` of its training.

        Parameters
        ----------
        size
            ``small``, or ``paper``: the shape of its paper, if it has one, else our default.
        """
        if size == "small":
            return {**self.shape, **self.small}
        has_paper = REGISTRY[self.shape["architecture"]].paper is not None
        return {**self.shape, **({"shape": "paper"} if has_paper else {})}

    @property
    def training(self) -> str:
        """The command that trains it, by the paper's recipe on sections 0-13, on a GPU."""
        values = ", ".join(f"{key}: {value}" for key, value in self.network("paper").items())
        return (
            f"python -m pipeline train boundaries {CONFIG} --data DATA --output runs/{self.name} "
            f"--device cuda --set name={self.name} --set 'training.network={{{values}}}'"
        )


def _skips(name: str, title: str, architecture: str) -> list[NetworkRows]:
    return [
        NetworkRows(
            f"{name}_k{k}",
            f"{title} (k={k})",
            f"{title} (k={k})",
            {"architecture": architecture, "context_skips": k},
            QUARTER,
        )
        for k in (0, 1, 2)
    ]


SHIPPED = NetworkRows("shipped", "RCNet k=2 (small, trained on six data sets)")
NETWORKS = (
    NetworkRows("resnet38", "ResNet38", "Resnet38", {"architecture": "resnet38"}),
    *_skips("rcnet", "RCNet", "rcnet"),
    *_skips("rc_spcnet", "RC-SPCNet", "rc_spcnet"),
    NetworkRows("u_net", "U-Net", "", {"architecture": "u_net"}, {"width": 8}),
    NetworkRows(
        "hybrid_u_net", "hybrid 2D-3D U-Net", "", {"architecture": "hybrid_u_net"}, {"width": 8}
    ),
)
"""Those that can be trained here and given as ``--model``."""


@dataclass(frozen=True)
class Given:
    """A network of the table as it is given.

    Parameters
    ----------
    model
        Its file; ``None``: that of the configuration.
    forests
        Stage (``edges``, ``lifted``) -> file of the forest that learned from its maps;
        ``None``: the multicuts are not measured.
    """

    model: Path | None
    forests: Mapping[str, Path] | None = None

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [*([self.model] if self.model else []), *(self.forests or {}).values()]


def how_made(model: BoundaryModel) -> str:
    """Shape and steps of a network, as its file tells them, for titles.

    Rows of small networks that were trained for minutes must not be taken for the paper's.
    """
    known = REGISTRY[str(model.shape["architecture"])]
    shape = known.configured(model.shape)
    size = f"{parameters(shape) / 1e6:.2f} million parameters"
    if known.paper is not None:
        apart = {"context_skips", "dropout"}
        same = shape.model_dump(exclude=apart) == known.paper.model_dump(exclude=apart)
        size = ("the paper's shape, " if same else "small, ") + size
    steps = steps_of(model.card)
    device = {"cpu": "a CPU", "cuda": "a GPU"}.get(str(model.card.get("device")).split(":")[0])
    trained = "steps not told" if steps is None else f"{steps} steps"
    return f"{size}, {trained}" + (f" on {device}" if device else "")


def steps_of(card: Mapping[str, Any]) -> int | None:
    """Optimiser steps that were made, as a model card tells them."""
    places = (card, card.get("validation") or {})  # files of earlier versions: the second
    made = next((place["steps_made"] for place in places if "steps_made" in place), None)
    steps = made or (card.get("training") or {}).get("steps")
    return None if steps is None else int(steps)


def given_networks(models: Sequence[str], forests: Sequence[str] = ()) -> dict[str, Given]:
    """``NAME=FILE`` and ``NAME=EDGES,LIFTED`` of the command line, checked.

    Raises
    ------
    InputError
        If a name is unknown or given twice, or a network is another than its name says.
    ModelError
        If a file is missing or damaged.
    """
    fitted = {}
    for name, text in _named(forests, "--forests", "EDGES,LIFTED").items():
        edges, _, lifted = text.partition(",")
        fitted[name] = {"edges": model_path(edges), "lifted": model_path(lifted)}
    found = {}
    for name, file in _named(models, "--model", "FILE").items():
        path = model_path(file)
        shape = load_model(path).shape
        for key, wanted in next(n.shape for n in NETWORKS if n.name == name).items():
            if shape.get(key) != wanted:
                raise InputError(f"--model {name}={file}: {key} is {shape.get(key)}, not {wanted}")
        found[name] = Given(path, fitted.pop(name, None))
    if fitted:
        raise InputError(
            f"--forests {min(fitted)}: give the network too, --model {min(fitted)}=FILE"
        )
    return found


def _named(given: Sequence[str], option: str, value: str) -> dict[str, str]:
    """``NAME=value`` of an option as a mapping."""
    names = [network.name for network in NETWORKS]
    found: dict[str, str] = {}
    for text in given:
        name, equals, rest = text.partition("=")
        if not equals or name not in names:
            raise InputError(f"{option} {text}: write NAME={value}, NAME one of {', '.join(names)}")
        if name in found:
            raise InputError(f"{option} {name} is given twice")
        found[name] = rest
    return found

"""Which architecture of boundary network travels best to data sets that it never saw.

Candidates are small networks that are trained alike: each once without every volume of a
training's configuration, and scored on that volume as ``leave_one_out`` does. ``wide`` has the
shape that ``configs/train/default.yaml`` trains.

``python -m benchmarks.left_out_networks --data DATA --sections 4 --set training.steps=400``

Networks, maps and scores are kept in ``--output``, a folder for each candidate: killed and
started again, it goes on where it was. ``--only VOLUME --network NAME`` (both repeatable) trains
and scores these alone and publishes nothing, so that several can run at a time; the call without
``--only`` gives the table, with ``--skip-training`` of what is finished. ``--steps wide=120``
gives a candidate steps of its own, as many as take the time of the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.endings import as_program
from benchmarks.isbi2012_networks import NETWORKS, NetworkRows
from benchmarks.kept_trainings import is_finished, model_file
from benchmarks.leave_one_out import CONFIG, left_out_volumes, positive, trained_without, without
from benchmarks.left_out_rows import PROGRAM, Tried, as_table
from benchmarks.left_out_scores import Score, Scorer, scored_part
from benchmarks.published import publish
from pipeline.boundaries.device import choose_device
from pipeline.errors import ConfigError
from workflows.train_boundaries import BoundaryTraining, read_training

WIDE = NetworkRows(
    "wide",
    "RC-SPCNet (k=2), wide",
    shape={"architecture": "rc_spcnet", "context_skips": 2},
    small={"stem": 24, "widths": [64, 128], "dilations": [2, 2, 2, 2]},
)
"""In the shape of ``configs/train/default.yaml``, the shipped one before RCNet."""
CANDIDATES = (*NETWORKS, WIDE)
DEFAULT = ("rc_spcnet_k2", "rcnet_k2", "u_net", "hybrid_u_net", "wide")
"""Of the candidates."""


def main(argv: Sequence[str] | None = None) -> Path | None:
    """Train what is missing, score, publish."""
    options = arguments(argv)
    candidates = [n for n in CANDIDATES if n.name in (options.network or DEFAULT)]
    steps = own_steps(options.steps)
    configs = {n.name: training_of(n, options, steps.get(n.name)) for n in candidates}
    device = choose_device(options.device)
    found = {
        n.name: Tried(n.title, configs[n.name], scores_of(n.name, configs[n.name], options, device))
        for n in candidates
    }
    if options.only:
        return None
    recipe = options.config.name if options.config.is_absolute() else str(options.config)
    return publish(
        options.output,
        PROGRAM,
        "Architectures of boundary networks on data sets that they never saw",
        [as_table(list(found.values()), recipe)],
        quick=options.quick,
        values={
            "networks": {
                name: {volume: asdict(score) for volume, score in one.scores.items()}
                for name, one in found.items()
            },
            "training": {
                name: config.training.model_dump(mode="json") for name, config in configs.items()
            },
        },
    )


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    names = [network.name for network in CANDIDATES]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/left_out"))
    parser.add_argument("--config", type=Path, default=CONFIG, help="training; network is replaced")
    parser.add_argument("--set", action="append", default=[], metavar="training.key=value")
    parser.add_argument(
        "--network", action="append", default=[], choices=names, help=", ".join(DEFAULT)
    )
    parser.add_argument("--steps", action="append", default=[], metavar="NAME=STEPS")
    parser.add_argument("--only", action="append", default=[], metavar="VOLUME")
    parser.add_argument("--sections", type=positive, help="most that are scored of a volume")
    parser.add_argument(
        "--skip-training", action="store_true", help="score what is finished, train nothing"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a small part, to try the program")
    parser.add_argument("--allow-seen", action="store_true", help="score what was learned from too")
    return parser.parse_args(argv)


def own_steps(given: Sequence[str]) -> dict[str, int]:
    """``NAME=STEPS`` of the command line, checked.

    Raises
    ------
    ConfigError
        If a name is unknown or given twice, or the steps are no number above 0.
    """
    names = [network.name for network in CANDIDATES]
    found: dict[str, int] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in names or not number.isdecimal() or int(number) < 1:
            raise ConfigError(
                f"--steps {text}: write NAME=STEPS, STEPS above 0, NAME one of {', '.join(names)}"
            )
        if name in found:
            raise ConfigError(f"--steps {name} is given twice")
        found[name] = int(number)
    return found


def training_of(
    network: NetworkRows, options: argparse.Namespace, steps: int | None
) -> BoundaryTraining:
    """How a candidate is trained, on all volumes.

    Parameters
    ----------
    network
        In its small shape.
    options
        Of the command line.
    steps
        Of its own; ``None``: those of the configuration.

    Raises
    ------
    ConfigError
        If ``--set`` gives a network, which would be that of all candidates.
    """
    for override in options.set:
        if override.strip().startswith("training.network"):
            raise ConfigError(f"--set {override}: candidates have their own; choose by --network")
    own = [f"training.network={json.dumps(network.network('small'))}"]  # JSON is YAML
    if steps is not None:
        own.append(f"training.steps={steps}")
    return read_training(options.config, [*options.set, *own])


def scores_of(
    name: str, config: BoundaryTraining, options: argparse.Namespace, device: str
) -> dict[str, Score]:
    """Volume -> score of the candidate on it; without those that are not to be trained.

    Raises
    ------
    ConfigError
        If a folder holds another training.
    LeakageError
        If a network learned from what is scored, unless that is allowed.
    """
    folder = (options.output / "quick" if options.quick else options.output) / name
    scorer = Scorer(
        data=options.data,
        kept=folder,
        device=device,
        most_sections=options.sections,
        allow_seen=options.allow_seen,
        beside_shipped=False,
    )
    found = {}
    for volume in left_out_volumes(config, options.only):
        if options.skip_training:
            own = without(volume.name, config, quick=options.quick)
            if not is_finished(own, folder / own.name):
                continue
            model = model_file(own, folder / own.name)
        else:
            model = trained_without(
                volume.name,
                config,
                folder,
                data=options.data,
                device=device,
                quick=options.quick,
                program=f"{PROGRAM} --network {name}",
            )
        part = scored_part(volume, options.data, quick=options.quick)
        found[volume.name] = scorer.score(part, model)
        print(f"{name}: {found[volume.name]}", flush=True)
    return found


if __name__ == "__main__":
    as_program(main)

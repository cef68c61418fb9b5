"""Networks that never saw one of the data sets, scored on it: how well a network travels.

For every volume of a training's configuration one network is trained on all others, then scored
on the volume that was left out: on its validation part where it has one, else on all that is
annotated. V_rand and V_info are those of the map of maximum test-time augmentation (three planes
where voxels are isotropic, as ``run`` does), section by section, at the threshold that is best
for the volume, as the ISBI challenge does; the adapted Rand error is that of the map's 3D
components, for volumes with ids, at its own best threshold. Beside it stands the shipped network
where it learned from other sections of the volume.

``python -m benchmarks.leave_one_out --data DATA --device cuda --minutes 20``

Networks, maps and scores are kept: killed and started again, it goes on where it was.
``--only isbi2012`` (repeatable) trains and scores these alone and publishes nothing, so that
several can run at a time; the call without it gives the table. ``--set
training.network.architecture=u_net`` tries another network. ``--sections 8`` scores at most so
many sections of volumes whose voxels are not isotropic: thinning takes most of the time there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.endings import as_program
from benchmarks.kept_trainings import trained
from benchmarks.left_out_scores import Score, Scorer, as_table, scored_part
from benchmarks.published import publish
from pipeline.boundaries.device import choose_device
from pipeline.errors import ConfigError
from workflows.annotated_volume import AnnotatedVolume
from workflows.train_boundaries import BoundaryTraining, read_training

CONFIG = Path("configs/train/default.yaml")
QUICK_STEPS = 4


def main(argv: Sequence[str] | None = None) -> Path | None:
    """Train what is missing, score, publish."""
    options = arguments(argv)
    everything = read_training(options.config, options.set)
    volumes = left_out_volumes(everything, options.only)
    folder = options.output / ("leave_one_out_quick" if options.quick else "leave_one_out")
    scorer = Scorer(
        data=options.data,
        kept=folder,
        device=choose_device(options.device),
        most_sections=options.sections,
        allow_seen=options.allow_seen,
        beside_shipped=not options.quick,
    )
    scores: list[Score] = []
    for volume in volumes:
        model = trained_without(
            volume.name,
            everything,
            folder,
            data=options.data,
            device=options.device,
            minutes=options.minutes,
            quick=options.quick,
            program="leave_one_out",
        )
        scores.append(scorer.score(scored_part(volume, options.data, quick=options.quick), model))
        print(scores[-1], flush=True)
    if options.only:
        return None
    return publish(
        options.output,
        "leave_one_out",
        "Boundary networks on data sets that they never saw",
        [as_table(scores)],
        quick=options.quick,
        values={
            "scores": [asdict(score) for score in scores],
            "training": everything.training.model_dump(mode="json"),
        },
    )


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--config", type=Path, default=CONFIG, help="training on all of them")
    parser.add_argument("--set", action="append", default=[], metavar="training.key=value")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--minutes", type=float, help="of each training, instead of CONFIG's steps")
    parser.add_argument("--sections", type=positive, help="most that are scored of a volume")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a small part, to try the program")
    parser.add_argument("--allow-seen", action="store_true", help="score what was learned from too")
    return parser.parse_args(argv)


def positive(text: str) -> int:
    """A number of sections."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


def left_out_volumes(everything: BoundaryTraining, only: Sequence[str]) -> list[AnnotatedVolume]:
    """The volumes of a training that are left out: all, or those of ``--only``.

    Raises
    ------
    ConfigError
        If it has no volume of such a name.
    """
    known = {volume.name: volume for volume in everything.volumes}
    for name in only:
        if name not in known:
            raise ConfigError(f"--only {name}: the configuration has {', '.join(known)}")
    return [known[name] for name in only or known]


def without(name: str, everything: BoundaryTraining, *, quick: bool = False) -> BoundaryTraining:
    """The same training without one of its volumes.

    Parameters
    ----------
    name
        Of the volume.
    everything
        The training on all of them.
    quick
        Whether it takes a few steps only.

    Raises
    ------
    ConfigError
        If there is no other, or it starts from a model that may have seen the volume.
    """
    others = tuple(v for v in everything.volumes if v.name != name)
    if not others:
        raise ConfigError(f"there is nothing to learn from without {name}")
    if everything.start_from is not None:
        raise ConfigError(f"{everything.start_from} may have seen what is left out")
    training = everything.training
    if quick:
        training = training.model_copy(update={"steps": QUICK_STEPS})
    return everything.model_copy(
        update={"name": f"without-{name}", "volumes": others, "training": training}
    )


def trained_without(
    name: str,
    everything: BoundaryTraining,
    folder: Path,
    *,
    data: Path,
    device: str,
    minutes: float | None = None,
    quick: bool = False,
    program: str,
) -> Path:
    """The model file, trained or trained further unless an earlier call finished it.

    Parameters
    ----------
    name
        Of the volume that is left out.
    everything
        The training on all of them.
    folder
        Of the trainings: this one's is ``without-<name>`` in it.
    data
        Folder that the volumes' paths are relative to.
    device
        ``auto``, ``cpu`` or ``cuda``.
    minutes
        As many steps as take so long, instead of the training's.
    quick
        Whether it takes a few steps only.
    program
        That trains, for the model card.

    Raises
    ------
    ConfigError
        If an earlier call trained there by another configuration.
    """
    config = without(name, everything, quick=quick)
    return trained(
        config,
        folder / config.name,
        data=data,
        device=device,
        minutes=None if quick else minutes,
        command=f"python -m benchmarks.{program}, without {name}",
    )


if __name__ == "__main__":
    as_program(main)

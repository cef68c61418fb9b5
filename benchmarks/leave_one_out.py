"""Networks that never saw one of the data sets, scored on it: how well a network travels.

For every volume of a training's configuration one network is trained on all others, then scored
on the volume that was left out: on its validation part where it has one, else on all that is
annotated. V_rand and V_info are those of the map of maximum test-time augmentation, section by
section, at the threshold that is best for the volume, as the ISBI challenge does; the adapted
Rand error is that of the map's 3D components, for volumes with ids, at its own best threshold.

``python -m benchmarks.leave_one_out --data DATA --device cuda --minutes 20``

Killed and started again, it goes on where it was; ``--only isbi2012`` (repeatable) makes one
network a call, and ``--set training.network.architecture=u_net`` tries another. Scores are written
when there is a network for every volume that was asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import FIB25, ISBI2012, SNEMI3D
from benchmarks.published import SEEN, Table, publish
from benchmarks.thresholded_maps import component_errors, section_scores
from pipeline.config import parse_config
from pipeline.errors import ConfigError
from workflows.annotated_volume import AnnotatedVolume
from workflows.fine_tuning import begun, with_steps_for
from workflows.in_memory import reconstruct_array
from workflows.seen_data import require_unseen
from workflows.train_boundaries import BoundaryTraining, read_training, train_boundaries
from workflows.training_data import SEPARATE, Pair, described, read_pair

CONFIG = Path("configs/train/default.yaml")
VALIDATED = {one.name: one.validate for one in (ISBI2012, SNEMI3D, FIB25)}
"""Sections that no shipped network was trained on either."""
QUICK_STEPS, QUICK_SECTIONS, QUICK_PIXELS = 4, 2, 128


@dataclass(frozen=True)
class Score:
    """One network on the volume that it never saw; ``None`` where a score does not apply."""

    left_out: str
    voxel_nm: tuple[float, float, float]
    sections: tuple[int, int]
    steps: int
    threshold: float
    v_rand: float
    v_info: float
    arand_threshold: float | None
    arand: float | None
    seen: bool


def main(argv: Sequence[str] | None = None) -> Path:
    """Train what is missing, score, publish."""
    options = arguments(argv)
    everything = read_training(options.config, options.set)
    names = [v.name for v in everything.volumes]
    for name in options.only:
        if name not in names:
            raise ConfigError(f"--only {name}: {options.config} has {', '.join(names)}")
    scores = []
    for name in options.only or names:
        model = trained_without(name, everything, options)
        scores.append(scored(name, model, everything, options))
        print(scores[-1], flush=True)
    return publish(
        options.output,
        "leave_one_out",
        "Boundary networks on data sets that they never saw",
        [as_table(scores)],
        quick=options.quick or len(scores) < len(names),
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
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a small part, to try the program")
    parser.add_argument("--allow-seen", action="store_true", help="score what was learned from too")
    return parser.parse_args(argv)


def without(name: str, everything: BoundaryTraining) -> BoundaryTraining:
    """The same training without one of its volumes.

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
    return everything.model_copy(update={"name": f"without-{name}", "volumes": others})


def trained_without(name: str, everything: BoundaryTraining, options: argparse.Namespace) -> Path:
    """The model file, trained or trained further unless an earlier call finished it.

    Raises
    ------
    ConfigError
        If an earlier call trained there by another configuration.
    """
    config = without(name, everything)
    folder = options.output / ("leave_one_out_quick" if options.quick else "leave_one_out")
    folder /= config.name
    model: Path = folder / f"{config.name}.safetensors"
    if options.quick:
        training = config.training.model_copy(update={"steps": QUICK_STEPS})
        config = config.model_copy(update={"training": training})
    before = begun(config, folder)
    other_steps = before is not None and before.training.steps != config.training.steps
    if model.exists() and (before is None or (other_steps and options.minutes is None)):
        raise ConfigError(
            f"{folder} holds a network of another configuration; give another --output"
        )
    if model.exists():
        return model
    if options.minutes is not None and not options.quick:
        config = before or with_steps_for(config, options.minutes, options.data, options.device)
    command = f"python -m benchmarks.leave_one_out, without {name}"
    return train_boundaries(config, options.data, folder, device=options.device, command=command)


def scored(
    name: str, model: Path, everything: BoundaryTraining, options: argparse.Namespace
) -> Score:
    """The network on the volume that it was trained without."""
    volume = scored_part(next(v for v in everything.volumes if v.name == name), options)
    pair = read_pair(volume, options.data)
    seen = require_unseen(pair.raw, [model], what=name, allow=options.allow_seen)
    boundaries = boundary_map(model, volume, pair.raw, options.device)
    by_section = section_scores(
        boundaries,
        cells_or_ids(pair, volume.truth_kind),
        "labels" if volume.truth_kind == "labels" else "mask",
    )
    threshold = max(by_section, key=lambda t: by_section[t].v_rand)
    errors = {}
    if volume.truth_kind == "labels":
        errors = component_errors([boundaries], [cells_or_ids(pair, volume.truth_kind)])
    best = min(errors, key=lambda t: errors[t]) if errors else None
    assert volume.sections is not None
    return Score(
        left_out=name,
        voxel_nm=volume.size_nm,
        sections=volume.sections,
        steps=read_training(model.parent / "training.yaml").training.steps,
        threshold=threshold,
        v_rand=by_section[threshold].v_rand,
        v_info=by_section[threshold].v_info,
        arand_threshold=best,
        arand=None if best is None else errors[best],
        seen=bool(seen),
    )


def scored_part(volume: AnnotatedVolume, options: argparse.Namespace) -> AnnotatedVolume:
    """Its validation sections, or all that are annotated; described."""
    sections = VALIDATED.get(volume.name, volume.sections)
    changes: dict[str, Any] = {"sections": sections, "held_back": None}
    if options.quick and sections is not None:
        changes["sections"] = (sections[0], min(sections[0] + QUICK_SECTIONS, sections[1]))
        changes["region"] = (0, QUICK_PIXELS, 0, QUICK_PIXELS)
    return described(volume.model_copy(update=changes), options.data)


def boundary_map(
    model: Path, volume: AnnotatedVolume, raw: NDArray[Any], device: str
) -> NDArray[np.uint8]:
    """P(boundary) by the maximum over the orientations, (Z, Y, X) uint8, as ``run`` gives it."""
    settings: dict[str, Any] = {"boundaries": {"model": str(model), "augmentation": "max"}}
    if volume.separate_sections:
        settings["boundaries"]["planes"] = "xy"
        settings |= SEPARATE
    config = parse_config(settings, volume.name)
    found = reconstruct_array(raw, volume.size_nm, config, device=device, until="boundaries")
    boundaries: NDArray[np.uint8] = found["boundaries"]
    return boundaries


def cells_or_ids(pair: Pair, kind: str) -> NDArray[Any]:
    """The truth as scores take it: 0 = membrane, or not annotated, which is not scored."""
    truth = pair.truth if kind == "labels" else (pair.truth == 0) == (kind == "membranes")
    if kind != "labels":
        truth = truth.astype(np.uint8)
    return np.where(pair.known, truth, 0).astype(truth.dtype)


def as_table(scores: Sequence[Score]) -> Table:
    """A row for every volume that was left out."""
    return Table(
        "Left out",
        ("left out", "voxel nm (zyx)", "sections", "steps", "V_rand", "V_info", "threshold",
         "adapted Rand error", "its threshold"),
        tuple(
            (
                f"{s.left_out} ({SEEN})" if s.seen else s.left_out,
                " × ".join(f"{edge:g}" for edge in s.voxel_nm),
                f"{s.sections[0]}-{s.sections[1] - 1}",
                s.steps,
                s.v_rand,
                s.v_info,
                f"{s.threshold:.2f}",
                s.arand,
                None if s.arand_threshold is None else f"{s.arand_threshold:.2f}",
            )
            for s in scores
        ),
        "Thresholds are on P(boundary) and the best ones for the very volume that is scored.",
    )  # fmt: skip


if __name__ == "__main__":
    main()

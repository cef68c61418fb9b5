"""Configurations of trainings for people who give paths on the command line, not YAML.

What they give becomes the same configuration that a YAML file would hold, with defaults that
suit fine-tuning written out, so that it can be kept, read and repeated.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.boundaries.device import choose_device
from pipeline.boundaries.resampling import steps_of
from pipeline.contract import VolumeInfo
from pipeline.errors import ConfigError
from pipeline.training.augmentation import AugmentationConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import Training
from workflows.base_model import Base, lasting_name, settings_of, starting_weights
from workflows.edge_training import EdgeTraining
from workflows.train_boundaries import (
    CONFIGURATION,
    BoundaryTraining,
    chosen_volumes,
    load_all,
    read_training,
    split_all,
)
from workflows.training_data import AnnotatedVolume, plane_of

LOG = logging.getLogger(__name__)

FINE_TUNING: dict[str, Any] = {
    "steps": 200,
    "learning_rate": 1e-3,
    "warmup_steps": 30,
    "checkpoint_steps": 25,
}
"""Parameters of a training that starts from a model; chosen on training sections of isbi2012."""
BASE_SHARE = 0.5
"""Of the weights, chosen there too: see docs/fine_tuning.md."""
FROM_SCRATCH: dict[str, Any] = {"steps": 5000, "learning_rate": 2e-3, "checkpoint_steps": 50}
WHOLE_SECTIONS_FROM = 5
"""Annotated sections from which whole ones are held back; of fewer a strip of the last one."""
MOST_HELD_BACK = 4
STRIP_SHARE = 4
SMALLEST_STRIP = 64
"""Pixels; a strip that would be narrower is not held back."""
TIMED_STEPS = 4


def boundary_training(
    volumes: Sequence[AnnotatedVolume],
    name: str,
    *,
    start: str | None,
    steps: int | None = None,
    hold_back: bool = True,
) -> BoundaryTraining:
    """The configuration of ``train boundaries`` without a YAML file.

    Parameters
    ----------
    volumes
        Described.
    name
        Of the model.
    start
        Packaged name or path of the model to start from; ``None``: from scratch.
    steps
        Optimiser steps; ``None``: the default.
    hold_back
        Whether a part of volumes with two annotated sections or more is kept for scoring.

    Raises
    ------
    ModelError
        If the model is unknown or damaged.
    """
    base = None if start is None else Base.open(start)
    values = dict(FROM_SCRATCH if base is None else FINE_TUNING)
    if steps is not None:
        values["steps"] = steps
    augmentation = None if base is None else _brought_to_scale(volumes, base)
    if augmentation is not None:
        values["augmentation"] = augmentation
    terms = "" if base is None else f", and those of {base.name}: {base.model.card.get('licence')}"
    return BoundaryTraining(
        name=name,
        licence=f"the terms of the annotated data{terms}",
        start_from=None if start is None else lasting_name(start),
        base_share=0.0 if start is None else BASE_SHARE,
        volumes=tuple(_with_part_held_back(v) if hold_back else v for v in volumes),
        training=TrainingConfig(**values),
    )


def edge_training(volumes: Sequence[AnnotatedVolume], name: str) -> EdgeTraining:
    """The configuration of ``train edges`` without a YAML file."""
    return EdgeTraining(
        name=name, licence="the terms of the annotated data", volumes=tuple(volumes)
    )


def with_steps_for(
    config: BoundaryTraining, minutes: float, data: Path, device: str = "auto"
) -> BoundaryTraining:
    """As many steps as take so many minutes, by the time of a few.

    Parameters
    ----------
    config
        Its number of steps is replaced.
    minutes
        Of the training itself.
    data
        Folder that the volumes' paths are relative to.
    device
        As of the training.
    """
    device = choose_device(device)
    base = None if config.start_from is None else Base.open(config.start_from, device)
    settings = settings_of(config.training, base, fitting=config.start_fitting)
    weights = starting_weights(base, settings.network)
    chosen = chosen_volumes(config, data)
    loaded, _ = load_all(chosen, data, settings.context_sections)
    volumes, held_out = split_all(loaded, chosen, settings)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        training = Training(volumes, settings, Path(folder) / "timed.pt", device, weights, held_out)
        with closing(training.run()) as progress:
            for _ in range(min(TIMED_STEPS, settings.steps)):
                began = time.monotonic()
                next(progress)
                seconds.append(time.monotonic() - began)
    steps = max(10, round(60 * minutes / statistics.median(seconds)))
    LOG.info("%d steps of %.2f s in %g minutes", steps, statistics.median(seconds), minutes)
    training_config = config.training.model_copy(update={"steps": steps})
    return config.model_copy(update={"training": training_config})


def begun(config: BoundaryTraining, output: Path) -> BoundaryTraining | None:
    """The configuration that an output folder began with, if but its steps may differ."""
    path = output / CONFIGURATION
    if not path.is_file():
        return None
    before = read_training(path)
    same = config.training.model_copy(update={"steps": before.training.steps})
    now = config.model_copy(update={"training": same})
    return before if now.model_dump() == before.model_dump() else None


def _brought_to_scale(volumes: Sequence[AnnotatedVolume], base: Base) -> AugmentationConfig | None:
    """Crops magnified to pixels that the model knows, as ``run`` will do; ``None``: as they are."""
    steps = [
        steps_of("auto", VolumeInfo((1, 1, 1), v.size_nm, "uint8"), (0,), base.model.known_nm)[2]
        for v in volumes
    ]
    if all(step == 1 for step in steps):
        return None
    if max(steps) != min(steps):
        raise ConfigError(
            f"these volumes need different magnifications for {base.name}; train on one pixel "
            "size, or write a YAML file with training.augmentation.scale"
        )
    default = AugmentationConfig()
    low, high = (round(s / steps[0], 4) for s in default.scale)
    LOG.info(
        "pixels of %g nm are brought to %g nm, which %s knows",
        volumes[0].size_nm[2],
        volumes[0].size_nm[2] * steps[0],
        base.name,
    )
    return default.model_copy(update={"scale": (low, high)})


def _with_part_held_back(volume: AnnotatedVolume) -> AnnotatedVolume:
    """Whole sections where there are several, else a strip at the right of the last one."""
    assert volume.sections is not None
    listed = volume.annotated_sections or tuple(range(*volume.sections))
    if len(listed) < 2:
        return volume
    height, width = plane_of(volume, Path())
    if len(listed) >= WHOLE_SECTIONS_FROM:
        count = min(round(len(listed) / WHOLE_SECTIONS_FROM), MOST_HELD_BACK)
        held = (listed[-count], listed[-1] + 1, 0, height, 0, width)
    else:
        strip = width // STRIP_SHARE
        if strip < SMALLEST_STRIP:
            return volume
        held = (listed[-1], listed[-1] + 1, 0, height, width - strip, width)
    return volume.model_copy(update={"held_back": held})

"""Networks of the cross-validation over ISBI 2012, none of which saw what it will predict.

Sections 0-19 are cut into contiguous folds. For every fold one network is tuned without it,
which predicts it. The forests of a fold must learn from maps that were predicted out of fold
too, and by networks that never saw the fold: so for every pair of folds one network is tuned
without both.

Each network starts from the packaged one that never saw ISBI 2012, with the defaults of
``train boundaries --from``, and as many steps more as there are more sections.

``python -m benchmarks.isbi2012_folds --data DATA`` trains all of them; finished ones are kept.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.datasets import ISBI2012
from benchmarks.endings import as_program
from workflows.annotated_volume import AnnotatedVolume
from workflows.fine_tuning import boundary_training
from workflows.train_boundaries import train_boundaries
from workflows.training_data import described

FOLDS = ((0, 5), (5, 10), (10, 15), (15, 20))
"""First and one past the last section of each."""
BASE = "without-isbi2012"
STEPS = 300
QUICK_STEPS = 5


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/isbi2012_folds"))
    parser.add_argument("--base", default=BASE, help="model that never saw isbi2012")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    for without in every_network():
        path = network_without(
            without,
            options.data,
            options.output,
            base=options.base,
            steps=options.steps,
            device=options.device,
        )
        print(path, flush=True)


def every_network() -> list[tuple[int, ...]]:
    """The folds that each network is tuned without: every single one, then every pair."""
    folds = range(len(FOLDS))
    return [(fold,) for fold in folds] + list(itertools.combinations(folds, 2))


def network_without(
    without: Iterable[int],
    data: Path,
    output: Path,
    *,
    base: str = BASE,
    steps: int = STEPS,
    device: str = "auto",
) -> Path:
    """The model file tuned on all folds but these, trained unless an earlier call did.

    Parameters
    ----------
    without
        Numbers of the folds that it must not see.
    data
        Folder of the data sets.
    output
        Folder that keeps the trainings.
    base
        Packaged name or file of the network to start from, which never saw ISBI 2012.
    steps
        Optimiser steps.
    device
        ``auto``, ``cpu`` or ``cuda``.
    """
    left_out = sorted(set(without))
    name = "without-" + "-".join(str(fold) for fold in left_out)
    folder = output / f"{name}-{steps}"
    model = folder / f"{name}.safetensors"
    if not model.exists():
        volume = described(annotated(sections_without(left_out)), data)
        config = boundary_training([volume], name, start=base, steps=steps, hold_back=False)
        train_boundaries(config, data, folder, device=device)
    return model


def sections_without(without: Sequence[int]) -> tuple[int, ...]:
    """The annotated sections outside of some folds.

    >>> sections_without([0, 2, 3])
    (5, 6, 7, 8, 9)
    """
    return tuple(
        z
        for fold, (begin, end) in enumerate(FOLDS)
        for z in range(begin, end)
        if fold not in without
    )


def annotated(sections: tuple[int, ...]) -> AnnotatedVolume:
    """Sections of ISBI 2012 with their membranes."""
    assert ISBI2012.membranes is not None
    return AnnotatedVolume(
        name=ISBI2012.name,
        raw=ISBI2012.raw,
        truth=ISBI2012.membranes,
        truth_kind="cells",
        sections=(sections[0], sections[-1] + 1),
        annotated_sections=sections,
        voxel_size_nm=ISBI2012.voxel_size_nm,
        licence="for generating or testing non-commercial segmentation software "
        "(Arganda-Carreras 2015, Cardona 2010)",
    )


if __name__ == "__main__":
    as_program(main)

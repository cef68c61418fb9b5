"""Rows of ``left_out_networks``: what each candidate is, and its scores where it never learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.left_out_scores import Score, sections_of
from benchmarks.network_counts import macs_per_voxel, parameters
from benchmarks.published import NOT_MEASURED, SEEN, Cell, Table
from workflows.train_boundaries import BoundaryTraining

PROGRAM = "left_out_networks"


@dataclass(frozen=True)
class Tried:
    """A candidate and how it did.

    Parameters
    ----------
    title
        For people.
    config
        Of its training on all volumes; the real ones leave one out each.
    scores
        Volume -> score of the network that was trained without it; those that are missing were
        not trained.
    """

    title: str
    config: BoundaryTraining
    scores: Mapping[str, Score]


def as_table(networks: Sequence[Tried], recipe: str) -> Table:
    """A row for every candidate; what was not trained keeps dashes.

    Parameters
    ----------
    networks
        One or more, trained on the same volumes.
    recipe
        Configuration of the trainings, for people.
    """
    volumes = [volume.name for volume in networks[0].config.volumes]
    columns = (
        *("network", "parameters, million", "thousand MAC a voxel", "steps"),
        *(f"V_rand, {volume}" for volume in volumes),
        *("V_rand, mean", "adapted Rand error, mean"),
    )
    rows = tuple(_row(one, volumes) for one in networks)
    return Table("Left out, one at a time", columns, rows, note_of(networks, recipe))


def _row(one: Tried, volumes: Sequence[str]) -> tuple[Cell, ...]:
    shape = one.config.training.network
    seen = any(score.seen for score in one.scores.values())
    v_rand: list[Cell] = [
        one.scores[volume].own.v_rand if volume in one.scores else NOT_MEASURED
        for volume in volumes
    ]
    return (
        f"{one.title} ({SEEN})" if seen else one.title,
        f"{parameters(shape) / 1e6:.2f}",
        f"{macs_per_voxel(shape) / 1e3:.2f}",
        steps_of(one),
        *v_rand,
        mean_of(one, volumes, "v_rand"),
        mean_of(one, with_ids(one.config), "arand"),
    )


def steps_of(one: Tried) -> Cell:
    """That its networks made: one number unless some ended earlier."""
    made = sorted({score.steps for score in one.scores.values() if score.steps is not None})
    if len(made) > 1:
        return f"{made[0]}-{made[-1]}"
    return made[0] if made else NOT_MEASURED


def mean_of(one: Tried, volumes: Sequence[str], what: str) -> Cell:
    """Mean of a score over volumes; not measured unless all of them are.

    Parameters
    ----------
    one
        The candidate.
    volumes
        None: does not apply.
    what
        Field of ``MapScore`` that all of them have.
    """
    if not volumes:
        return None
    if any(volume not in one.scores for volume in volumes):
        return NOT_MEASURED
    return fmean(getattr(one.scores[volume].own, what) for volume in volumes)


def with_ids(config: BoundaryTraining) -> list[str]:
    """Names of the volumes whose truth are ids, which have an adapted Rand error."""
    return [volume.name for volume in config.volumes if volume.truth_kind == "labels"]


def note_of(networks: Sequence[Tried], recipe: str) -> str:
    """What the rows are."""
    training = networks[0].config.training
    parts = {name: sections_of(score) for one in networks for name, score in one.scores.items()}
    volumes = [volume.name for volume in networks[0].config.volumes]
    scored = "; ".join(f"{name} {parts[name]}" for name in volumes if name in parts)
    ids = with_ids(networks[0].config)
    errors = (
        "The adapted Rand error is that of the map's 3D components, at its own best threshold, "
        f"in {', '.join(ids)}. "
        if ids
        else ""
    )
    return (
        f"Networks in small shapes, trained by `{recipe}` and the options above without the volume "
        f"that they are scored on, once each, from seed {training.seed}: small differences may be "
        f"chance. Steps are the optimiser's, of {training.batch} crops of {training.crop}² pixels; "
        "equal numbers do not take equal time. Sections that were scored: "
        f"{scored or 'none yet'}. V_rand is that of the map of maximum TTA (three planes where "
        "voxels are isotropic), at the threshold that is best for the very volume. Networks that "
        "take several sections see the scored ones alone. "
        f"{errors}MAC: multiplications with addition, in one orientation. {NOT_MEASURED}: not "
        f"trained; `python -m benchmarks.{PROGRAM} --data DATA` with the options above, without "
        "`--skip-training`, trains what is missing."
    )

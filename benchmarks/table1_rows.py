"""Rows of ``table1_networks``: what each network is, its scores, the paper's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.isbi2012_maps import Predictor
from benchmarks.isbi2012_networks import NETWORKS, Size, steps_of
from benchmarks.isbi2012_table1 import MAP_METHODS, Score, Sections, map_scores, paper_score
from benchmarks.network_counts import macs_per_voxel, parameters
from benchmarks.published import NOT_MEASURED, SEEN, Cell, Table
from pipeline.boundaries.model import BoundaryModel, load_model
from pipeline.boundaries.networks import NETWORKS as REGISTRY
from workflows.seen_data import require_unseen
from workflows.train_boundaries import BoundaryTraining

COLUMNS = (
    "network",
    "parameters, million",
    "thousand MAC a voxel",
    "steps",
    "post-processing",
    "V_rand",
    "V_info",
    "paper V_rand",
    "paper V_info",
)


@dataclass(frozen=True)
class Measured:
    """A trained network and its scores.

    Parameters
    ----------
    shape
        Of the network, as its file tells it.
    parameters, macs
        Trained weights, and multiplications for a voxel in one orientation.
    steps
        That were made, and on what.
    device
        On which it was trained.
    crops
        Number and side of the crops of a step; empty: its file does not say.
    scores
        Post-processing -> V_rand, V_info.
    seen
        Whether it learned from what is scored.
    """

    shape: Mapping[str, Any]
    parameters: int
    macs: float
    steps: int | None
    device: str
    crops: str
    scores: Mapping[str, Score]
    seen: bool


def measured(
    sections: Sections, predictor: Predictor, model: Path, *, what: str, first: int, allow: bool
) -> Measured:
    """Scores of a network, and what its file tells of it.

    Raises
    ------
    LeakageError
        If it learned from what is scored, unless ``allow``.
    """
    seen = require_unseen(sections.raw, [model], what=what, allow=allow, first=first)
    known = load_model(model)
    shape = REGISTRY[str(known.shape["architecture"])].configured(known.shape)
    return Measured(
        shape=dict(known.shape),
        parameters=parameters(shape),
        macs=macs_per_voxel(shape),
        steps=steps_of(known.card),
        device=str(known.card.get("device", "")),
        crops=crops_of(known),
        scores=map_scores(sections, predictor, model),
        seen=bool(seen),
    )


def crops_of(model: BoundaryModel) -> str:
    """Number and side of the crops of a step, in pixels."""
    settings = model.card.get("training") or {}
    if "batch" not in settings:
        return ""
    return f"{settings['batch']} × {settings['crop']}²"


def as_table(
    found: Mapping[str, Measured],
    title: str,
    configs: Mapping[str, BoundaryTraining],
    note: str,
) -> Table:
    """A row for every network and post-processing, the paper's scores beside ours.

    Parameters
    ----------
    found
        Name -> network; those that are missing keep dashes.
    title
        Of what was scored.
    configs
        Name -> how it is trained, for what a row without a network would hold.
    note
        Below the table.
    """
    rows: list[tuple[Cell, ...]] = []
    for network in NETWORKS:
        one = found.get(network.name)
        facts = facts_of(one, configs[network.name])
        heading = f"{network.title} ({SEEN})" if one is not None and one.seen else network.title
        for method in MAP_METHODS:
            ours = (NOT_MEASURED, NOT_MEASURED) if one is None else one.scores[method]
            paper = paper_score(network.paper, method)
            rows.append((heading, *facts, method, *ours, *paper))
    return Table(title, COLUMNS, tuple(rows), note)


def facts_of(one: Measured | None, config: BoundaryTraining) -> tuple[Cell, Cell, Cell]:
    """Parameters, multiplications and steps; the steps only of what was trained."""
    if one is None:
        shape = config.training.network
        return f"{parameters(shape) / 1e6:.2f}", f"{macs_per_voxel(shape) / 1e3:.2f}", NOT_MEASURED
    return f"{one.parameters / 1e6:.2f}", f"{one.macs / 1e3:.2f}", one.steps


def learned_from(configs: Mapping[str, BoundaryTraining]) -> str:
    """Volumes and sections that the trainings learn from, or are validated on."""
    found = set()
    for config in configs.values():
        share = config.training.validation.share
        for volume in config.volumes:
            words = volume.name
            if volume.sections is not None:
                words += f" sections {volume.sections[0]}-{volume.sections[1] - 1}"
            if share or volume.validation_sections:
                words += ", some of them to validate on"
            found.add(words)
    return "; ".join(sorted(found))


def note_of(
    found: Mapping[str, Measured],
    size: Size,
    config: Path,
    configs: Mapping[str, BoundaryTraining],
) -> str:
    """What the rows are, and why they are no match for the paper's.

    Parameters
    ----------
    found
        Name -> network.
    size
        Of the networks.
    config
        File of their trainings.
    configs
        Name -> how it is trained.
    """
    shapes = {
        "small": "small shapes, not the papers'",
        "paper": "the papers' shapes as far as their texts tell them",
    }[size]
    crops = ", ".join(sorted({one.crops for one in found.values() if one.crops}))
    devices = ", ".join(sorted({one.device for one in found.values() if one.device}))
    made = f", steps of {crops} pixels on {devices}" if found else ""
    recipe = config.name if config.is_absolute() else config
    command = "python -m benchmarks.table1_networks --data DATA"
    if size == "paper":
        command += " --shape paper --device cuda"
    return (
        f"Ours: {shapes}, trained on {learned_from(configs)} by `{recipe}`{made}. Paper: its "
        "Table 1, its own shapes, trained on the whole training stack and scored on the "
        "challenge's hidden test sections: neither the same networks nor the same sections. Maps "
        "are cut at the best "
        "threshold for the scored sections, of V_rand and V_info each, as the challenge does. "
        "MAC: multiplications with addition, in one orientation; TTA takes 8. "
        f"{NOT_MEASURED}: not trained; `{command}` trains what is missing."
    )

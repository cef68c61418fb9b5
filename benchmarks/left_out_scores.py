"""Scores of boundary maps on volumes that their networks were trained without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import FIB25, ISBI2012, SNEMI3D
from benchmarks.isbi2012_maps import Predictor
from benchmarks.isbi2012_networks import how_made, steps_of
from benchmarks.kept_scores import kept_scores
from benchmarks.published import SEEN, Cell, Table
from benchmarks.thresholded_maps import component_errors, section_scores
from pipeline.boundaries.model import load_model
from pipeline.config import parse_config
from pipeline.errors import LeakageError
from pipeline.packaged import model_path
from workflows.annotated_volume import AnnotatedVolume
from workflows.seen_data import require_unseen
from workflows.training_data import SEPARATE, Pair, described, plane_of, read_pair

SHIPPED = "default"
VALIDATED = {one.name: one.validate for one in (ISBI2012, SNEMI3D, FIB25)}
"""Sections that no shipped network was trained on either."""
QUICK_SECTIONS, QUICK_PIXELS = 2, 128


@dataclass(frozen=True)
class MapScore:
    """Scores of a map; ``None`` where one does not apply."""

    threshold: float
    v_rand: float
    v_info: float
    arand_threshold: float | None
    arand: float | None


@dataclass(frozen=True)
class Score:
    """One network on the volume that it never saw.

    Parameters
    ----------
    left_out
        Name of the volume.
    voxel_nm
        z, y, x.
    sections
        First, and one past the last, from which the scored ones are taken.
    scored_sections
        Number of those that were scored.
    steps
        Of the training.
    made
        Shape, steps and device of the network that never saw it.
    own
        Of the network that never saw it.
    shipped
        Of the shipped network on the same sections, others of which it learned from; ``None``:
        it learned from these too, or never saw the volume.
    seen
        Whether the first network learned from what is scored, against all intention.
    """

    left_out: str
    voxel_nm: tuple[float, float, float]
    sections: tuple[int, int]
    scored_sections: int
    steps: int | None
    made: str
    own: MapScore
    shipped: MapScore | None
    seen: bool


@dataclass(frozen=True)
class Scorer:
    """Scores networks on volumes, and keeps maps and scores.

    Parameters
    ----------
    data
        Folder that the volumes' paths are relative to.
    kept
        Folder that is filled and read.
    device
        Of the networks.
    most_sections
        Of a volume that are scored; ``None``: all.
    allow_seen
        Score what was learned from too, marked.
    beside_shipped
        Whether the shipped network is scored too.
    """

    data: Path
    kept: Path
    device: str
    most_sections: int | None = None
    allow_seen: bool = False
    beside_shipped: bool = True

    def score(self, volume: AnnotatedVolume, model: Path) -> Score:
        """A network, and the shipped one, on a described volume.

        Raises
        ------
        LeakageError
            If the network learned from what is scored, unless that is allowed.
        """
        pair = fewer_sections(read_pair(volume, self.data), volume, self.most_sections)
        seen = require_unseen(pair.raw, [model], what=volume.name, allow=self.allow_seen)
        assert volume.sections is not None
        network = load_model(model)
        return Score(
            left_out=volume.name,
            voxel_nm=volume.size_nm,
            sections=volume.sections,
            scored_sections=len(pair.raw),
            steps=steps_of(network.card),
            made=how_made(network),
            own=self.map_score(model, volume, pair),
            shipped=self.shipped_score(volume, pair),
            seen=bool(seen),
        )

    def shipped_score(self, volume: AnnotatedVolume, pair: Pair) -> MapScore | None:
        """Of the shipped network, where it learned from the volume but not from these sections."""
        model = model_path(SHIPPED)
        if not self.beside_shipped or volume.name not in VALIDATED:
            return None
        try:
            require_unseen(pair.raw, [model], what=volume.name)
        except LeakageError:
            return None
        return self.map_score(model, volume, pair)

    def map_score(self, model: Path, volume: AnnotatedVolume, pair: Pair) -> MapScore:
        """Of the map of a network, by the maximum over the orientations, as ``run`` gives it."""
        boundaries = self.boundaries(model, volume, pair.raw)
        truth = cells_or_ids(pair, volume.truth_kind)
        kind = volume.truth_kind
        found = kept_scores(
            self.kept / "scores",
            volume.name,
            (boundaries, truth),
            lambda: score_of(boundaries, truth, ids=kind == "labels"),
        )
        return MapScore(**found)

    def boundaries(
        self, model: Path, volume: AnnotatedVolume, raw: NDArray[Any]
    ) -> NDArray[np.uint8]:
        """The map, (Z, Y, X) uint8; of separate sections none is context of another."""
        settings: dict[str, Any] = {"boundaries": {"model": str(model), "augmentation": "max"}}
        if volume.separate_sections:
            settings["boundaries"]["planes"] = "xy"
            settings |= SEPARATE
        config = parse_config(settings, volume.name)
        predictor = Predictor(config, volume.size_nm, self.device, self.kept / "maps")
        if volume.separate_sections and load_model(model).context_sections:
            alone = [predictor.boundaries(raw[z : z + 1], config) for z in range(len(raw))]
            return np.concatenate(alone)
        return predictor.boundaries(raw, config)


def score_of(
    boundaries: NDArray[np.uint8], truth: NDArray[Any], *, ids: bool
) -> dict[str, float | None]:
    """Values of a ``MapScore``.

    Parameters
    ----------
    boundaries
        (Z, Y, X) uint8 0..255 = P(boundary) 0..1.
    truth
        (Z, Y, X), 0 = membrane or not annotated.
    ids
        Whether the truth are ids, which have an adapted Rand error.
    """
    by_section = section_scores(boundaries, truth, "labels" if ids else "mask")
    threshold = max(by_section, key=lambda t: by_section[t].v_rand)
    errors = component_errors([boundaries], [truth]) if ids else {}
    best = min(errors, key=lambda t: errors[t]) if errors else None
    return {
        "threshold": threshold,
        "v_rand": by_section[threshold].v_rand,
        "v_info": by_section[threshold].v_info,
        "arand_threshold": best,
        "arand": None if best is None else errors[best],
    }


def scored_part(volume: AnnotatedVolume, data: Path, *, quick: bool) -> AnnotatedVolume:
    """Its validation sections, or all that are annotated; described."""
    sections = VALIDATED.get(volume.name, volume.sections)
    changes: dict[str, Any] = {"sections": sections, "held_back": None}
    if quick and sections is not None:
        changes["sections"] = (sections[0], min(sections[0] + QUICK_SECTIONS, sections[1]))
        height, width = (min(n, QUICK_PIXELS) for n in plane_of(volume, data))
        changes["region"] = (0, height, 0, width)
    return described(volume.model_copy(update=changes), data)


def fewer_sections(pair: Pair, volume: AnnotatedVolume, most: int | None) -> Pair:
    """At most so many of the sections.

    Separate ones are evenly spaced. Others are neighbours, in the middle, so that components go
    on from one to the next. Isotropic volumes are kept whole: their planes along z need depth.
    """
    count = len(pair.raw)
    if most is None or count <= most or (volume.isotropic and not volume.separate_sections):
        return pair
    if volume.separate_sections:
        chosen = np.linspace(0, count - 1, most).round().astype(np.int64)
    else:
        chosen = (count - most) // 2 + np.arange(most)
    return Pair(pair.raw[chosen], pair.truth[chosen], pair.known[chosen])


def cells_or_ids(pair: Pair, kind: str) -> NDArray[Any]:
    """The truth as scores take it: 0 = membrane, or not annotated, which is not scored."""
    truth = pair.truth if kind == "labels" else (pair.truth == 0) == (kind == "membranes")
    if kind != "labels":
        truth = truth.astype(np.uint8)
    return np.where(pair.known, truth, 0).astype(truth.dtype)


def as_table(scores: Sequence[Score]) -> Table:
    """A row for every volume that was left out."""
    made = "; ".join(dict.fromkeys(score.made for score in scores))
    return Table(
        "Left out",
        ("left out", "voxel nm (zyx)", "sections", "steps", "V_rand", "V_info", "threshold",
         "adapted Rand error", "its threshold", "trained on it too: V_rand",
         "trained on it too: V_info", "trained on it too: adapted Rand error"),
        tuple(_row(score) for score in scores),
        f"Networks: {made}. Thresholds are on P(boundary) and the best ones for the very volume "
        "that is scored. "
        f"*Trained on it too*: the shipped network `{SHIPPED}` on the same sections, which it "
        "never saw; it learned from others of the same volume.",
    )  # fmt: skip


def sections_of(score: Score) -> str:
    """Which sections were scored, for people."""
    begin, end = score.sections
    sections = f"{begin}-{end - 1}"
    if score.scored_sections < end - begin:
        sections += f", {score.scored_sections} of them"
    return sections


def _row(score: Score) -> tuple[Cell, ...]:
    own, shipped = score.own, score.shipped
    return (
        f"{score.left_out} ({SEEN})" if score.seen else score.left_out,
        " × ".join(f"{edge:g}" for edge in score.voxel_nm),
        sections_of(score),
        score.steps,
        own.v_rand,
        own.v_info,
        f"{own.threshold:.2f}",
        own.arand,
        None if own.arand_threshold is None else f"{own.arand_threshold:.2f}",
        *((shipped.v_rand, shipped.v_info, shipped.arand) if shipped else (None, None, None)),
    )

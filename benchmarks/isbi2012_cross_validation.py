"""ISBI 2012, sections 0-19 by cross-validation: no section is scored by what learned from it.

The sections are cut into contiguous folds (``isbi2012_folds``). To score fold *k*:

1. The network tuned without *k* predicts it: single pass, mean and maximum of 8 orientations.
2. Every other fold *j* is predicted by the network tuned without *j* and *k*. So these maps are
   out of fold, and nothing that made them ever saw *k*.
3. On the maps of step 2 the thresholds, the prior of the multicut on mean boundaries, and both
   forests are chosen and fitted.
4. Fold *k* is thresholded, and solved by multicut and lifted multicut with those forests.

The nesting is strict in all that is learned here. What is not: the remaining parameters of the
multicut and of the tuning are the shipped defaults, which were chosen on parts of sections
0-13; and the network that all others start from knows six other volumes, never ISBI 2012.

Maps, forests and the scores of finished folds are kept, by the content of all that they were
made from; a fold that is finished is not computed again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks.isbi2012_forests import fitted_forests, nested_part
from benchmarks.isbi2012_study import Study
from benchmarks.mean_boundary import choose_prior, labels_of, mean_boundary_multicut
from benchmarks.quality import AUGMENTATIONS
from benchmarks.quality_rows import label_row, object_scores
from benchmarks.reports import write_whole
from benchmarks.thresholded_maps import best_threshold, section_scores, thresholded
from pipeline.evaluation.scores import ObjectScores
from pipeline.registry import STAGES
from workflows.fingerprints import file_hash
from workflows.seen_data import require_unseen

VERSION = 1
"""Of the procedure; folds kept by another one are computed again."""
OTHER_FOLDS, ORACLE = "other folds", "oracle"
MEAN_BOUNDARY = "max TTA + multicut, mean boundary"
MULTICUT = "max TTA + multicut"
LIFTED = "+ lifted multicut"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scored(_Frozen):
    """One method on one fold.

    Parameters
    ----------
    method
        How labels were made.
    chosen
        On what the thresholds were chosen; ``None`` where there is none.
    threshold_2d, threshold_3d
        On P(boundary): for V_rand and V_info, and for the others.
    v_rand, v_info
        Means over the sections, as the challenge scores them; of an oracle each at its own best
        threshold.
    arand, voi_split, voi_merge
        In 3D.
    """

    method: str
    chosen: str | None
    threshold_2d: float | None
    threshold_3d: float | None
    v_rand: float
    v_info: float
    arand: float
    voi_split: float
    voi_merge: float


class FoldScores(_Frozen):
    """What is known of one fold.

    Parameters
    ----------
    sections
        First, and one past the last.
    rows
        One a method.
    curves
        Augmentation -> (threshold on P(boundary), V_rand, V_info) of every threshold.
    prior
        Of the multicut on mean boundaries.
    seen
        What a model had seen of the fold; empty unless the caller allows it.
    seconds
        That it took.
    """

    sections: tuple[int, int]
    rows: tuple[Scored, ...]
    curves: dict[str, tuple[tuple[float, float, float], ...]]
    prior: float
    seen: tuple[str, ...]
    seconds: float


def cross_validated(study: Study, folds: Sequence[int] | None = None) -> list[FoldScores]:
    """Scores of all folds, or of some; finished ones are read again."""
    return [
        fold_scores(study, fold) for fold in (range(len(study.folds)) if folds is None else folds)
    ]


def fold_scores(study: Study, fold: int) -> FoldScores:
    """Scores of one fold, computed unless they are kept.

    Raises
    ------
    LeakageError
        If a network or forest learned from the fold, unless ``allow_seen``.
    """
    folder = study.output / f"fold-{fold}-{fingerprint(study, fold)[:16]}"
    path = folder / "scores.json"
    if path.is_file():
        return FoldScores.model_validate_json(path.read_bytes())
    began = time.monotonic()
    raw = study.raw(fold)
    networks = study.networks(fold)
    first, end = study.folds[fold]
    named = f"{study.dataset.name} sections {first}-{end - 1}"
    seen = require_unseen(raw, networks, what=named, allow=study.allow_seen, first=first)
    rows, curves = map_rows(study, fold)
    folder.mkdir(parents=True, exist_ok=True)
    graph, prior, forests = graph_rows(study, fold, folder)
    seen += require_unseen(raw, forests, what=named, allow=study.allow_seen, first=first)
    scores = FoldScores(
        sections=study.folds[fold],
        rows=(*rows, *graph),
        curves=curves,
        prior=prior,
        seen=tuple(str(one) for one in seen),
        seconds=time.monotonic() - began,
    )
    write_whole(path, scores.model_dump_json(indent=1))
    print(f"{named}: {scores.seconds:.0f} s", flush=True)
    return scores


def fingerprint(study: Study, fold: int) -> str:
    """Hash of all that decides the scores of a fold."""
    arrays = [
        load(number)
        for number in range(len(study.folds))
        for load in (study.raw, study.truth, study.membranes)
    ]
    content = {
        "version": VERSION,
        "fold": fold,
        "folds": study.folds,
        "voxels": [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays],
        "stages": [[stage.name, stage.version] for stage in STAGES],
        "networks": [file_hash(path) for path in study.networks(fold)],
        "config": study.config.model_dump(mode="json"),
        "forest": study.forest.model_dump(mode="json"),
        "allow_seen": study.allow_seen,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def map_rows(
    study: Study, fold: int
) -> tuple[list[Scored], dict[str, tuple[tuple[float, float, float], ...]]]:
    """The thresholded maps of a fold, and their curves."""
    truth = study.truth(fold)
    rows, curves = [], {}
    for augmentation, title in AUGMENTATIONS.items():
        boundaries = study.map_of(fold, study.network((fold,)), augmentation)
        scores = section_scores(boundaries, study.membranes(fold))
        curves[augmentation] = tuple((t, s.v_rand, s.v_info) for t, s in scores.items())
        chosen, in_3d = chosen_thresholds(study, fold, augmentation)
        flat = scores[chosen].v_rand, scores[chosen].v_info
        found = object_scores(thresholded(boundaries, in_3d, flat=True), truth)
        rows.append(_row(title, OTHER_FOLDS, (chosen, in_3d), flat, found))
        best = max(scores, key=lambda t: scores[t].v_rand)
        flat = scores[best].v_rand, max(s.v_info for s in scores.values())
        in_3d = best_threshold([boundaries], [truth])
        found = object_scores(thresholded(boundaries, in_3d, flat=True), truth)
        rows.append(_row(title, ORACLE, (best, in_3d), flat, found))
    return rows, curves


def chosen_thresholds(study: Study, fold: int, augmentation: str) -> tuple[float, float]:
    """Thresholds on P(boundary), best for V_rand and for 3D, by the nested maps of other folds."""
    others = study.others(fold)
    maps = [
        study.map_of(other, study.nested_network(other, fold), augmentation) for other in others
    ]
    v_rand: dict[float, float] = defaultdict(float)
    for other, boundaries in zip(others, maps, strict=True):
        for threshold, score in section_scores(boundaries, study.membranes(other)).items():
            v_rand[threshold] += score.v_rand
    in_3d = best_threshold(maps, [study.truth(other) for other in others])
    return max(v_rand, key=lambda t: v_rand[t]), in_3d


def graph_rows(study: Study, fold: int, folder: Path) -> tuple[list[Scored], float, list[Path]]:
    """The partitions of a fold, the prior of the first one, and the files of the forests."""
    parts = [nested_part(study, other, fold) for other in study.others(fold)]
    forests = fitted_forests(study, fold, parts, folder)
    prior = choose_prior(parts)["beta"]
    config = study.predictor.configured(study.network((fold,)), "max", forests)
    result = study.predictor.reconstructed(study.raw(fold), config)
    nodes = result["nodes"]
    simple = mean_boundary_multicut(
        result, study.volume(fold), study.config.section("multicut"), prior
    )
    partitions = {MEAN_BOUNDARY: simple, MULTICUT: nodes["multicut"], LIFTED: nodes["neuron"]}
    rows = []
    for title, neuron in partitions.items():
        labels = labels_of(result, neuron)
        row = label_row(title, labels, study.truth(fold), study.membranes(fold))
        assert row.v_rand is not None
        assert row.v_info is not None
        found = object_scores(labels, study.truth(fold))
        rows.append(_row(title, None, (None, None), (row.v_rand, row.v_info), found))
    return rows, prior, list(forests.values())


def _row(
    method: str,
    chosen: str | None,
    thresholds: tuple[float | None, float | None],
    sections: tuple[float, float],
    objects: ObjectScores,
) -> Scored:
    return Scored(
        method=method,
        chosen=chosen,
        threshold_2d=thresholds[0],
        threshold_3d=thresholds[1],
        v_rand=sections[0],
        v_info=sections[1],
        arand=objects.arand_error,
        voi_split=objects.voi_split,
        voi_merge=objects.voi_merge,
    )

"""ISBI 2012: cross-validation, a fixed split, the paper's Table 1, stacks for the challenge.

1. Sections 14-19, which no shipped model, forest or parameter saw: maps, multicuts.
2. The rows of the paper's Table 1 on the same sections (``isbi2012_table1``).
3. Stacks for the challenge's test sections (``isbi2012_submission``).
4. Sections 0-19 by cross-validation (``isbi2012_cross_validation``); its ten networks are
   trained first unless they are there (half an hour on two cores).
5. Time and memory of the whole stack.

All but the last is kept in ``--output`` and not computed again.

``python -m benchmarks.isbi2012 --data DATA``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.datasets import ISBI2012, Dataset
from benchmarks.endings import as_program
from benchmarks.isbi2012_cross_validation import FoldScores, cross_validated
from benchmarks.isbi2012_figures import over_thresholds, side_by_side
from benchmarks.isbi2012_folds import BASE, FOLDS, STEPS, network_without
from benchmarks.isbi2012_maps import Predictor
from benchmarks.isbi2012_networks import SHIPPED, Given, given_networks, how_made
from benchmarks.isbi2012_runtime import runtime, runtime_table
from benchmarks.isbi2012_study import Study
from benchmarks.isbi2012_submission import Stack, submission, submission_table
from benchmarks.isbi2012_table1 import Sections, as_table, measured, training_table
from benchmarks.isbi2012_tables import fold_table, mean_curves, mean_partitions, mean_table
from benchmarks.mean_boundary import labels_of
from benchmarks.published import Table, publish
from benchmarks.quality import (
    AUGMENTATIONS,
    Truth,
    chosen_thresholds,
    graph_sentence,
    models_of,
    options_parser,
    quality_rows,
    scored_part,
    volume_info,
)
from benchmarks.quality_rows import Row, marked, score_table
from pipeline.boundaries.device import choose_device
from pipeline.boundaries.model import load_model
from pipeline.config import load_config
from pipeline.contract import UINT8_MAX
from pipeline.evaluation.thinning import cell_mask, thin
from pipeline.packaged import model_path
from workflows.edge_training import ForestConfig
from workflows.seen_data import require_unseen

TEST = "isbi2012/raw_challenge_test.tif"
QUICK_FOLDS = tuple((begin, begin + 2) for begin, _ in FOLDS)
QUICK_TREES = 10
QUICK_TEST = np.s_[:2, :256, :256]


@dataclass(frozen=True, eq=False)
class Split:
    """The fixed split, scored.

    Parameters
    ----------
    part
        The data set with the validation sections that are scored.
    raw, ids, membranes
        (Z, Y, X) of these sections.
    rows
        Of ``quality_rows``.
    result
        Of the graph's reconstruction.
    """

    part: Dataset
    raw: NDArray[Any]
    ids: NDArray[Any]
    membranes: NDArray[Any]
    rows: list[Row]
    result: dict[str, Any]

    @property
    def name(self) -> str:
        """For titles and messages."""
        return named(self.part)


def options_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of every benchmark, and those of this one."""
    parser = options_parser(__doc__ or "")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a network for a row of Table 1 that never saw sections 14-19; repeatable",
    )
    parser.add_argument(
        "--forests",
        action="append",
        default=[],
        metavar="NAME=EDGES,LIFTED",
        help="the forests that learned from its maps, for its multicut rows; repeatable",
    )
    parser.add_argument(
        "--base", default=BASE, help="network that never saw ISBI 2012, from which folds are tuned"
    )
    parser.add_argument("--skip-runtime", action="store_true")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Path:
    """Run and publish."""
    options = options_of(argv)
    options.device = choose_device(options.device)
    given = given_networks(options.model, options.forests)
    predictor = Predictor(
        load_config(options.config, options.set),
        ISBI2012.voxel_size_nm,
        options.device,
        options.output / "isbi2012_maps",
    )
    split = fixed_split(options, predictor)
    tables = [score_table(split.name, split.rows, graph_sentence(split.result))]
    tables += [table_1(split, predictor, given, allow_seen=options.allow_seen), training_table()]
    if (options.data / TEST).is_file():
        tables.append(submission_table(test_stacks(options, predictor)))
    study = study_of(options, predictor)
    folds = cross_validated(study, [0] if options.quick else None)
    tables += [mean_table(folds), fold_table(folds)]
    values: dict[str, Any] = {
        "rows": [asdict(row) for row in split.rows],
        "folds": [fold.model_dump(mode="json") for fold in folds],
    }
    if not (options.skip_runtime or options.quick):
        values["runtime"] = runtime(options.data, options.output, options.config, options.set)
        tables.append(runtime_table(values["runtime"]))
    return publish(
        options.output,
        "isbi2012",
        "ISBI 2012",
        tables,
        quick=options.quick,
        values=values,
        figures=figures(split, folds),
    )


def fixed_split(options: argparse.Namespace, predictor: Predictor) -> Split:
    """Scores of the validation sections with the configured network and forests.

    Raises
    ------
    LeakageError
        If one of them learned from these sections, unless that is allowed.
    """
    part = scored_part(ISBI2012, quick=options.quick)
    assert part.membranes is not None
    raw, ids, membranes = (
        part.load(options.data, path, part.validate)
        for path in (part.raw, part.truth, part.membranes)
    )
    seen = require_unseen(
        raw,
        models_of(predictor.config, volume_info(part, raw)),
        what=named(part),
        allow=options.allow_seen,
        first=part.validate[0],
    )
    rows, result = quality_rows(
        part,
        lambda config, until: predictor.reconstructed(raw, config, until),
        predictor.config,
        Truth(ids, membranes),
    )
    return Split(part, raw, ids, membranes, marked(rows, seen), result)


def table_1(
    split: Split, predictor: Predictor, given: dict[str, Given], *, allow_seen: bool
) -> Table:
    """The paper's rows on the validation sections."""
    files = {SHIPPED.name: models_of(predictor.config, volume_info(split.part, split.raw))}
    files |= {name: one.files for name, one in given.items()}
    first = split.part.validate[0]
    seen = {
        name
        for name, paths in files.items()
        if require_unseen(split.raw, paths, what=split.name, allow=allow_seen, first=first)
    }
    scores = measured(Sections(split.raw, split.membranes), predictor, given)
    made = {name: how_made(load_model(one.model)) for name, one in given.items() if one.model}
    return as_table(scores, f"The paper's Table 1, on {split.name}", seen, made)


def test_stacks(options: argparse.Namespace, predictor: Predictor) -> list[Stack]:
    """The stacks for the challenge."""
    raw = ISBI2012.load(options.data, TEST, (0, 30))
    if options.quick:
        raw = np.ascontiguousarray(raw[QUICK_TEST])
    require_unseen(
        raw,
        models_of(predictor.config, volume_info(ISBI2012, raw)),
        what="the challenge's test sections",
        allow=options.allow_seen,
    )
    folder = "isbi2012_submission-quick" if options.quick else "isbi2012_submission"
    return submission(raw, predictor, options.output / folder)


def study_of(options: argparse.Namespace, predictor: Predictor) -> Study:
    """The cross-validation; a quick one has small folds and the base in place of all networks."""
    trained = partial(
        network_without,
        data=options.data,
        output=options.output / "isbi2012_folds",
        base=options.base,
        steps=STEPS,
        device=options.device,
    )
    base = model_path(options.base)
    return Study(
        dataset=replace(ISBI2012, region=scored_part(ISBI2012, quick=options.quick).region),
        data=options.data,
        folds=QUICK_FOLDS if options.quick else FOLDS,
        network=(lambda without: base) if options.quick else trained,
        predictor=predictor,
        output=options.output / "isbi2012_cross_validation",
        allow_seen=options.allow_seen,
        forest=ForestConfig(trees=QUICK_TREES) if options.quick else ForestConfig(),
    )


def figures(split: Split, folds: Sequence[FoldScores]) -> dict[str, Figure]:
    """Scores over thresholds, by cross-validation, and one section in colours."""
    section = len(split.raw) // 2
    boundaries = split.result["boundaries"][section]
    threshold = chosen_thresholds(ISBI2012.name)["max"]["v_rand"]
    labels = labels_of(split.result, split.result["nodes"]["neuron"])[section]
    pictures = {
        f"max TTA, threshold {threshold:g}": thin(boundaries < threshold * UINT8_MAX),
        "lifted multicut": np.where(cell_mask(labels), labels, 0),
    }
    number = split.part.validate[0] + section
    return {
        "thresholds": over_thresholds(
            {AUGMENTATIONS[key]: curve for key, curve in mean_curves(folds).items()},
            mean_partitions(folds),
            f"ISBI 2012, mean over {len(folds)} folds",
        ),
        "section": side_by_side(
            split.raw[section], split.ids[section], pictures, f"ISBI 2012, section {number}"
        ),
    }


def named(part: Dataset) -> str:
    """The validation sections of a data set, for people."""
    return f"ISBI 2012, sections {part.validate[0]}-{part.validate[1] - 1}"


if __name__ == "__main__":
    as_program(main)

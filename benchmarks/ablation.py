"""What each family of features adds: forests fitted without it, scored on other parts.

Every half of a training volume is scored by forests that learned from the other halves, as in
``choose_parameters``; no validation part is touched. ``graph.py --run ablation`` runs it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.mean_boundary import labels_of
from benchmarks.published import publish
from benchmarks.quality import object_scores
from benchmarks.reports import markdown_table
from benchmarks.stage_runs import run_stage
from pipeline import multicut
from pipeline.boundaries.device import choose_device
from pipeline.config import parse_config
from pipeline.features.config import FAMILIES
from pipeline.lifted.config import FAMILIES as LIFTED_FAMILIES
from pipeline.multicut.stage import MulticutConfig
from workflows.train_edges import (
    EdgeTraining,
    Forests,
    Part,
    fit_forests,
    out_of_fold_parts,
    read_edge_training,
    targets_of,
)

KINDS = ("anisotropic", "isotropic")


@dataclass(frozen=True)
class Line:
    """Mean scores over all parts, each by forests that learned from other parts.

    Parameters
    ----------
    left_out
        ``nothing``, a family of edge features, or ``lifted <family>``.
    columns, lifted_columns
        Features that are left.
    edge_out_of_bag_auc, lifted_out_of_bag_auc
        Area under the ROC curve on the rows learned from, by the trees that did not see them.
    edge_auc, lifted_auc
        The same on the clear edges of the other parts.
    arand, voi_split, voi_merge
        Of the lifted multicut, 3D.
    """

    left_out: str
    columns: int
    lifted_columns: int
    edge_out_of_bag_auc: float
    lifted_out_of_bag_auc: float
    edge_auc: float
    lifted_auc: float
    arand: float
    voi_split: float
    voi_merge: float


def ablation(options: argparse.Namespace) -> None:
    """Both kinds of data, one report."""
    if len(options.network) != 2:
        raise SystemExit("--run ablation needs --network twice (fold 0, fold 1)")
    text = []
    values: dict[str, Any] = {"kinds": {}}
    for kind in KINDS[:1] if options.quick else KINDS:
        config = read_edge_training(Path("configs/train") / f"edges_{kind}.yaml")
        kept = None if options.parts is None else options.parts / kind
        device = choose_device(options.device)
        parts = out_of_fold_parts(config, options.data, options.network, device, kept)
        if options.quick:
            lines = [cross_validated("nothing", parts, config)]
        else:
            lines = ablated(parts, config)
        text.append(f"## {kind}\n\n{as_markdown(lines)}")
        values["kinds"][kind] = [asdict(line) for line in lines]
    publish(
        options.output,
        "graph_ablation",
        "Feature families",
        (),
        text="\n".join(text),
        quick=options.quick,
        values=values,
    )


def ablated(parts: Sequence[Part], config: EdgeTraining) -> list[Line]:
    """One line with everything, and one without each family.

    Parameters
    ----------
    parts
        Halves of volumes, first and second in turn, as ``out_of_fold_parts`` gives them.
    config
        Of the training of the edges.
    """
    lines = [cross_validated("nothing", parts, config)]
    for family in FAMILIES:
        others = [name for name in FAMILIES if name != family]
        lines.append(cross_validated(family, parts, config, families=others))
    for family in LIFTED_FAMILIES:
        others = [name for name in LIFTED_FAMILIES if name != family]
        lines.append(cross_validated(f"lifted {family}", parts, config, lifted_families=others))
    return lines


def cross_validated(
    left_out: str,
    parts: Sequence[Part],
    config: EdgeTraining,
    *,
    families: Sequence[str] | None = None,
    lifted_families: Sequence[str] | None = None,
) -> Line:
    """Fit on one half of every volume, score on the other, both ways; the means.

    Parameters
    ----------
    left_out
        Title of the line.
    parts, config
        As in ``ablated``.
    families, lifted_families
        Families to learn from; ``None``: all.
    """
    settings: Any = parse_config(config.pipeline, config.name).section("multicut")
    out_of_bag, scores, columns = [], [], (0, 0)
    for half in (0, 1):
        forests = fit_forests(
            parts[1 - half :: 2], config, families=families, lifted_families=lifted_families
        )
        kinds = (forests.edges, forests.lifted)
        columns = len(kinds[0].forest.feature_names), len(kinds[1].forest.feature_names)
        out_of_bag.append(
            [float(roc_auc_score(kind.evidence.label, kind.evidence.out_of_bag)) for kind in kinds]
        )
        scores += [part_scores(part, forests, settings) for part in parts[half::2]]
    line = Line(
        left_out,
        *columns,
        *(float(value) for value in np.mean(out_of_bag, axis=0)),
        *(float(value) for value in np.mean(scores, axis=0)),
    )
    print(line, flush=True)
    return line


def part_scores(
    part: Part, forests: Forests, settings: MulticutConfig
) -> tuple[float, float, float, float, float]:
    """AUC of both forests, and adapted Rand error, VOI split and merge of the neurons."""
    tables = forests.tables(part)
    aucs = []
    for table in ("edges", "lifted"):
        cut, clear = targets_of(part, tables[table]["uv"], forests.config.limits)
        aucs.append(float(roc_auc_score(cut[clear], tables[table]["p_cut"][clear])))
    known = {**part.tables, **tables}
    solved = run_stage(multicut.STAGE, known, part.volume, config=settings)
    found = object_scores(labels_of(known, solved["nodes"]["neuron"]), part.truth)
    return aucs[0], aucs[1], found.arand_error, found.voi_split, found.voi_merge


def as_markdown(lines: Sequence[Line]) -> str:
    """The lines as a table."""
    head = ["left out", "columns", "lifted columns", "edge AUC, out of bag"]
    head += ["lifted AUC, out of bag", "edge AUC, other parts", "lifted AUC, other parts"]
    rows = [
        [
            line.left_out,
            line.columns,
            line.lifted_columns,
            *(
                f"{value:.4f}"
                for value in (
                    line.edge_out_of_bag_auc,
                    line.lifted_out_of_bag_auc,
                    line.edge_auc,
                    line.lifted_auc,
                    line.arand,
                    line.voi_split,
                    line.voi_merge,
                )
            ),
        ]
        for line in lines
    ]
    return markdown_table([*head, "adapted Rand error", "VOI split", "VOI merge"], rows)

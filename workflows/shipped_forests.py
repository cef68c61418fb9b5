"""Forests that ship with the program, scored on somebody's annotated parts.

A few sections hold a few hundred edges; forests fitted on them may be worse than the shipped
ones, which learned from some hundred thousand. Both are scored on the same edges: the new ones
by their votes on places that they did not learn from, the shipped ones as they are. (If the
shipped ones learned from these very volumes, their scores are too good.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.forests import load_forest, predict
from pipeline.packaged import model_path
from workflows.edge_forests import lifted_problem
from workflows.edge_parts import Part, targets_of
from workflows.edge_report import Report, scores
from workflows.edge_training import EdgeTraining
from workflows.machine import available_cores


def shipped_scores(parts: Sequence[Part], config: EdgeTraining) -> dict[str, Report]:
    """Scores of the shipped forests on the clear edges of parts.

    Parameters
    ----------
    parts
        Of volumes of one kind.
    config
        For the limits of clear labels and the pipeline's parameters.

    Returns
    -------
    scores
        ``edges`` and ``lifted``, each as ``edge_report.scores``; empty if the features are
        others than theirs.
    """
    kind_of_volume = "anisotropic" if parts[0].volume.flat_sections else "isotropic"
    forests = {
        kind: load_forest(model_path(f"{kind}-{kind_of_volume}")) for kind in ("edges", "lifted")
    }
    if not set(forests["edges"].feature_names) <= set(parts[0].feature_names):
        return {}
    p_cut: dict[str, list[Any]] = {"edges": [], "lifted": []}
    label: dict[str, list[Any]] = {"edges": [], "lifted": []}
    for part in parts:
        first = predict(
            forests["edges"],
            part.edges["features"],
            part.feature_names,
            threads=available_cores(),
        )
        problem = lifted_problem(part, first, config)
        if not set(forests["lifted"].feature_names) <= set(problem.names):
            return {}
        second = predict(forests["lifted"], problem.features, problem.names)
        for kind, uv, p in (("edges", part.edges["uv"], first), ("lifted", problem.uv, second)):
            cut, keep = targets_of(part, uv, config.limits)
            p_cut[kind].append(p[keep])
            label[kind].append(cut[keep])
    return {
        kind: scores(np.concatenate(p_cut[kind]), np.concatenate(label[kind])) for kind in forests
    }


def verdict(mine: Report, shipped: Report) -> str:
    """Which forest to use, in one line, by the log loss.

    >>> verdict({"log_loss": 0.2}, {"log_loss": 0.3})
    'log loss 0.2000, of the shipped forest 0.3000: use yours'
    """
    own, other = mine["log_loss"], shipped["log_loss"]
    better = "use yours" if own < other else "keep the shipped one"
    return f"log loss {own:.4f}, of the shipped forest {other:.4f}: {better}"

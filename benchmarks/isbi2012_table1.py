"""The rows of the paper's Table 1, measured on sections that no model saw, beside the paper's.

The paper's scores are of the challenge's test sections, whose truth is not public; ours are of
the validation sections. Both are the best over thresholds, after thinning, each of V_rand and
V_info at its own, as the challenge scores a map. A row without a trained network stays empty.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.isbi2012_maps import Predictor
from benchmarks.isbi2012_networks import NETWORKS, SHIPPED, Given
from benchmarks.kept_scores import kept_scores
from benchmarks.mean_boundary import labels_of
from benchmarks.papers import paper_table
from benchmarks.published import NOT_MEASURED, SEEN, Cell, Table
from benchmarks.thresholded_maps import section_scores
from pipeline.evaluation.foreground import mean_score
from pipeline.evaluation.isbi import score_labels, truth_sections

MAP_METHODS = {"threshold": "none", "mean TTA": "mean", "max TTA": "max"}
"""Post-processing -> augmentation of the map that is thresholded."""
GRAPH_METHODS = {"multicut": "multicut", "lifted multicut": "neuron"}
"""Post-processing -> column of the nodes that it solves."""
PAPER_WORDS = {
    "threshold": "THR",
    "mean TTA": "Mean TTA",
    "max TTA": "Max TTA",
    "multicut": "Multicut",
    "lifted multicut": "Lifted multicut",
}
Score = tuple[float, float]
"""V_rand and V_info."""


ONLY_IN_THE_PAPER = ("Cascaded RF", "Resnet50")


@dataclass(frozen=True, eq=False)
class Sections:
    """What is scored.

    Parameters
    ----------
    raw
        (Z, Y, X) grey values.
    membranes
        (Z, Y, X), 0 = membrane.
    """

    raw: NDArray[Any]
    membranes: NDArray[Any]


def map_scores(sections: Sections, predictor: Predictor, model: Path | None) -> dict[str, Score]:
    """Post-processing -> best V_rand and V_info of the map cut at a threshold; kept."""
    found = {}
    for method, augmentation in MAP_METHODS.items():
        boundaries = predictor.boundaries(sections.raw, predictor.configured(model, augmentation))
        best = kept_scores(
            predictor.kept,
            "best",
            (boundaries, sections.membranes),
            partial(best_scores, boundaries, sections.membranes),
        )
        found[method] = best["v_rand"], best["v_info"]
    return found


def best_scores(boundaries: NDArray[np.uint8], membranes: NDArray[Any]) -> dict[str, float]:
    """V_rand and V_info of a map, each at its own best threshold."""
    scores = section_scores(boundaries, membranes).values()
    return {"v_rand": max(s.v_rand for s in scores), "v_info": max(s.v_info for s in scores)}


def graph_scores(sections: Sections, predictor: Predictor, given: Given) -> dict[str, Score]:
    """Post-processing -> V_rand and V_info of the partitions."""
    config = predictor.configured(given.model, "max", given.forests)
    result = predictor.reconstructed(sections.raw, config)
    truth = truth_sections(sections.membranes, kind="mask")
    found = {}
    for method, column in GRAPH_METHODS.items():
        score = mean_score(score_labels(labels_of(result, result["nodes"][column]), truth))
        found[method] = score.v_rand, score.v_info
    return found


def measured(
    sections: Sections, predictor: Predictor, given: Mapping[str, Given]
) -> dict[str, dict[str, Score]]:
    """Scores of all networks that there are: name -> post-processing -> V_rand, V_info.

    Parameters
    ----------
    sections
        That are scored; nothing that is given may have learned from them.
    predictor
        Makes maps and partitions; of ``SHIPPED`` with the network and forests that it is
        configured with.
    given
        Name of another network -> its files.
    """
    shipped = Given(None)
    scores = {
        SHIPPED.name: {
            **map_scores(sections, predictor, None),
            **graph_scores(sections, predictor, shipped),
        }
    }
    for name, one in given.items():
        scores[name] = map_scores(sections, predictor, one.model)
        if one.forests:
            scores[name] |= graph_scores(sections, predictor, one)
    return scores


def paper_score(network: str, method: str) -> tuple[Cell, Cell]:
    """V_rand and V_info of a row of the paper's table; ``None`` where it has no such row."""
    table = paper_table("rc-spcnet", 1)
    try:
        return tuple(table.value(c, network, PAPER_WORDS[method]) for c in ("V_rand", "V_info"))
    except KeyError:
        return None, None


def as_table(
    scores: Mapping[str, Mapping[str, Score]],
    title: str,
    seen: Container[str] = (),
    made: Mapping[str, str] | None = None,
) -> Table:
    """The paper's rows, with ours where they are measured.

    Parameters
    ----------
    scores
        As ``measured`` gives them.
    title
        Of the table.
    seen
        Names of the networks that saw what is scored.
    made
        Name of a given network -> its shape and steps, which follow its title.
    """
    made = made or {}
    rows: list[tuple[Cell, ...]] = [
        (name, "threshold", None, None, *paper_score(name, "threshold"))
        for name in ONLY_IN_THE_PAPER
    ]
    for network in (*NETWORKS, SHIPPED):
        ours = scores.get(network.name, {})
        heading = network.title
        if network.name in made:
            heading += f": {made[network.name]}"
        if network.name in seen:
            heading += f" ({SEEN})"
        rows += [
            (
                heading,
                method,
                *ours.get(method, (NOT_MEASURED, NOT_MEASURED)),
                *paper_score(network.paper, method),
            )
            for method in PAPER_WORDS
        ]
    columns = ("network", "post-processing", "V_rand", "V_info", "paper V_rand", "paper V_info")
    return Table(title, columns, tuple(rows), NOTE)


def training_table() -> Table:
    """How the networks of the table are trained."""
    return Table(
        "Networks of Table 1",
        ("network", "NAME", "trained by"),
        tuple((n.title, f"`{n.name}`", f"`{n.training}`") for n in NETWORKS),
        "Each is trained without the validation sections and gives `runs/NAME/NAME.safetensors`; "
        "forests that learn from its maps are fitted by `python -m pipeline train edges` (see "
        "docs/training.md). Its rows are filled by `python -m benchmarks.isbi2012 --data DATA "
        "--model NAME=FILE --forests NAME=EDGES,LIFTED`; without forests the multicuts stay empty.",
    )


NOTE = (
    "Ours: the validation sections. Paper: its Table 1, the challenge's hidden test sections, by "
    "networks trained on the whole training stack: not the same sections. Maps are cut at the "
    "best threshold for the scored sections, of V_rand and V_info each, as the challenge does; "
    f"multicuts start from the maximum of 8 orientations. {NOT_MEASURED}: not trained; the next "
    "table has the commands. The same networks in small shapes, trained for minutes on a CPU: "
    "`python -m benchmarks.table1_networks --data DATA`."
)

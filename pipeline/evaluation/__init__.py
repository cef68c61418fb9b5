"""Scores of labels and boundary maps against ground truth, from tables that merge."""

from pipeline.evaluation.contingency import Contingency, contingency
from pipeline.evaluation.isbi import score_labels, score_map, truth_sections
from pipeline.evaluation.markdown import as_markdown
from pipeline.evaluation.scores import (
    MapScores,
    Scores,
    as_json,
    evaluate_labels,
    evaluate_map,
)

__all__ = [
    "Contingency",
    "MapScores",
    "Scores",
    "as_json",
    "as_markdown",
    "contingency",
    "evaluate_labels",
    "evaluate_map",
    "score_labels",
    "score_map",
    "truth_sections",
]

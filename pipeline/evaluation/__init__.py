"""Scores of labels and boundary maps against ground truth, from tables that merge."""

from pipeline.evaluation.contingency import Contingency, contingency
from pipeline.evaluation.families import (
    OF_ALL,
    Family,
    FamilyScores,
    evaluate_families,
    evaluate_families_of_map,
)
from pipeline.evaluation.isbi import score_labels, score_map, truth_sections
from pipeline.evaluation.markdown import as_markdown, families_as_markdown
from pipeline.evaluation.regions import boundary_band, scored_voxels
from pipeline.evaluation.scores import (
    MapScores,
    Scores,
    as_json,
    evaluate_labels,
    evaluate_map,
)

__all__ = [
    "OF_ALL",
    "Contingency",
    "Family",
    "FamilyScores",
    "MapScores",
    "Scores",
    "as_json",
    "as_markdown",
    "boundary_band",
    "contingency",
    "evaluate_families",
    "evaluate_families_of_map",
    "evaluate_labels",
    "evaluate_map",
    "families_as_markdown",
    "score_labels",
    "score_map",
    "scored_voxels",
    "truth_sections",
]

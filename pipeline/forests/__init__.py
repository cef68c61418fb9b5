"""Random forests as plain arrays: grown, stored without pickle, and asked."""

from pipeline.forests.files import load_forest, save_forest
from pipeline.forests.fitting import Growth, Learned, fit_forest, learn_forest
from pipeline.forests.model import Forest
from pipeline.forests.prediction import count_votes, predict

__all__ = [
    "Forest",
    "Growth",
    "Learned",
    "count_votes",
    "fit_forest",
    "learn_forest",
    "load_forest",
    "predict",
    "save_forest",
]

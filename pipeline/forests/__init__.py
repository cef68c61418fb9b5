"""Random forests as plain arrays: fitted by scikit-learn, stored without pickle."""

from pipeline.forests.files import load_forest, save_forest
from pipeline.forests.fitting import fit_forest
from pipeline.forests.model import Forest
from pipeline.forests.prediction import predict

__all__ = ["Forest", "fit_forest", "load_forest", "predict", "save_forest"]

"""Probabilities that mean what they say: calibration of a forest, and how far it is off.

A forest's mean vote ranks well but is too timid: 0.1 may be cut in 2 of 100 cases. The map from
vote to P(cut) is an isotonic regression of equally filled bins, joined by straight lines. On
out-of-bag votes of ISBI 2012 (18,500 edges, five-fold cross-validation over sections) its log
loss was 0.2085 with 16 bins; without calibration 0.2224, by Platt's logistic curve 0.2095, by
an isotonic step function 0.2095, with 8 bins 0.2089, with 128 bins 0.2090.

The map is learned from out-of-bag votes, so no tree votes on its own training rows. Where
calibrated probabilities of those same rows are used (to train the second forest, or to report
how well they are calibrated), each row's map is learned from other folds (``cross_calibrated``).

Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability
estimates", KDD 2002; Niculescu-Mizil & Caruana, "Predicting good probabilities with supervised
learning", ICML 2005.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.forests.model import Forest

BINS = 16
"""Bins of the map: 16 to 64 gave the same log loss, fewer and more gave a higher one."""
MIN_ROWS = 4 * BINS
"""With fewer rows there is no map."""
RELIABILITY_BINS = 20


@dataclass(frozen=True, eq=False)
class Calibration:
    """A map from votes to P(cut), linear between knots, constant beyond them.

    Parameters
    ----------
    x
        (knots,) float32, votes, strictly rising, 0..1.
    y
        (knots,) float32, P(cut), never falling, 0..1.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]

    def __call__(self, votes: NDArray[Any]) -> NDArray[np.float32]:
        """P(cut) of votes; without knots the votes themselves."""
        if not len(self.x):
            return np.asarray(votes, np.float32)
        p_cut: NDArray[np.float32] = np.interp(votes, self.x, self.y).astype(np.float32)
        return p_cut


def calibration_of(forest: Forest) -> Calibration:
    """The map that a forest carries."""
    return Calibration(forest.calibration_x, forest.calibration_y)


def with_calibration(forest: Forest, calibration: Calibration) -> Forest:
    """The same forest with this map."""
    return replace(forest, calibration_x=calibration.x, calibration_y=calibration.y)


def fit_calibration(
    votes: NDArray[Any],
    labels: NDArray[Any],
    weights: NDArray[np.float64] | None = None,
) -> Calibration:
    """Monotone piecewise linear map from votes to the share of cuts.

    Rows are sorted by vote and put into ``BINS`` equally filled bins; bins whose share of cuts
    falls are pooled (isotonic regression); each pooled bin is a knot at its mean vote. Half a
    cut and half a join are added to every bin, so that P(cut) never is 0 or 1. Two more knots,
    at the votes 0 and 1, keep the rank of the votes beyond the outermost bins: there the lines
    go on as between the last two bins, but at most half of the way to P(cut) 0 or 1.

    Parameters
    ----------
    votes
        (n,) 0..1, out of bag.
    labels
        (n,) 1 or True = cut.
    weights
        (n,) positive; None = all 1.

    Returns
    -------
    calibration
        Without knots if there are fewer than ``MIN_ROWS`` rows or only one class.
    """
    cut = np.asarray(labels, bool)
    if len(cut) < MIN_ROWS or cut.all() or not cut.any():
        return Calibration(np.zeros(0, np.float32), np.zeros(0, np.float32))
    order = np.argsort(votes, kind="stable")
    weight = np.ones(len(cut)) if weights is None else np.asarray(weights, np.float64)
    weight = weight[order] * len(cut) / weight.sum()
    starts = np.linspace(0, len(cut), BINS + 1).astype(np.int64)[:-1]
    total = np.add.reduceat(weight, starts)
    x = np.add.reduceat(weight * np.asarray(votes, np.float64)[order], starts) / total
    y = (np.add.reduceat(weight * cut[order], starts) + 0.5) / (total + 1)
    return _knots(x, y, total)


def _knots(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]
) -> Calibration:
    """Bins pooled until x and y rise strictly, and the end knots."""
    from sklearn.isotonic import isotonic_regression

    distinct, same = np.unique(x.astype(np.float32), return_inverse=True)
    filled = np.bincount(same, weight)
    share = np.bincount(same, y * weight) / filled
    monotone = isotonic_regression(share, sample_weight=filled).astype(np.float32)
    rising, pool = np.unique(monotone, return_inverse=True)
    middle = np.bincount(pool, distinct * filled) / np.bincount(pool, filled)
    below = above = 0.0
    if len(middle) > 1:
        slopes = np.diff(rising) / np.diff(middle)
        below = min(slopes[0] * middle[0], rising[0] / 2)
        above = min(slopes[-1] * (1 - middle[-1]), (1 - rising[-1]) / 2)
    knots_x = np.concatenate([[0.0], middle, [1.0]]).astype(np.float32)
    knots_y = np.concatenate([[rising[0] - below], rising, [rising[-1] + above]])
    rises = np.concatenate([[True], np.diff(knots_x) > 0])
    return Calibration(knots_x[rises], knots_y.astype(np.float32)[rises])


def cross_calibrated(
    votes: NDArray[Any],
    labels: NDArray[Any],
    folds: NDArray[np.integer[Any]],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """P(cut) of every row by the map learned from the rows of the other folds.

    Parameters
    ----------
    votes
        (n,) 0..1, out of bag.
    labels
        (n,) 1 or True = cut.
    folds
        (n,) number of each row's fold; rows of one fold should lie together in the volume,
        because neighbouring edges resemble each other.
    weights
        (n,) positive; None = all 1.

    Returns
    -------
    p_cut
        (n,) float32, 0..1.
    """
    result = np.asarray(votes, np.float32).copy()
    for fold in np.unique(folds):
        inside = folds == fold
        others = None if weights is None else weights[~inside]
        result[inside] = fit_calibration(votes[~inside], labels[~inside], others)(votes[inside])
    return result


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted against observed, in bins of equal width of the prediction.

    Parameters
    ----------
    predicted, observed
        (bins,) float64, mean P(cut) and share of cuts; NaN where a bin is empty.
    count
        (bins,) int64, rows.
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean over rows of |predicted - observed|, 0..1.

        Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning",
        AAAI 2015.
        """
        filled = self.count > 0
        gap = np.abs(self.predicted - self.observed)[filled]
        return float((gap * self.count[filled]).sum() / max(self.count.sum(), 1))


def reliability(
    p_cut: NDArray[Any], labels: NDArray[Any], bins: int = RELIABILITY_BINS
) -> Reliability:
    """Predicted against observed share of cuts.

    Parameters
    ----------
    p_cut
        (n,) 0..1.
    labels
        (n,) 1 or True = cut.
    bins
        Of equal width; 1 belongs to the last.

    Returns
    -------
    reliability
        Of each bin.
    """
    place = np.minimum((np.asarray(p_cut, np.float64) * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(place, p_cut, minlength=bins) / count
        observed = np.bincount(place, np.asarray(labels, np.float64), minlength=bins) / count
    return Reliability(predicted, observed, count)

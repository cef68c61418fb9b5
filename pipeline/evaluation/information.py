"""Scores in bits: entropies, variation of information and the CREMI score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Contingency
from pipeline.evaluation.rand import adapted_rand


@dataclass(frozen=True)
class VariationOfInformation:
    """Variation of information in bits (log2); 0 is perfect.

    Parameters
    ----------
    split
        H(prediction | truth): what the prediction says beyond truth; false splits raise it.
    merge
        H(truth | prediction): what of truth the prediction lost; false merges raise it.
    """

    split: float
    merge: float

    @property
    def total(self) -> float:
        """Split and merge together, bits."""
        return self.split + self.merge


def variation_of_information(table: Contingency) -> VariationOfInformation:
    """Variation of information between truth and prediction.

    Neither the names of ids nor the order of blocks change a single bit.

    Parameters
    ----------
    table
        Counts of pairs of ids, without the true ids that are not scored; the predicted id 0
        is a segment like any other.

    Returns
    -------
    scores
        In bits, >= 0; 0 for an empty table.

    References
    ----------
    Meila 2007, Journal of Multivariate Analysis 98:873; Nunez-Iglesias et al. 2013,
    PLOS ONE 8:e71715.
    """
    total = table.total
    if not total:
        return VariationOfInformation(0.0, 0.0)
    both = entropy(table.counts, total)
    split = both - entropy(table.truth_sizes, total)
    merge = both - entropy(table.prediction_sizes, total)
    return VariationOfInformation(split=max(split, 0.0), merge=max(merge, 0.0))


def cremi_score(table: Contingency) -> float:
    """Geometric mean of variation of information (bits) and adapted Rand error; 0 is perfect.

    Parameters
    ----------
    table
        Counts of pairs of ids, without the true ids that are not scored.

    References
    ----------
    The challenge on Circuit Reconstruction from Electron Microscopy Images, cremi.org.
    """
    return math.sqrt(variation_of_information(table).total * adapted_rand(table).error)


def entropy(sizes: NDArray[np.uint64], total: int) -> float:
    """Entropy in bits of segments of ``sizes`` voxels among ``total``.

    Parameters
    ----------
    sizes
        (n,) uint64, > 0. They may add up to less than ``total``: the rest adds nothing here.
    total
        Number of voxels, > 0.

    Returns
    -------
    bits
        >= 0; the same to the last bit in any order of ``sizes``.
    """
    values = sizes.astype(np.float64)
    return math.fsum((values * np.log2(total / values)).tolist()) / total

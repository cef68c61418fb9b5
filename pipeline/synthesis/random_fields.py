"""Smooth Gaussian random fields of unit variance, by separable kernel regression of noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def smooth_basis(points: NDArray[np.float64], length: float) -> NDArray[np.float32]:
    """Weights of white noise on a lattice that make a smooth line of unit variance.

    Parameters
    ----------
    points
        (N,) positions, in the unit of ``length``.
    length
        Standard deviation of the Gaussian kernel: about the distance over which values agree.

    Returns
    -------
    basis
        (N, K) float32; the squares of every row sum to 1.
    """
    knots = np.arange(points.min() - 3 * length, points.max() + 4 * length, length)
    basis = np.exp(-0.5 * ((points[:, None] - knots[None]) / length) ** 2)
    unit: NDArray[np.float64] = basis / np.linalg.norm(basis, axis=1, keepdims=True)
    return unit.astype(np.float32)


class SmoothField:
    """A stationary smooth random field on a grid, evaluated one section at a time.

    Parameters
    ----------
    axes
        Positions along z, y, x in nanometres.
    lengths_nm
        Distance over which values agree, along z, y, x, in nanometres.
    rng
        Source of the noise; drawn once, here.
    """

    def __init__(
        self,
        axes: Sequence[NDArray[np.float64]],
        lengths_nm: Sequence[float],
        rng: np.random.Generator,
    ) -> None:
        self._z, self._y, self._x = (
            smooth_basis(points, length) for points, length in zip(axes, lengths_nm, strict=True)
        )
        size = (self._z.shape[1], self._y.shape[1], self._x.shape[1])
        self._noise = rng.standard_normal(size, dtype=np.float32)

    def section(self, index: int) -> NDArray[np.float32]:
        """Values at z position ``index``: (Y, X) float32, mean 0 and variance 1."""
        # Knots far from this z weigh next to nothing; leave them out.
        near = np.flatnonzero(self._z[index] > 1e-6)
        plane = np.tensordot(self._z[index, near], self._noise[near], axes=1)
        section: NDArray[np.float32] = self._y @ plane @ self._x.T
        return section

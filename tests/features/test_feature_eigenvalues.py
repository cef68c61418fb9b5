"""Eigenvalues of small matrices against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.features.filters import TILE, eigenvalues_2x2, eigenvalues_3x3

SOLVERS = {2: eigenvalues_2x2, 3: eigenvalues_3x3}


def solved(matrices):
    """Eigenvalues of (n, d, d) matrices, n <= TILE, largest first."""
    count, size, _ = matrices.shape
    rows, columns = np.triu_indices(size)
    elements = np.zeros(len(rows) * TILE, np.float32)
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        elements[k * TILE : k * TILE + count] = matrices[:, i, j]
    SOLVERS[size](elements, count)
    return elements.reshape(-1, TILE)[:size, :count].T


def symmetric(rng, size, scale):
    matrices = rng.normal(0, scale, (TILE, size, size)).astype(np.float32)
    return matrices + np.swapaxes(matrices, 1, 2)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_eigenvalues_match_numpy(size, scale):
    matrices = symmetric(np.random.default_rng(size), size, scale)
    slow = np.linalg.eigvalsh(matrices.astype(float))[:, ::-1]
    assert solved(matrices) == pytest.approx(slow, abs=2e-6 * scale)


@pytest.mark.parametrize(
    "diagonal",
    [(0, 0, 0), (2, 2, 2), (3, 3, -1), (-1, 3, -1), (5, 0, 0), (0, 0, -5), (1, 0, -1)],
)
def test_repeated_eigenvalues_are_found(diagonal):
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    matrix = rotation @ np.diag(np.array(diagonal, float)) @ rotation.T
    found = solved(matrix[None].astype(np.float32))[0]
    assert found == pytest.approx(sorted(diagonal, reverse=True), abs=1e-5)


@pytest.mark.parametrize("size", [2, 3])
def test_a_matrix_has_the_same_bits_wherever_it_lies(size):
    matrices = symmetric(np.random.default_rng(3), size, 1.0)
    whole = solved(matrices)
    for begin, end in [(1, 2), (3, 20), (5, 128)]:
        assert np.array_equal(solved(matrices[begin:end]), whole[begin:end])

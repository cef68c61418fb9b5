"""What the network sees in the place of padding."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.mirroring import mirrored


def _rows(row: list[float]) -> NDArray[np.float32]:
    """Seven equal rows."""
    return np.tile(np.array(row, np.float32), (7, 1))


def test_padding_becomes_the_mirror_image_of_the_tissue_beside_it() -> None:
    grey = _rows([0, 0, 0, 0.2, 0.3, 0.4, 0.5, 1, 1, 1])
    tissue = _rows([0, 0, 0, 1, 1, 1, 1, 0, 0, 0]) == 1
    expected = _rows([0.5, 0.4, 0.3, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2])
    np.testing.assert_array_equal(mirrored(grey, tissue), expected)


def test_beyond_its_mirror_image_the_nearest_tissue_is_repeated() -> None:
    grey = _rows([0, 0, 0, 0, 0.5])
    tissue = _rows([0, 0, 0, 0, 1]) == 1
    np.testing.assert_array_equal(mirrored(grey, tissue), np.full((7, 5), 0.5, np.float32))


def test_tissue_that_a_mask_leaves_out_is_seen_as_it_was_imaged() -> None:
    grey = _rows([0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.5, 0.6])
    grey[2:6, 1:5] = 0  # a dark spot, smaller than padding is
    tissue = _rows([0, 0, 0, 0, 0, 0, 1, 1]) == 1
    np.testing.assert_array_equal(mirrored(grey, tissue), grey)


@pytest.mark.parametrize("tissue", [True, False])
def test_a_section_that_is_all_tissue_or_all_padding_stays(tissue: bool) -> None:
    grey = np.zeros((4, 5), np.float32)
    assert mirrored(grey, np.full(grey.shape, tissue)) is grey


def test_every_pixel_of_padding_equals_its_mirror_image_by_a_slow_search() -> None:
    random = np.random.default_rng(3)
    grey = random.uniform(0.1, 0.9, (24, 30)).astype(np.float32)
    tissue = np.zeros(grey.shape, bool)
    tissue[5:20, 8:] = True
    grey[~tissue] = 0
    filled = mirrored(grey, tissue)
    for y, x in np.argwhere(~tissue):
        by, bx = min(max(y, 5), 19), max(x, 8)
        my, mx = 2 * by - y, 2 * bx - x
        inside = 0 <= my < 24 and 0 <= mx < 30 and tissue[my, mx]
        assert filled[y, x] == (grey[my, mx] if inside else grey[by, bx])

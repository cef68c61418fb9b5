from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.views.colours import colours_of, grey, outlined, outlines, painted

GOLDEN = [[53, 203, 79], [92, 205, 96], [228, 244, 46]]
UINT64 = st.integers(1, 2**64 - 1)


def colour(identifier: int) -> tuple[int, ...]:
    return tuple(colours_of(np.array([identifier], np.uint64))[0].tolist())


def test_background_is_black_and_nothing_else_is() -> None:
    colours = colours_of(np.arange(2000, dtype=np.uint64))
    assert colours[0].tolist() == [0, 0, 0]
    assert colours[1:].max(axis=1).min() > 180


def test_colours_are_the_same_in_every_release() -> None:
    assert colours_of(np.array([1, 2, 301], np.uint64)).tolist() == GOLDEN


@given(UINT64, st.lists(UINT64, max_size=5))
def test_a_colour_depends_on_the_id_alone(identifier: int, others: list[int]) -> None:
    together = colours_of(np.array([*others, identifier, 0], np.uint64))
    assert tuple(together[-2].tolist()) == colour(identifier)


def test_a_colour_does_not_depend_on_the_integer_type() -> None:
    labels = np.array([[1, 2], [200, 0]])
    assert np.array_equal(colours_of(labels.astype(np.uint8)), colours_of(labels))
    assert np.array_equal(colours_of(labels.astype(np.uint64)), colours_of(labels))


def test_consecutive_ids_mostly_look_different() -> None:
    colours = colours_of(np.arange(1, 3001, dtype=np.uint64)).astype(int)
    apart = np.abs(np.diff(colours, axis=0)).max(axis=1)
    assert (apart > 40).mean() > 0.85
    assert len(np.unique(colours, axis=0)) > 2900


def test_outlines_mark_one_side_of_a_border() -> None:
    labels = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])
    expected = [[0, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert outlines(labels).astype(int).tolist() == expected


def test_outlines_are_wider_in_large_pictures() -> None:
    labels = np.repeat(np.array([[1, 2]]), 1000, axis=1)
    assert outlines(labels).sum() > 2
    assert outlines(labels[:, 700:1300]).sum() == 1


def test_only_the_outline_of_superpixels_is_drawn() -> None:
    picture = np.full((3, 4, 3), 9, np.uint8)
    labels = np.array([[1, 1, 2, 2]] * 3)
    drawn = outlined(picture, labels, (255, 0, 0))
    assert drawn[:, 1].tolist() == [[255, 0, 0]] * 3
    assert (drawn[:, [0, 2, 3]] == 9).all()
    assert (picture == 9).all()


def test_labels_tint_the_picture_and_background_leaves_it() -> None:
    picture = np.full((5, 9, 3), 100, np.uint8)
    labels = np.zeros((5, 9), np.uint64)
    labels[:, :4] = 7
    drawn = painted(picture, labels)
    assert (drawn[:, 4:] == 100).all()
    assert drawn[2, 3].tolist() == list(colour(7))
    expected = np.rint(0.55 * 100 + 0.45 * np.array(colour(7)))
    assert drawn[2, 1].tolist() == expected.tolist()


def test_grey_values_are_stretched_to_the_whole_range() -> None:
    ramp = np.linspace(-3, 7, 1000).reshape(20, 50)
    picture = grey(ramp)
    assert (picture.min(), picture.max()) == (0, 255)
    assert (np.diff(picture[..., 0].ravel().astype(int)) >= 0).all()


def test_a_constant_picture_is_black() -> None:
    assert grey(np.full((4, 4), 70, np.uint16)).max() == 0

"""Volumes scored slab by slab: the same to the last bit, however they are cut."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pipeline.errors import InputError
from pipeline.evaluation import OF_ALL, contingency, evaluate_labels, evaluate_map
from pipeline.evaluation.blockwise import (
    Measures,
    label_part,
    map_part,
    measure_labels,
    measure_map,
)
from pipeline.evaluation.families import (
    evaluate_families,
    evaluate_families_of_map,
    family_scores,
    map_family_scores,
    worst_of,
)
from pipeline.evaluation.merging import merge_all
from pipeline.evaluation.regions import Region, scored_voxels
from pipeline.evaluation.scores import label_scores, map_scores
from pipeline.evaluation.slabs import ArraySections, slab_ranges
from pipeline.evaluation.spans import Spans

ALL = Measures("labels", boundaries=True, tables=True, pixels=True, spans=True)


@st.composite
def volumes(draw):
    """Prediction, truth, and what of it is scored; some section with cells."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(2, 5), st.integers(2, 6)))
    ids = hnp.arrays(np.uint8, shape, elements=st.integers(0, 3))
    prediction, truth = draw(ids), draw(ids)
    scored = draw(st.none() | hnp.arrays(bool, shape))
    try:
        evaluate_labels(prediction, truth, scored=scored)
    except InputError:
        assume(False)
    return prediction, truth, scored


def slow_places(prediction, truth, scored, row):
    """Coordinates of a row's pieces from the whole volume at once."""
    owner, other = (truth, prediction) if row.kind == "split" else (prediction, truth)
    body = (owner == row.id) & (truth != 0) & (True if scored is None else scored)
    beside = ndimage.binary_dilation(body & (other == row.pieces[0].id))
    places = []
    for number, piece in enumerate(row.pieces):
        voxels = body & (other == piece.id)
        touching = voxels & beside
        found = np.argwhere(touching if number and touching.any() else voxels)
        away = found * len(found) - found.sum(axis=0)
        places.append(tuple(found[np.argmin((away**2).sum(axis=1))].tolist()))
    return places


@settings(deadline=None, max_examples=40)
@given(volumes(), st.integers(1, 6), st.randoms())
def test_any_slabs_in_any_order_give_the_scores_of_the_whole(volume, depth, random):
    prediction, truth, scored = volume
    sections = ArraySections(*volume, depth=depth)
    slabs = list(sections.slabs())
    random.shuffle(slabs)
    part = merge_all(label_part(sections.read(*slab), ALL) for slab in slabs)
    whole = evaluate_labels(prediction, truth, scored=scored)
    assert label_scores(part, truth.shape, "labels") == whole
    families = (*OF_ALL, "classes")
    found = family_scores(part, families, "labels")
    found = replace(found, worst=worst_of(part, sections, 4, origin=(0, 5, 0)))
    expected = evaluate_families(
        prediction, truth, families, scored=scored, worst=4, origin=(0, 5, 0)
    )
    assert found == expected


@settings(deadline=None, max_examples=40)
@given(volumes(), st.integers(1, 6))
def test_the_worst_objects_lie_where_a_look_at_the_whole_volume_finds_them(volume, depth):
    prediction, truth, scored = volume
    sections = ArraySections(*volume, depth=depth)
    for row in worst_of(measure_labels(sections, ALL), sections, 20):
        assert [piece.at for piece in row.pieces] == slow_places(prediction, truth, scored, row)


def test_a_piece_that_touches_in_the_next_slab_is_found_there():
    # Neuron 1 in sections 0-3; the prediction cuts it between 1 and 2, where the slabs end.
    truth = np.ones((4, 3, 3), int)
    prediction = np.where(np.arange(4)[:, None, None] < 2, 5, 6) * truth
    prediction[3, :, :] = 5
    sections = ArraySections(prediction, truth, depth=2)
    (row,) = worst_of(measure_labels(sections, ALL), sections, 3)
    assert [(piece.id, piece.at) for piece in row.pieces] == [(5, (1, 1, 1)), (6, (2, 1, 1))]


class Watched(ArraySections):
    """Notes which sections are read."""

    def read(self, begin, end):
        self.noted.append((begin, end))
        return super().read(begin, end)

    @property
    def noted(self):
        return self.__dict__.setdefault("_noted", [])


def test_scores_read_every_section_once_and_the_worst_objects_only_their_own():
    truth = np.zeros((12, 4, 9), np.uint16)
    truth[:, :, :4], truth[:, :, 5:] = 5, 8
    prediction = truth.copy()
    truth[7, :, :4], truth[8, :, :4] = 6, 6
    prediction[8, :, :4] = 7
    prediction[7, :, :4] = 6
    sections = Watched(prediction, truth, depth=2)
    part = measure_labels(sections, ALL)
    assert sections.noted == [(n, n + 2) for n in range(0, 12, 2)]
    sections.noted.clear()
    (row,) = worst_of(part, sections, 1)
    assert (row.kind, row.id) == ("split", 6)
    assert set(sections.noted) == {(5, 9), (7, 11)}


@settings(deadline=None, max_examples=12)
@given(volumes(), st.integers(1, 6))
def test_a_map_in_slabs_has_the_scores_of_the_whole(volume, depth):
    prediction, truth, scored = volume
    probability = prediction / 3
    sections = ArraySections(probability, truth, scored, depth)
    measures = Measures("labels", boundaries=True, pixels=True)
    part = measure_map(sections, measures)
    whole = evaluate_map(probability, truth, truth_kind="labels", scored=scored)
    assert map_scores(part, truth.shape, "labels") == whole
    backwards = merge_all(map_part(sections.read(*s), measures) for s in sections.slabs()[::-1])
    assert backwards == part
    assert map_family_scores(part, ["challenges"]) == evaluate_families_of_map(
        probability, truth, ["challenges"], truth_kind="labels", scored=scored
    )


@settings(deadline=None, max_examples=25)
@given(volumes(), st.permutations(range(1, 4)), st.permutations(range(1, 4)), st.integers(1, 6))
def test_names_of_ids_change_no_bit_of_any_slab_wise_score(volume, true, predicted, depth):
    prediction, truth, scored = volume
    renamed = (
        np.array([0, *predicted], np.uint64)[prediction] * np.uint64(2**60),
        np.array([0, *true], np.uint64)[truth] * np.uint64(2**61),
    )
    parts = [
        measure_labels(ArraySections(*arrays, scored, depth), ALL)
        for arrays in ((prediction, truth), renamed)
    ]
    first, second = (label_scores(part, truth.shape, "labels") for part in parts)
    assert first == second
    families = ("instance", "semantic", "challenges")
    kept, other = (family_scores(part, families, "labels").as_dict() for part in parts)
    # Which of two equal partners is taken depends on their names.
    kept["instance"].pop("aji"), other["instance"].pop("aji")
    assert kept == other


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 2)),
    st.none() | hnp.arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 1)),
    st.sets(st.integers(0, 2), max_size=1),
    st.integers(0, 3),
    st.integers(1, 4),
)
def test_what_is_left_out_does_not_depend_on_slabs(truth, mask, ids, band, depth):
    try:
        whole = scored_voxels(truth, ignore_ids=ids, ignore_band=band, mask=mask)
    except InputError:
        assume(False)
    region = Region(tuple(ids), band)
    for begin, end in slab_ranges(4, depth):
        part = region.scored(truth[begin:end], None if mask is None else mask[begin:end])
        assert (part is None) == (whole is None)
        assert part is None or np.array_equal(part, whole[begin:end])


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), max_size=5), min_size=1, max_size=6), st.randoms())
def test_spans_merge_to_the_first_and_last_section_of_every_id(sections, random):
    parts = [Spans.of_section(np.array(ids, np.uint64), z) for z, ids in enumerate(sections)]
    random.shuffle(parts)
    spans = merge_all(parts)
    for name in {name for ids in sections for name in ids}:
        present = [z for z, ids in enumerate(sections) if name in ids]
        assert spans.of(name) == (present[0], present[-1] + 1)


@pytest.mark.parametrize("offset", [0, 1, 5, 8])
def test_slabs_cover_all_sections_once_and_begin_where_chunks_do(offset):
    slabs = slab_ranges(11, 4, offset)
    assert [z for slab in slabs for z in range(*slab)] == list(range(11))
    assert all((begin + offset) % 4 == 0 for begin, _ in slabs[1:])


def test_arrays_larger_than_what_is_counted_at_once_give_the_same_table(monkeypatch):
    truth, prediction = np.random.default_rng(2).integers(0, 4, (2, 3, 40, 50))
    whole = contingency(truth, prediction)
    # The package has a function of the module's name.
    module = importlib.import_module("pipeline.evaluation.contingency")
    monkeypatch.setattr(module, "COUNTED", 7)
    pieces = contingency(truth, prediction)
    for column in ("truth", "prediction", "counts"):
        assert np.array_equal(getattr(pieces, column), getattr(whole, column))

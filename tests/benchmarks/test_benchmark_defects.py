"""The benchmark of defects, on a small synthetic stack and without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import pipeline
from benchmarks.defects import (
    BORDER,
    CASES,
    Case,
    Row,
    Volume,
    recognition_table,
    score_table,
    sections_of,
)
from pipeline.config import PipelineConfig
from pipeline.contract import Table
from pipeline.corrections import Corrections


@pytest.fixture(scope="module")
def volume() -> Volume:
    folder = Path(pipeline.__file__).parent / "data/sample"
    raw, truth = (tifffile.imread(folder / name)[:12] for name in ("raw.tif", "bodies.tif"))
    return Volume(raw, truth, (8.0, 8.0, 8.0))


@pytest.fixture(scope="module")
def before(volume: Volume) -> Table:
    return sections_of(volume, PipelineConfig())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_defect_is_recognised_in_the_sample_and_only_where_it_is(
    case: Case, volume: Volume, before: Table
) -> None:
    assert case.found(sections_of(case.put(volume), PipelineConfig()), before, volume)
    assert not case.found(before, before, volume) or "border" in case.name


def test_labels_move_with_the_content_and_nothing_is_scored_beneath_a_border(
    volume: Volume,
) -> None:
    cases = {case.name: case for case in CASES}
    slipped = cases["all above slipped"].put(volume)
    assert volume.truth is not None
    assert slipped.truth is not None
    (y, x), z = volume.slip, volume.z
    np.testing.assert_array_equal(slipped.truth[z:, y:, :x], volume.truth[z:, :-y, -x:])
    np.testing.assert_array_equal(slipped.raw[z:, y:, :x], volume.raw[z:, :-y, -x:])
    padded = cases["white border"].put(volume)
    assert padded.truth is not None
    assert not padded.truth[:, :BORDER].any()
    assert padded.truth[:, BORDER:-BORDER, BORDER:-BORDER].any()


def test_tables_show_what_was_found_and_the_scores_side_by_side() -> None:
    table = Corrections.none(3, 0, 1).table()
    assert not CASES[0].found(table, table, Volume(np.zeros((3, 1, 1)), None, (1, 1, 1)))
    found = {"a": {"nothing put in": "", **{case.name: case is CASES[0] for case in CASES}}}
    lines = recognition_table(found).splitlines()
    assert lines[2:4] == ["| inverted contrast | yes |", "| black border | no |"]
    assert lines[-1] == "Found where nothing was put in: a: nothing."
    rows = [
        Row("a", "none", "off", 0.1, 0.25, 0.25, 1.0),
        Row("a", "none", "on", 0.05, 0.125, 0.125, 1.0),
    ]
    assert score_table(rows).splitlines()[2] == "| a | none | 0.1 | 0.5 | 0.05 | 0.25 |"

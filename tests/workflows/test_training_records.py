"""What model files keep of the data that they learned from."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from safetensors.numpy import save
from small_pipeline import save_dark_network, write_volume

from benchmarks.record_training_data import added
from pipeline.boundaries.model import load_model
from pipeline.errors import ModelError
from pipeline.forests import load_forest
from pipeline.marks import gathered, section_marks
from pipeline.model_header import extend_header, read_header
from pipeline.packaged import model_path, packaged_models
from workflows.annotated_volume import AnnotatedVolume
from workflows.edge_training import EdgeTraining
from workflows.train_boundaries import BoundaryTraining, chosen_volumes
from workflows.train_edges import all_of
from workflows.training_data import described
from workflows.training_record import (
    HEADER,
    Learned,
    TrainingRecord,
    as_ranges,
    inheriting,
    read_record,
    record_of,
)

SIZE_NM = (8.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def sample() -> NDArray[np.uint8]:
    """12 x 120 x 130 real grey values."""
    path = Path(str(resources.files("pipeline") / "data" / "sample" / "raw.tif"))
    raw: NDArray[np.uint8] = tifffile.imread(path)[:12, :120, :130]
    return raw


@pytest.fixture
def data(sample: NDArray[np.uint8], tmp_path: Path) -> Path:
    write_volume(tmp_path / "raw.zarr", sample, SIZE_NM)
    cells = np.full(sample.shape, 2, np.uint8)  # 2: not annotated
    cells[2:6] = 1
    cells[2:6, ::9] = 0
    tifffile.imwrite(tmp_path / "cells.tif", cells)
    return tmp_path


def volume(data: Path, **changes: Any) -> AnnotatedVolume:
    given = {
        "name": "mine", "raw": "raw.zarr", "truth": "cells.tif", "truth_kind": "cells",
        "unlabelled": 2, **changes,
    }  # fmt: skip
    return described(AnnotatedVolume.model_validate(given), data)


def marks_of(*sections: NDArray[np.uint8]) -> set[int]:
    return set(gathered(section_marks(section) for section in sections).marks.tolist())


def marks(record: TrainingRecord) -> set[int]:
    return {int(mark) for one in record.learned for mark in one.content.marks}


def entry(name: str, sections: NDArray[np.uint8], numbers: range) -> Learned:
    content = gathered(section_marks(section) for section in sections)
    return Learned(name, as_ranges(numbers), content)


def with_record(path: Path, *learned: Learned) -> Path:
    save_dark_network(path)
    extend_header(path, TrainingRecord(learned).header)
    return path


def test_annotated_sections_are_recorded_and_no_others(
    data: Path, sample: NDArray[np.uint8]
) -> None:
    record = record_of([volume(data)], data)
    assert [(one.name, one.sections, one.through) for one in record.learned] == [
        ("mine", ((2, 6),), "")
    ]
    assert marks(record) == marks_of(*sample[2:6])
    assert len(marks(record)) > 100


def test_listed_sections_and_a_region_limit_the_record(
    data: Path, sample: NDArray[np.uint8]
) -> None:
    chosen = volume(data, annotated_sections=(2, 3, 5), region=(10, 110, 20, 120))
    record = record_of([chosen], data)
    assert record.learned[0].sections == ((2, 4), (5, 6))
    assert marks(record) == marks_of(*sample[[2, 3, 5], 10:110, 20:120])


def test_what_is_held_back_is_not_recorded(data: Path, sample: NDArray[np.uint8]) -> None:
    record = record_of([volume(data, held_back=(4, 6, 0, 120, 0, 130))], data)
    assert record.learned[0].sections == ((2, 4),)
    assert marks(record) == marks_of(*sample[2:4])
    strip = record_of([volume(data, held_back=(5, 6, 0, 120, 60, 130))], data)
    assert strip.learned[0].sections == ((2, 6),)
    assert not marks(strip) & marks_of(sample[5, :, 60:])
    assert marks_of(sample[5, :, :60]) <= marks(strip)


def test_a_fold_records_its_half(data: Path, sample: NDArray[np.uint8]) -> None:
    record = record_of([volume(data).half(1)], data)
    assert record.learned[0].sections == ((4, 6),)
    assert marks(record) == marks_of(*sample[4:6])


def test_folds_and_forests_tell_and_record_that_they_learn_from_what_is_held_back(
    data: Path, sample: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    held = volume(data, held_back=(4, 6, 0, 120, 0, 130))
    half = chosen_volumes(BoundaryTraining(name="n", licence="", volumes=(held,)), data, fold=1)
    assert marks(record_of(half, data)) == marks_of(*sample[4:6])
    assert "mine: a fold learns from all" in caplog.text
    edges = all_of(EdgeTraining(name="e", licence="", volumes=(held,)), data)
    assert marks(record_of(edges.volumes, data)) == marks_of(*sample[2:6])
    assert "mine: forests learn from held_back too" in caplog.text


def test_what_is_validated_on_is_recorded(data: Path, sample: NDArray[np.uint8]) -> None:
    record = record_of([volume(data, validation_sections=(4, 6))], data)
    assert record.learned[0].sections == ((2, 6),)
    assert marks(record) == marks_of(*sample[2:6])


def test_a_record_survives_its_file(data: Path, tmp_path: Path) -> None:
    record = record_of([volume(data)], data)
    path = with_record(tmp_path / "m.safetensors", *record.learned)
    again = read_record(path)
    assert again.as_text() == record.as_text()
    load_model(path)


def test_a_fine_tuned_network_inherits_from_its_base(
    data: Path, sample: NDArray[np.uint8], tmp_path: Path
) -> None:
    base = with_record(tmp_path / "base.safetensors", entry("old", sample[8:], range(8, 12)))
    record = record_of([volume(data)], data, base=base)
    assert [(one.name, one.sections, one.through) for one in record.learned] == [
        ("mine", ((2, 6),), ""),
        ("old", ((8, 12),), "base.safetensors"),
    ]
    assert marks(record) == marks_of(*sample[2:6], *sample[8:])
    tuned = with_record(tmp_path / "tuned.safetensors", *record.learned)
    again = record_of([], data, base=tuned)
    assert marks(again) == marks(record)
    assert {one.through for one in again.learned} == {"tuned.safetensors"}


def test_a_forest_inherits_from_the_networks_of_its_maps_once(
    data: Path, sample: NDArray[np.uint8], tmp_path: Path
) -> None:
    networks = [
        with_record(
            tmp_path / f"fold{fold}.safetensors",
            entry("mine", sample[2 + 2 * fold : 4 + 2 * fold], range(2 + 2 * fold, 4 + 2 * fold)),
            entry("other", sample[8 + fold : 9 + fold], range(8 + fold, 9 + fold)),
        )
        for fold in (0, 1)
    ]
    record = record_of([volume(data)], data, networks=networks)
    both = "fold0.safetensors, fold1.safetensors"
    assert [(one.name, one.sections, one.through) for one in record.learned] == [
        ("mine", ((2, 6),), ""),  # that of the networks adds nothing
        ("other", ((8, 10),), both),
    ]
    assert marks(record) == marks_of(*sample[2:6], *sample[8:10])


def test_an_old_file_is_unknown_with_what_its_card_names(
    data: Path, sample: NDArray[np.uint8], tmp_path: Path
) -> None:
    old = save_dark_network(tmp_path / "old.safetensors")
    assert read_record(old).unknown == ("old.safetensors does not record it",)
    card = {"halo_pixels": 8, "stride_pixels": 8, "data": [{"name": "isbi", "sections": [0, 9]}]}
    extend_header(old, {"card": json.dumps(card)})
    phrase = "old.safetensors does not record it (it names isbi 0:9)"
    assert read_record(old).unknown == (phrase,)
    record = record_of([volume(data)], data, base=old)
    assert record.unknown == (phrase,)
    assert marks(record) == marks_of(*sample[2:6])
    assert inheriting(TrainingRecord(), [old]).unknown == (phrase,)


def test_a_record_of_another_version_is_unknown(tmp_path: Path) -> None:
    path = save_dark_network(tmp_path / "m.safetensors")
    extend_header(path, {HEADER: '{"version": 99}'})
    assert "another version" in read_record(path).unknown[0]


def damaged(**changes: Any) -> str:
    learned = {"name": "a", "sections": [[0, 1]], "through": "", "one_in": 256, "marks": "AQAAAA=="}
    return json.dumps({"version": 1, "learned": [{**learned, **changes}], "unknown": []})


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "null", "[" * 100_000, '{"version": 1}',
        damaged(marks="AQAAA"), damaged(marks="AQAAAA=A"), damaged(marks="AQA="), damaged(marks=3),
        damaged(marks="AgAAAAEAAAA="),  # 2, 1
        damaged(marks="AQAAAAEAAAA="),  # 1, 1
        damaged(one_in=300), damaged(one_in=1), damaged(one_in=1 << 20),
        damaged(sections=[[0]]), damaged(name=None),
    ],
)  # fmt: skip
def test_a_damaged_record_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = save_dark_network(tmp_path / "m.safetensors")
    extend_header(path, {HEADER: text})
    with pytest.raises(ModelError, match=r"m\.safetensors: damaged record of what it learned from"):
        read_record(path)


def test_a_sound_record_is_read(tmp_path: Path) -> None:
    path = save_dark_network(tmp_path / "m.safetensors")
    extend_header(path, {HEADER: damaged()})
    (one,) = read_record(path).learned
    assert one.content.marks.tolist() == [1]
    assert one.title == "a 0:1"


def test_files_made_before_records_get_theirs_from_their_cards(
    data: Path, sample: NDArray[np.uint8], tmp_path: Path
) -> None:
    base = {"halo_pixels": 8, "stride_pixels": 8, "base": None}
    first = volume(data, sections=(2, 4)).model_dump(mode="json")
    second = volume(data, sections=(4, 6)).model_dump(mode="json")
    card = {**base, "data": [second], "started_from": "first.safetensors",
            "base": {"card": {**base, "data": [first]}}}  # fmt: skip
    path = save_dark_network(tmp_path / "second.safetensors")
    extend_header(path, {"card": json.dumps(card)})
    before = load_model(path).network.state_dict()
    added(path, data)
    record = read_record(path)
    assert [(one.sections, one.through) for one in record.learned] == [
        (((4, 6),), ""),
        (((2, 4),), "first.safetensors"),
    ]
    assert marks(record) == marks_of(*sample[2:6])
    assert all((t == before[n]).all() for n, t in load_model(path).network.state_dict().items())
    kept = path.read_bytes()
    assert added(path, data) == "has a record already"
    assert path.read_bytes() == kept


def test_an_old_forest_needs_the_networks_of_its_maps(
    data: Path, sample: NDArray[np.uint8], tmp_path: Path
) -> None:
    network = with_record(tmp_path / "fold0.safetensors", entry("other", sample[9:], range(9, 12)))
    mine = volume(data).model_dump(mode="json")
    metadata = {"data": [mine], "networks": ["fold0.safetensors"]}
    forest = json.dumps({"feature_names": [], "metadata": metadata})
    path = tmp_path / "edges.safetensors"
    path.write_bytes(save({"value": np.zeros(1, np.float32)}, {"forest": forest}))
    with pytest.raises(ModelError, match=r"give --networks fold0\.safetensors"):
        added(path, data)
    added(path, data, [network])
    assert [one.name for one in read_record(path).learned] == ["mine", "other"]
    assert read_record(path).learned[1].through == "fold0.safetensors"


def test_the_shipped_models_record_what_they_learned_from_and_not_the_sample() -> None:
    path = Path(str(resources.files("pipeline") / "data" / "sample" / "raw.tif"))
    asked = [section_marks(section) for section in tifffile.imread(path)]
    for name in packaged_models():
        record = read_record(model_path(name))
        assert record.learned, name
        assert not record.unknown, name
        assert len(read_header(model_path(name))[HEADER]) < 500_000  # with those of its base
        for one in record.learned:
            assert len(one.content.marks) > 1500
            for section in asked:
                assert one.content.found(section)[1] == 0
    load_model(model_path("default"))
    assert load_forest(model_path("edges-isotropic")).trees > 0

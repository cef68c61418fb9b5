"""Scores of what a model learned from are refused, or marked; what it did not see is scored."""

from __future__ import annotations

import json
import logging
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from small_pipeline import SECTIONS_NM, save_dark_network, settings, write_volume

from pipeline.contract import Box
from pipeline.errors import LeakageError, ModelError, OutputError
from pipeline.marks import gathered, section_marks
from pipeline.model_header import extend_header
from workflows import seen_output
from workflows.prepare import prepare
from workflows.provenance import Ledger
from workflows.reconstruct import reconstruct
from workflows.seen_data import require_unseen
from workflows.seen_output import check_scored, print_seen, with_seen
from workflows.source import Source
from workflows.training_record import Learned, TrainingRecord, as_ranges

SHAPE = (10, 120, 130)


@pytest.fixture(scope="module")
def sample() -> NDArray[np.uint8]:
    """Real grey values."""
    path = Path(str(resources.files("pipeline") / "data" / "sample" / "raw.tif"))
    raw: NDArray[np.uint8] = tifffile.imread(path)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return raw


def model(path: Path, sections: NDArray[Any], *, first: int = 0, name: str = "fly") -> Path:
    """A network that says it learned from these sections."""
    content = gathered(section_marks(section) for section in sections)
    numbers = as_ranges(range(first, first + len(sections)))
    save_dark_network(path)
    extend_header(path, TrainingRecord((Learned(name, numbers, content),)).header)
    return path


@pytest.fixture(scope="module")
def network(sample: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learned from sections 0-3 of the sample."""
    return model(tmp_path_factory.mktemp("models") / "taught.safetensors", sample[:4])


def segmented(raw: Path, network: Path, output: Path) -> Path:
    source = Source(raw, None, None, None)
    tiles = settings(network, tile=(1, 128, 136))
    run = prepare(source, tiles, output, device="cpu", block_shape=(10, 128, 136))
    reconstruct(run, until="boundaries")
    return output


@pytest.fixture(scope="module")
def finished(
    sample: NDArray[np.uint8], network: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    raw = write_volume(folder / "raw.zarr", sample, SECTIONS_NM)
    return segmented(raw, network, folder / "out.neurons.zarr")


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out.neurons.zarr"))


def scored(begin: int, end: int) -> Box:
    return Box((begin, 0, 0), (end, *SHAPE[1:]))


def check(path: Path, begin: int, end: int, **options: Any) -> seen_output.Verdict:
    return check_scored(path, scored(begin, end), SHAPE, maps=True, **options)


# ------------------------------------------------------------------ arrays


def test_sections_of_a_training_are_refused_by_model_volume_and_number(
    sample: NDArray[np.uint8], network: Path
) -> None:
    message = (
        r"sample z 2-5: .*sections 2:4 \(100% of them\) are of fly 0:4, from which "
        r"taught\.safetensors learned\. Score other sections, or give --allow-seen"
    )
    with pytest.raises(LeakageError, match=message):
        require_unseen(sample[2:6], [network], what="sample z 2-5", first=2)


def test_other_sections_are_accepted_without_a_word(
    sample: NDArray[np.uint8], network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert require_unseen(sample[4:], [network], what="sample") == ()
    assert caplog.text == ""


def test_with_leave_they_are_returned_and_warned_of(
    sample: NDArray[np.uint8], network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (seen,) = require_unseen(sample, [network], what="sample", allow=True)
    assert (seen.model, seen.volume) == ("taught.safetensors", "fly")
    assert (seen.sections, seen.learned, seen.share) == (((0, 4),), ((0, 4),), 1.0)
    assert "sample: seen in training: sections 0:4" in caplog.text


@pytest.mark.parametrize("change", ["cropped", "mirrored", "transposed", "wider", "floating"])
def test_a_copy_in_disguise_is_recognised(
    sample: NDArray[np.uint8], network: Path, change: str
) -> None:
    copies = {
        "cropped": sample[1:3, 17:90, 40:],
        "mirrored": sample[:4, ::-1, ::-1],
        "transposed": sample[3::-1].transpose(0, 2, 1),
        "wider": np.pad(sample[:4].astype(np.uint16), ((0, 0), (30, 3), (1, 40))),
        "floating": sample[:4].astype(np.float32),
    }
    with pytest.raises(LeakageError):
        require_unseen(copies[change], [network], what="copy")


def test_small_parts_are_recognised_together(sample: NDArray[np.uint8], network: Path) -> None:
    """One window in 256 is marked: a section of 20 x 40 pixels has one mark or two."""
    (seen,) = require_unseen(sample[:6, 50:70, 50:90], [network], what="part", allow=True)
    assert {z for begin, end in seen.sections for z in range(begin, end)} <= {0, 1, 2, 3}


def test_half_of_a_section_is_told_as_half(sample: NDArray[np.uint8], tmp_path: Path) -> None:
    left = model(tmp_path / "left.safetensors", sample[:2, :, :65])
    (seen,) = require_unseen(sample[:2], [left], what="sample", allow=True)
    assert 0.4 < seen.share < 0.6
    assert require_unseen(sample[:2, :, 65:], [left], what="sample") == ()


def test_every_model_is_asked(sample: NDArray[np.uint8], network: Path, tmp_path: Path) -> None:
    other = model(tmp_path / "forest.safetensors", sample[6:8], first=36, name="more")
    found = require_unseen(sample, [network, other, network], what="sample", allow=True)
    assert [(s.model, s.sections, s.learned) for s in found] == [
        ("taught.safetensors", ((0, 4),), ((0, 4),)),
        ("forest.safetensors", ((6, 8),), ((36, 38),)),
    ]


def test_of_an_old_file_it_is_said_that_nothing_can_be_told(
    sample: NDArray[np.uint8], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = save_dark_network(tmp_path / "old.safetensors")
    assert require_unseen(sample, [old], what="sample") == ()
    assert "cannot be told: old.safetensors does not record it" in caplog.text


@pytest.mark.parametrize("raw", [np.zeros((3, 90, 90), np.uint8), np.ones((3, 5, 5), np.uint8)])
def test_of_blank_or_tiny_volumes_it_is_said_that_nothing_can_be_told(
    raw: NDArray[np.uint8], network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert require_unseen(raw, [network], what="sample") == ()
    assert "too small or blank" in caplog.text


# ------------------------------------------------------------------ outputs


def test_what_the_network_of_an_output_learned_from_is_not_scored(output: Path) -> None:
    with pytest.raises(LeakageError, match=r"sections 0:4 .* of fly 0:4"):
        check(output, 0, SHAPE[0])
    with pytest.raises(LeakageError, match=r"sections 3:4 .* of fly 0:4"):
        check(output, 3, 8)
    verdict = check(output, 4, SHAPE[0])
    assert (verdict.seen, verdict.unknown) == ((), ())


def test_only_the_scored_part_counts(output: Path) -> None:
    right = Box((0, 0, 100), (4, 120, 130))
    (seen,) = check_scored(output, right, SHAPE, maps=True, allow=True).seen
    assert seen.sections == ((0, 4),)
    on_the_finest_grid = Box((8, 0, 0), (20, 240, 260))
    shape = (20, 240, 260)
    assert not check_scored(output, on_the_finest_grid, shape, maps=True).seen


def test_reading_in_small_pieces_gives_the_same_marks(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = check(output, 0, SHAPE[0], allow=True)
    monkeypatch.setattr(seen_output, "READ_VOXELS", 5000)
    monkeypatch.setattr(seen_output, "READ_SECTIONS", 3)
    assert check(output, 0, SHAPE[0], allow=True) == whole


def test_an_array_inside_the_output_is_of_the_output(output: Path) -> None:
    assert check(output / "0", 0, 2, allow=True).seen


def test_a_model_file_that_was_replaced_since_changes_nothing(
    sample: NDArray[np.uint8], tmp_path: Path
) -> None:
    raw = write_volume(tmp_path / "raw.zarr", sample, SECTIONS_NM)
    network = model(tmp_path / "m.safetensors", sample[:4])
    output = segmented(raw, network, tmp_path / "out.neurons.zarr")
    model(network, sample[8:])
    assert check(output, 0, SHAPE[0], allow=True).seen[0].sections == ((0, 4),)
    network.unlink()
    assert check(output, 0, SHAPE[0], allow=True).seen[0].sections == ((0, 4),)


def test_another_model_brings_its_record_and_the_old_one_goes(
    sample: NDArray[np.uint8], tmp_path: Path
) -> None:
    raw = write_volume(tmp_path / "raw.zarr", sample, SECTIONS_NM)
    output = tmp_path / "out.neurons.zarr"
    segmented(raw, model(tmp_path / "a.safetensors", sample[:4]), output)
    second = model(tmp_path / "b.safetensors", sample[8:], first=8)
    segmented(raw, second, output)
    assert check(output, 0, SHAPE[0], allow=True).seen[0].sections == ((8, 10),)
    segmented(raw, second, output)  # nothing is left to do
    assert len(list((output / ".pipeline" / "learned_from").iterdir())) == 1


def test_an_output_without_kept_records_asks_the_model_file(output: Path, network: Path) -> None:
    shutil.rmtree(output / ".pipeline" / "learned_from")
    assert check(output, 0, SHAPE[0], allow=True).seen
    record = Ledger(output).folder / "boundaries.json"
    content = json.loads(record.read_text())
    content["content"]["files"] = ["0" * 64]
    record.write_text(json.dumps(content))
    verdict = check(output, 0, SHAPE[0])
    assert verdict.seen == ()
    assert "does not keep what the models of stage boundaries learned from" in verdict.unknown[0]


def test_a_damaged_kept_record_is_one_clear_error(output: Path) -> None:
    (kept,) = (output / ".pipeline" / "learned_from").iterdir()
    for text in ("", "{}", "[]", '{"model": "a", "record": "{}"}'):
        kept.write_text(text)
        with pytest.raises(OutputError, match="damaged; remove it, and run the same command"):
            check(output, 0, SHAPE[0])


def test_without_the_input_nothing_can_be_told(
    sample: NDArray[np.uint8], network: Path, tmp_path: Path
) -> None:
    raw = write_volume(tmp_path / "raw.zarr", sample, SECTIONS_NM)
    output = segmented(raw, network, tmp_path / "out.neurons.zarr")
    shutil.rmtree(raw)
    assert "the input cannot be read any more" in check(output, 0, 4).unknown[0]
    write_volume(raw, sample[:, :60], SECTIONS_NM)
    assert "another shape" in check(output, 0, 4).unknown[0]
    shutil.rmtree(raw)
    write_volume(raw, sample[::-1].copy(), SECTIONS_NM)
    verdict = check(output, 0, SHAPE[0], allow=True)
    assert verdict.unknown == ("the input has changed since the run",)
    assert verdict.seen[0].sections == ((6, 10),)


def test_of_a_bare_prediction_nothing_can_be_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = check(tmp_path / "labels.tif", 0, 4)
    assert verdict.seen == ()
    assert "a bare prediction" in caplog.text


def test_a_map_is_not_held_against_the_forests(sample: NDArray[np.uint8], output: Path) -> None:
    ledger = Ledger(output)
    ledger.start("edges", "of a forest", {"files": ["1" * 64]})
    content = gathered(map(section_marks, sample[8:]))
    record = TrainingRecord((Learned("forest data", ((8, 10),), content),))
    kept = ledger.folder / "learned_from" / f"{'1' * 64}.json"
    kept.write_text(json.dumps({"model": "forest.safetensors", "record": record.as_text()}))
    assert not check(output, 4, SHAPE[0]).seen
    with pytest.raises(LeakageError, match=r"sections 8:10 .*forest\.safetensors"):
        check_scored(output, scored(4, SHAPE[0]), SHAPE)


def test_seen_sections_are_printed_before_scores_and_stand_in_the_json(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = check(output, 2, 6, allow=True)
    print_seen(verdict)
    line = (
        "seen in training: sections 2:4 (100% of them) are of fly 0:4, from which "
        "taught.safetensors learned\n"
    )
    assert capsys.readouterr().out == line
    found = json.loads(with_seen('{"arand_error": 0.5}', verdict))
    assert found["arand_error"] == 0.5
    assert found["seen_in_training"]["unknown"] == []
    (seen,) = found["seen_in_training"]["seen"]
    assert (seen["model"], seen["volume"]) == ("taught.safetensors", "fly")
    assert (seen["sections"], seen["learned"], seen["share"]) == ([[2, 4]], [[0, 4]], 1.0)
    print_seen(check(output, 4, 6))
    assert capsys.readouterr().out == ""


def test_a_damaged_model_record_ends_the_run_before_it_begins(
    sample: NDArray[np.uint8], tmp_path: Path
) -> None:
    raw = write_volume(tmp_path / "raw.zarr", sample, SECTIONS_NM)
    network = save_dark_network(tmp_path / "m.safetensors")
    extend_header(network, {"learned_from": "{"})
    with pytest.raises(ModelError, match=r"m\.safetensors: damaged record"):
        segmented(raw, network, tmp_path / "out.neurons.zarr")


def test_warnings_name_the_prediction(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check(output, 0, 3, allow=True)
    assert f"{output}: seen in training: sections 0:3" in caplog.text

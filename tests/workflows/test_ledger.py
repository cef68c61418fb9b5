"""Records, done marks and failures of an output."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract import Stage, StageConfig
from pipeline.errors import OutputError
from workflows.parts import part_path, save_part
from workflows.provenance import (
    Ledger,
    Record,
    differences,
    fingerprint_content,
    fingerprint_of,
)

KEPT = {"edges": (3, 5, 2**64 - 1), "nodes": (0, 1, 0)}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def marks_file(ledger: Ledger) -> Path:
    return ledger.folder / "graph.marks" / "blocks"


def test_marks_are_the_index_of_what_was_kept(ledger: Ledger) -> None:
    assert ledger.done("graph", "blocks") == {}
    ledger.mark("graph", "blocks", "0.0.1", KEPT)
    ledger.mark("graph", "blocks", "0.1.0", {})
    ledger.mark("graph", "sum of 8", "0", {"edges": (1, 7, 7)})
    assert ledger.done("graph", "blocks") == {"0.0.1": KEPT, "0.1.0": {}}
    assert ledger.done("graph", "sum of 8") == {"0": {"edges": (1, 7, 7)}}
    assert ledger.done("lifted", "blocks") == {}


def test_the_summary_of_a_part_survives_its_mark(ledger: Ledger) -> None:
    path = part_path(ledger.parts("graph", "blocks"), "0.0.0")
    kept = save_part(path, {"edges": {"key": np.array([4, 2**63], np.uint64)}})
    ledger.mark("graph", "blocks", "0.0.0", kept)
    assert ledger.done("graph", "blocks") == {"0.0.0": {"edges": (2, 4, 2**63)}}


def test_a_mark_cut_anywhere_does_not_count_and_spoils_no_other(ledger: Ledger) -> None:
    ledger.mark("graph", "blocks", "0.0.0", KEPT)
    whole = marks_file(ledger).read_bytes()
    ledger.mark("graph", "blocks", "0.0.10", KEPT)
    both = marks_file(ledger).read_bytes()
    for size in range(len(whole), len(both) - 1):
        marks_file(ledger).write_bytes(both[:size])
        assert set(ledger.done("graph", "blocks")) == {"0.0.0"}, size
        ledger.mark("graph", "blocks", "1.0.0", {})
        assert set(ledger.done("graph", "blocks")) == {"0.0.0", "1.0.0"}, size


def test_a_task_that_is_done_again_has_its_last_summary(ledger: Ledger) -> None:
    ledger.mark("graph", "blocks", "0.0.0", {"edges": (1, 2, 3)})
    ledger.mark("graph", "blocks", "0.0.0", KEPT)
    assert ledger.done("graph", "blocks") == {"0.0.0": KEPT}


def test_unmarking_forgets_one_step(ledger: Ledger) -> None:
    ledger.unmark("graph", "blocks")
    ledger.mark("graph", "blocks", "0", {})
    ledger.mark("graph", "sums", "0", {})
    ledger.unmark("graph", "blocks")
    assert ledger.done("graph", "blocks") == {}
    assert ledger.done("graph", "sums") == {"0": {}}


def test_a_failure_is_known_until_its_task_is_done(ledger: Ledger) -> None:
    assert ledger.failed("graph", "blocks") == {}
    ledger.note_failure("graph", "blocks", "0.0.1", "Traceback: first\nsecond")
    ledger.note_failure("graph", "blocks", "0.0.2", "once")
    ledger.note_failure("graph", "blocks", "0.0.2", "twice")
    assert ledger.failed("graph", "blocks") == {
        "0.0.1": "Traceback: first\nsecond",
        "0.0.2": "twice",
    }
    ledger.mark("graph", "blocks", "0.0.2", {})
    assert set(ledger.failed("graph", "blocks")) == {"0.0.1"}
    ledger.forget("graph")
    assert ledger.failed("graph", "blocks") == {}


def test_starting_a_stage_forgets_all_of_it_and_nothing_else(ledger: Ledger) -> None:
    for stage in ("graph", "edges"):
        ledger.start(stage, "old")
        ledger.mark(stage, "blocks", "0", KEPT)
        save_part(part_path(ledger.parts(stage, "blocks"), "0"), {"t": {"a": np.zeros(1)}})
    started = ledger.start("graph", "new", {"version": 3})
    assert ledger.record("graph") == started
    assert (started.fingerprint, started.finished, started.content) == (
        "new",
        False,
        {"version": 3},
    )
    assert ledger.done("graph", "blocks") == {}
    assert not ledger.parts("graph", "blocks").exists()
    assert ledger.done("edges", "blocks") == {"0": KEPT}
    assert part_path(ledger.parts("edges", "blocks"), "0").is_file()


def test_finishing_removes_the_parts_of_all_steps_and_keeps_the_marks(ledger: Ledger) -> None:
    record = ledger.start("graph", "f")
    for step in ("blocks", "sums"):
        save_part(part_path(ledger.parts("graph", step), "0"), {"t": {"a": np.zeros(1)}})
        ledger.mark("graph", step, "0", KEPT)
    ledger.finish(record.worked("blocks", 1, 2.0, 10))
    found = ledger.record("graph")
    assert found is not None
    assert found.finished
    assert found.started <= found.ended
    assert not ledger.parts("graph", "blocks").exists()
    assert not ledger.parts("graph", "sums").exists()
    assert set(ledger.done("graph", "blocks")) == {"0"}


def test_work_of_several_runs_adds_up_and_memory_is_the_largest(ledger: Ledger) -> None:
    record = ledger.start("graph", "f")
    record = record.worked("blocks", 8, 2.0, 100, voxels=5000, workers=2)
    record = record.worked("sums", 1, 0.5, 70, rows=12, workers=2)
    record = record.worked("blocks", 8, 1.0, 50, voxels=3000, workers=4)
    steps = {one.name: one for one in record.steps}
    assert (steps["blocks"].tasks, steps["blocks"].seconds) == (8, 3.0)
    assert (steps["blocks"].voxels, steps["blocks"].peak_bytes) == (8000, 100)
    assert (steps["sums"].rows, steps["sums"].peak_bytes) == (12, 70)
    assert (record.blocks, record.seconds, record.voxels) == (8, 3.5, 8000)
    assert (record.peak_bytes, record.workers) == (100, 4)
    ledger.save(record)
    assert ledger.record("graph") == record
    summary = record.summary()
    assert json.loads(json.dumps(summary))["voxels"] == 8000
    assert "content" not in summary


def test_passes_stand_in_the_order_in_which_they_ran(ledger: Ledger) -> None:
    record = ledger.start("graph", "f").worked("sizes", 1, 1, 1).worked("blocks", 1, 1, 1)
    record = record.worked("sizes", 1, 1, 1)
    assert [one.name for one in record.steps] == ["sizes", "blocks"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"stage": "graph", "fingerprint": "f", "finished": True, "blocks": 8}, "blocks"),
        ({"stage": "graph", "finished": True}, "fingerprint"),
        ({"stage": "graph", "fingerprint": "f", "finished": True, "steps": [{"name": "a"}]},
         r"steps\.0\.tasks"),
        ([], "another version"),
    ],
    ids=["unknown field", "missing field", "step without tasks", "no object"],
)  # fmt: skip
def test_a_record_of_another_version_is_stale_and_says_so(
    ledger: Ledger, content: object, why: str
) -> None:
    ledger.folder.mkdir()
    (ledger.folder / "graph.json").write_text(json.dumps(content))
    record = ledger.record("graph")
    assert record is not None
    assert (record.stage, record.fingerprint, record.finished) == ("graph", "", False)
    assert re.search(why, record.unreadable)


def test_a_damaged_record_is_an_error_that_says_what_to_do(ledger: Ledger) -> None:
    ledger.folder.mkdir()
    (ledger.folder / "graph.json").write_text('{"stage": "gra')
    with pytest.raises(OutputError, match=r"graph\.json: damaged record.*remove it"):
        ledger.record("graph")
    assert ledger.record("edges") is None


def test_a_second_run_is_refused(ledger: Ledger) -> None:
    with ledger.lock(), pytest.raises(OutputError, match="in use by another run"), ledger.lock():
        pass
    with ledger.lock():
        pass


class SomeConfig(StageConfig):
    depth: int = 3
    forest: str = "auto"


def some_stage(version: int = 1) -> Stage:
    return Stage("graph", version, SomeConfig, reads=())


def test_what_decides_a_result_and_nothing_else_enters_the_fingerprint(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    here.write_text("trees")
    there.write_text("trees")

    def of(version: int = 1, file: Path = here, raw: str = "r", **config: int) -> str:
        section = SomeConfig(forest=str(file), **config)
        inputs, geometry = {"raw": raw}, {"shape": [1, 2, 3]}
        return fingerprint_of(
            fingerprint_content(some_stage(version), section, [str(file)], inputs, geometry)
        )

    assert of() == of(file=there)
    assert len({of(), of(version=2), of(raw="s"), of(depth=4)}) == 4
    there.write_text("other trees")
    assert of() != of(file=there)


def test_a_stale_stage_says_what_changed() -> None:
    def content(version: int = 1, raw: str = "r", size: int = 3, **config: object) -> dict:
        section = SomeConfig.model_validate(config)
        return fingerprint_content(some_stage(version), section, [], {"raw": raw}, {"shape": size})

    old = json.loads(json.dumps(content()))
    assert differences(old, content()) == []
    assert fingerprint_of(old) == fingerprint_of(content())
    assert differences(old, content(depth=5)) == ["depth: 3 -> 5"]
    assert differences(old, content(version=2, raw="s", size=4)) == [
        "version of the stage: 1 -> 2",
        "raw changed",
        "shape or voxel size of the volume changed",
    ]
    assert differences({**old, "inputs": {"raw": "r", "mask": "m"}}, content()) == [
        "mask is not given any more"
    ]
    assert differences(Record("graph", "f", True).content, content()) == [
        "its record does not say what it was computed from"
    ]


def test_what_is_forgotten_is_gone_also_where_files_cannot_be_removed_yet(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.start("graph", "f")
    ledger.mark("graph", "blocks", "0", KEPT)
    save_part(part_path(ledger.parts("graph", "blocks"), "0"), {"t": {"a": np.zeros(1)}})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        ledger.forget("graph")
    assert ledger.record("graph") is None
    assert ledger.done("graph", "blocks") == {}
    assert not ledger.parts("graph", "blocks").exists()
    ledger.claim("next")
    assert [one.name for one in ledger.folder.iterdir()] == ["run.next"]


def test_a_file_system_without_locks_is_named(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(OutputError, match=r"cannot be locked \(No locks available\)"),
        ledger.lock(),
    ):
        pass

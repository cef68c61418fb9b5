"""Tables, files and child processes of the benchmarks."""

from __future__ import annotations

import subprocess
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import reports
from benchmarks.children import Steps, forget_peak, measured, medians, peak_bytes, resident_bytes
from benchmarks.reports import commit, machine, machine_sentence, markdown_table, write_whole

MEBIBYTE = 2**20


def test_a_table_rounds_numbers_and_keeps_text() -> None:
    table = markdown_table(["what", "n", "s"], [["fit", 12345, 0.123456], ["none", None, 98765.4]])
    assert table.splitlines() == [
        "| what | n | s |",
        "|---|---:|---:|",
        "| fit | 12345 | 0.123 |",
        "| none | – | 98765 |",
    ]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "speed.md"
    write_whole(path, "# old\n")
    write_whole(path, "# Speed – neu\n")
    assert path.read_text("utf-8") == "# Speed – neu\n"
    assert [p.name for p in tmp_path.iterdir()] == ["speed.md"]


def test_the_machine_is_named_with_its_cores_versions_and_commit() -> None:
    facts = machine()
    sentence = machine_sentence(facts)
    assert f"numpy {np.__version__}" in sentence
    assert f"{facts['cores']} cores" in sentence
    assert sentence.endswith(f"commit {facts['commit']}.")


def test_outside_a_repository_the_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == "unknown"


def test_pages_do_not_make_a_commit_unclean_but_programs_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *name, *arguments], cwd=tmp_path, check=True, capture_output=True)

    names = ("README.md", "benchmarks/results/x.json", "pipeline/program.py")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "a")
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    for name, unclean in zip(names, (False, False, True), strict=True):
        (tmp_path / name).write_text("2")
        assert commit().endswith("+") == unclean
    git("commit", "-a", "-m", "b")
    assert not commit().endswith("+")
    (tmp_path / "pipeline" / "another.py").write_text("1")
    assert commit().endswith("+")


def test_a_gpu_is_named_where_there_is_one() -> None:
    facts = {**machine(), "gpu": "a GPU"}
    assert f"{facts['cores']} cores, a GPU, {facts['system']}" in machine_sentence(facts)


def test_medians_take_every_value_by_itself() -> None:
    runs = [
        {"fit": {"cpu": cpu, "wall": wall}} for cpu, wall in ((1.0, 9.0), (3.0, 2.0), (2.0, 4.0))
    ]
    assert medians(runs) == {"fit": {"cpu": 2.0, "wall": 4.0}}


def test_steps_tell_waiting_from_computing_and_see_a_peak() -> None:
    steps = Steps()
    with steps.step("wait"):
        time.sleep(0.2)
    with steps.step("allocate"):
        before = resident_bytes()
        np.ones(64 * MEBIBYTE, np.uint8)
    assert list(steps.measured) == ["wait", "allocate"]
    assert steps.measured["wait"]["wall"] >= 0.2
    assert steps.measured["wait"]["cpu"] < steps.measured["wait"]["wall"] / 2
    assert steps.measured["allocate"]["peak_bytes"] >= before + 60 * MEBIBYTE


def test_a_forgotten_peak_does_not_come_back() -> None:
    np.ones(256 * MEBIBYTE, np.uint8)
    high = peak_bytes()
    forget_peak()
    if peak_bytes() == high:
        pytest.skip("this system cannot reset the peak")
    assert peak_bytes() <= high - 100 * MEBIBYTE


CHILD = """
import os, sys, time
from benchmarks.children import child_main, peak_bytes

def measure(job):
    if job.get("sleep"):
        time.sleep(job["sleep"])
    if job.get("fail"):
        raise ValueError("no such thing")
    return {"twice": 2 * job["n"], "threads": os.environ["OMP_NUM_THREADS"], "peak": peak_bytes()}

child_main(measure)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "measuring_child.py").write_text(textwrap.dedent(CHILD))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "measuring_child"


def test_a_child_gets_its_job_and_threads_and_answers(child: str) -> None:
    answer = measured(child, {"n": 21}, threads=3)
    assert (answer["twice"], answer["threads"]) == (42, "3")


def test_the_memory_of_the_parent_is_not_counted_as_the_childs(child: str) -> None:
    held = np.ones(512 * MEBIBYTE, np.uint8)
    assert measured(child, {"n": 1}, threads=1)["peak"] < held.nbytes


def test_a_child_that_fails_gives_its_last_words(child: str) -> None:
    answer = measured(child, {"n": 1, "fail": True}, threads=1)
    assert answer == {"error": "ended with 1: ValueError: no such thing"}


def test_a_child_that_takes_too_long_is_ended(child: str) -> None:
    answer = measured(child, {"n": 1, "sleep": 60}, threads=1, timeout_s=2.0)
    assert answer == {"error": "not finished within 2 s"}

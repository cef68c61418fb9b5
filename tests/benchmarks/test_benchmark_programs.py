"""Benchmarks end mistakes of the user as ``python -m pipeline`` does: one line, exit code 2."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.reports import ROOT

SOURCES = {path.stem: path.read_text("utf-8") for path in (ROOT / "benchmarks").glob("*.py")}
TAKE_DATA = ('"--data"', "arguments(__doc__", "options_parser(__doc__")
WITH_DATA = sorted(
    name
    for name, source in SOURCES.items()
    if "\n    as_program(main)\n" in source and any(words in source for words in TAKE_DATA)
)
"""Programs that take ``--data``."""
ALSO = {"choose_parameters": ("--network", "one", "--network", "two")}
"""What a program asks for beside it."""
NO_OUTPUT = ("measured_halo", "choose_parameters", "record_training_data")


def run(program: str, *words: str) -> int:
    """Exit code of a program that is called with these words."""
    sys.argv = [program, *words]
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "benchmarks" / f"{program}.py"), run_name="__main__")
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_programs_are_found() -> None:
    assert {"isbi2012", "planes", "defects", "table1_networks"} <= set(WITH_DATA)
    assert {"leave_one_out", "left_out_networks"} <= set(WITH_DATA)


@pytest.mark.parametrize("program", WITH_DATA)
def test_a_data_folder_that_is_not_there_is_one_line_and_exit_code_2(
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    missing = tmp_path / "no-such-folder"
    words = ["--data", str(missing), *ALSO.get(program, ())]
    if program not in NO_OUTPUT:
        words += ["--output", str(tmp_path / "output")]
    assert run(program, *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert str(missing) in lines[0]
    assert not missing.exists()


def test_a_stack_that_is_not_there_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    missing = str(tmp_path / "truth.tif")
    assert run("isbi2012_submission", str(tmp_path / "stack.tif"), missing) == 2
    assert capsys.readouterr().err == f"error: {missing}: no such file\n"

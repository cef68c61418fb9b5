from __future__ import annotations

import pytest

from benchmarks.endings import as_program
from pipeline.errors import LeakageError


def test_an_error_of_the_user_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise LeakageError("stack 3: learned from")

    with pytest.raises(SystemExit) as ended:
        as_program(main)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: stack 3: learned from\n"


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        as_program(lambda: 1 / 0)

"""Lines of progress where there is no terminal, and quantities as people read them."""

from __future__ import annotations

import doctest
import io
import sys

import pytest
from rich.console import Console

from workflows import progress, quantities
from workflows.progress import counted, progress_bar, stage_ended, titled


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_quantities_read_as_their_examples_say() -> None:
    assert doctest.testmod(quantities).failed == 0
    assert doctest.testmod(quantities).attempted >= 3


def test_titles_say_how_far_the_run_is() -> None:
    assert titled("superpixels") == "[5/11] superpixels"
    assert titled("graph, ranges") == "[6/11] graph, ranges"
    assert titled("training") == "training"


def test_short_passes_of_a_stage_are_silent(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("graph, ranges", 3) as advance:
        for _ in range(3):
            clock.now += 1
            advance(1, "")
    assert capsys.readouterr().err == ""


def test_long_passes_give_a_line_every_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("superpixels", 10, 2, voxels_per_task=8_000_000) as advance:
        for _ in range(8):
            clock.now += 4
            advance(1, "")
    assert capsys.readouterr().err.splitlines() == [
        "[5/11] superpixels: 5/10 blocks, 12 s, 0.25 blocks/s, 2 Mvoxel/s, 20 s left",
        "[5/11] superpixels: 8/10 blocks, 24 s, 0.25 blocks/s, 2 Mvoxel/s, 8.0 s left",
    ]


def test_steps_have_tasks_and_no_voxels(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("graph, ranges", 4) as advance:
        clock.now += 20
        advance(1, "")
    assert capsys.readouterr().err == (
        "[6/11] graph, ranges: 1/4 tasks, 20 s, 0.05 tasks/s, 1 min 0 s left\n"
    )


def test_work_that_is_no_stage_says_when_it_is_done(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with counted("import") as show:
        for done in range(1, 4):
            clock.now += 1
            show(done, 3)
    assert capsys.readouterr().err == "import: 3/3 steps, 2.0 s, 1.5 steps/s, 0.0 s left\n"


def test_a_sign_of_life_where_one_block_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "ALIVE_SECONDS", 0.01)
    with progress_bar("boundaries", 2) as advance:
        while not (seen := capsys.readouterr().err):
            pass
        advance(1, "")
    assert seen.startswith("[4/11] boundaries: 0/2 blocks, 0.0 s, working")


def test_each_stage_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    stage_ended("superpixels", 12, 60.0, 120_000_000)
    stage_ended("labels", 1, 2.0, 1_000_000)
    stage_ended("multicut", 0, 7.5, 0)
    assert capsys.readouterr().err.splitlines() == [
        "[5/11] superpixels: 12 blocks in 1 min 0 s, 2 Mvoxel/s",
        "[11/11] labels: 1 block in 2.0 s, 0.5 Mvoxel/s",
        "[10/11] multicut: done in 7.5 s",
    ]


def test_a_terminal_shows_a_bar_that_goes_when_the_pass_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(
        progress, "Console", lambda **_: Console(file=screen, force_terminal=True, width=160)
    )
    with progress_bar("superpixels", 4, voxels_per_task=8_000_000) as advance:
        advance(3, "nearly")
    shown = screen.getvalue()
    assert "[5/11] superpixels" in shown
    assert "3/4" in shown
    assert "blocks/s" in shown
    assert "Mvoxel/s" in shown
    assert "nearly" in shown

"""What a benchmark publishes can be read back, and gives the same Markdown again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import published
from benchmarks.published import (
    NOT_MEASURED,
    Table,
    as_markdown,
    cell_text,
    command_line,
    publish,
    read,
    table_markdown,
)
from benchmarks.reports import ROOT
from pipeline.errors import InputError

FACTS = {
    "processor": "a processor",
    "cores": 2,
    "gpu": None,
    "system": "Linux",
    "python": "3.12",
    "versions": {"numpy": "2.0", "torch": None},
    "commit": "of the machine",
}
TABLE = Table(
    "Scores",
    ("method", "V_rand", "paper V_rand", "sections"),
    (
        ("multicut", np.float32(0.5), 0.98788, 6),
        ("max TTA", None, 0.25, np.int64(6)),
        ("RCNet", NOT_MEASURED, -0.00001, None),
        ("old, seen in training", 1, float("nan"), 12),
    ),
    note="RCNet: `python -m benchmarks.isbi2012`.",
    decimals=3,
)
MARKDOWN = """# A title

2026-11-21, `python -m benchmarks.x`. a processor, 2 cores, Linux; Python 3.12, numpy 2.0; \
commit abc1234.

## Before

A sentence.

## Scores

| method | V_rand | paper V_rand | sections |
|---|---:|---:|---:|
| multicut | 0.500 | 0.988 | 6 |
| max TTA | – | 0.250 | 6 |
| RCNet | — | 0.000 | – |
| 🔴 old, **seen in training** | 1 | nan | 12 |

RCNet: `python -m benchmarks.isbi2012`.

![curve](x-curve.png)
"""


@pytest.fixture(autouse=True)
def known_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    class Today(published.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Today:
            return cls(2026, 11, 21, tzinfo=tz)

    monkeypatch.setattr(published, "datetime", Today)
    monkeypatch.setattr(published, "machine", lambda: FACTS)
    monkeypatch.setattr(published, "_COMMIT", "abc1234")
    monkeypatch.setattr(published, "command_line", lambda: "python -m benchmarks.x")


def curve() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def published_once(folder: Path, **changes: Any) -> Path:
    arguments: dict[str, Any] = {
        "text": "## Before\n\nA sentence.\n",
        "values": {"rows": [{"v_rand": np.float64(0.5)}], "ids": np.arange(2)},
        "figures": {"curve": curve()},
    }
    return publish(folder, "x", "A title", [TABLE], **(arguments | changes))


def test_the_json_alone_gives_the_markdown_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = published_once(tmp_path)
    assert path == tmp_path / "x.json"
    assert (tmp_path / "x.md").read_text("utf-8") == MARKDOWN
    assert capsys.readouterr().out == f"{MARKDOWN}\n"
    found = read(path)
    assert as_markdown(found) == MARKDOWN
    assert found.values == {"rows": [{"v_rand": 0.5}], "ids": [0, 1]}
    assert found.made.commit == "abc1234"
    assert not found.made.quick


def test_the_same_benchmark_writes_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        published_once(tmp_path / folder)
    for name in ("x.json", "x.md", "x-curve.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "first").iterdir()) == [
        *("x-curve.png", "x.json", "x.md"),
    ]


def test_inside_another_page_all_headings_lie_deeper(tmp_path: Path) -> None:
    text = as_markdown(read(published_once(tmp_path)), 2, "results/")
    assert text.startswith("## A title\n")
    assert "\n### Before\n" in text
    assert "\n### Scores\n" in text
    assert "](results/x-curve.png)" in text


def test_a_quick_trial_says_so(tmp_path: Path) -> None:
    path = published_once(tmp_path, quick=True)
    assert read(path).made.quick
    assert "**A quick trial, not a result.**" in (tmp_path / "x.md").read_text("utf-8")


def test_values_that_json_lacks_become_text_and_paths_of_the_checkout_relative(
    tmp_path: Path,
) -> None:
    values = {"worst": float("inf"), "model": ROOT / "runs" / "m.safetensors", 3: (1, None)}
    path = published_once(tmp_path, values=values)
    assert read(path).values == {"worst": "inf", "model": "runs/m.safetensors", "3": [1, None]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"extra": 1}, "extra"),
        ({"tables": [{"title": "", "columns": ["a"]}]}, "tables.0.rows"),
        ({"tables": [{"title": "", "columns": ["a"], "rows": [[1, 2]]}]}, "1 columns"),
        ({"made": {"date": "2026-11-21"}}, "made.commit"),
    ],
)
def test_a_file_of_another_form_is_refused(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = published_once(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=named):
        read(path)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"x\.json is not what a benchmark published"):
        read(path)


def test_a_row_needs_a_cell_for_every_column() -> None:
    with pytest.raises(ValueError, match="2 columns"):
        Table("", ("a", "b"), (("x",),))


def test_only_columns_of_numbers_are_aligned_right() -> None:
    table = Table("", ("a", "b", "c", "d"), (("x", "5 %", "1.5 (2.5)", None), ("y", 3, 2, None)))
    assert table_markdown(table).splitlines()[1] == "|---|---:|---|---|"


def test_a_cell_cannot_break_its_row() -> None:
    assert cell_text("a|b\nc", 2) == "a\\|b c"


def test_a_cell_that_was_marked_already_is_marked_once() -> None:
    assert cell_text("**seen in training**", 2) == "🔴 **seen in training**"


def test_the_command_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    arguments = ["--data", "/srv/em volumes", "--output=/scratch/x", "--set", "a.b=[1, 2]"]
    arguments += ["--set", "a.c=/srv/net.x", "--forests", f"u={ROOT / 'runs' / 'e'},/srv/l"]
    inside = str(ROOT / "runs" / "benchmarks")
    monkeypatch.setattr(sys, "argv", ["x.py", *arguments, "--take", inside, "/srv/stack.tif"])
    assert command_line().split(" ", 3)[3] == (
        "--data DATA --output=OUTPUT --set 'a.b=[1, 2]' --set a.c=net.x --forests u=runs/e,l "
        "--take runs/benchmarks stack.tif"
    )


def test_a_figure_that_is_too_large_to_keep_gets_256_colours(tmp_path: Path) -> None:
    figure = Figure(figsize=(8, 8))
    noise = np.random.default_rng(0).random((900, 900, 3))
    figure.add_subplot().imshow(noise, interpolation="nearest")
    publish(tmp_path, "noise", "Noise", (), figures={"all": figure})
    with Image.open(tmp_path / "noise-all.png") as picture:
        assert picture.mode == "P"
        assert len(picture.getcolors() or ()) > 100
    assert (tmp_path / "noise-all.png").stat().st_size < published.LARGEST_BYTES

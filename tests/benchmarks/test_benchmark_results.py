"""``RESULTS.md`` is what the published files give, and only finished ones get in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from benchmarks import published, results
from benchmarks.cremi import WITHOUT_BAND
from benchmarks.headlines import HEADLINES, best_row, summary
from benchmarks.published import NOT_MEASURED, Table, publish, read
from benchmarks.results import KEPT, LARGEST_BYTES, PAGE, page_text, run, take
from pipeline.errors import InputError

ISBI = HEADLINES[0]
ROWS = (
    {"method": "max TTA", "threshold": "0.50 oracle", "v_rand": 0.99},
    {"method": "max TTA", "threshold": "0.55 train", "v_rand": 0.96},
    {"method": "multicut", "threshold": "", "v_rand": 0.97},
    {"method": "multicut, seen in training", "threshold": "", "v_rand": 0.995},
    {"method": "flood-filling network", "threshold": "", "v_rand": 0.999},
    {"method": "multicut, on the FFN's foreground", "threshold": "", "v_rand": 0.998},
    {"method": "3D only", "threshold": "", "v_rand": None},
)


@pytest.fixture(autouse=True)
def clean_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "_COMMIT", "abc1234")


def made(folder: Path, name: str = "isbi2012", **changes: Any) -> Path:
    table = Table("Scores", ("method", "V_rand"), (("multicut", 0.97),))
    arguments: dict[str, Any] = {"values": {"rows": ROWS}, "figures": {"curve": Figure((1, 1))}}
    return publish(folder, name, f"The {name}", [table], **(arguments | changes))


def test_the_page_in_the_repository_is_what_its_files_give() -> None:
    assert run([], KEPT, PAGE, check=True) == 0


def test_files_in_the_repository_are_small_and_of_clean_commits() -> None:
    for path in KEPT.glob("*"):
        assert path.stat().st_size <= LARGEST_BYTES
    for path in KEPT.glob("*.json"):
        assert read(path).made.commit.isalnum()
        assert read(path).made.commit != "unknown"


def test_a_finished_benchmark_is_taken_with_its_figures(tmp_path: Path) -> None:
    source, kept, page = tmp_path / "runs", tmp_path / "results", tmp_path / "RESULTS.md"
    made(source)
    made(source / "scaling", "scaling")
    assert run([source], kept, page, check=False) == 0
    assert sorted(p.name for p in kept.iterdir()) == [
        *("isbi2012-curve.png", "isbi2012.json", "scaling-curve.png", "scaling.json"),
    ]
    text = page.read_text("utf-8")
    assert text.index("## The isbi2012") < text.index("## The scaling")
    assert "- [The isbi2012](#isbi2012), 2" in text
    assert "(results/isbi2012-curve.png)" in text
    assert "| ISBI 2012, sections 14–19 | V_rand | 0.9700 | multicut | 0.9879 |" in text
    assert "commit abc1234." in text
    assert run([], kept, page, check=True) == 0


def test_a_page_that_was_changed_by_hand_is_out_of_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, page = tmp_path / "results", tmp_path / "RESULTS.md"
    assert run([], kept, page, check=True) == 1
    made(kept)
    run([], kept, page, check=False)
    page.write_text(page.read_text("utf-8").replace("0.9700", "0.9800"), "utf-8")
    capsys.readouterr()
    assert run([], kept, page, check=True) == 1
    assert "run python -m benchmarks.results" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("commit", "quick", "why"),
    [
        ("abc1234", True, "quick trial"),
        ("abc1234+", False, "changes to abc1234 that are no commit"),
        ("unknown", False, "its commit is unknown"),
    ],
)
def test_what_is_not_a_result_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str, quick: bool, why: str
) -> None:
    monkeypatch.setattr(published, "_COMMIT", commit)
    made(tmp_path / "runs", quick=quick)
    (line,) = take(tmp_path / "runs", tmp_path / "results")
    assert line.startswith("left out: ")
    assert why in line
    assert not list((tmp_path / "results").iterdir())


def test_large_lost_and_foreign_files_are_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "runs"
    made(source, "large", values={"all": "x" * LARGEST_BYTES})
    made(source, "lost")
    (source / "lost-curve.png").unlink()
    made(source, "renamed").rename(source / "other.json")
    (source / "old.json").write_text(json.dumps({"rows": []}))
    lines = list(take(source, tmp_path / "results"))
    assert [line.split(":")[0] for line in lines] == ["left out"] * 4
    for line, why in zip(
        lines, ("more than 1 MB", "is missing", "name: Field", "calls itself renamed"), strict=True
    ):
        assert why in line
    assert not list((tmp_path / "results").iterdir())


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        list(take(tmp_path / "none", tmp_path / "results"))


def test_checking_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave out --take"):
        run([tmp_path], KEPT, PAGE, check=True)


def test_the_best_row_is_ours_unseen_and_without_an_oracle(tmp_path: Path) -> None:
    found = read(made(tmp_path))
    row = best_row(ISBI, found)
    assert row is not None
    assert row["method"] == "multicut"


def test_a_cross_validation_counts_by_its_mean_over_the_folds(tmp_path: Path) -> None:
    def fold(first: float, second: float) -> dict[str, Any]:
        methods = {"max TTA": ("oracle", 1.0), "multicut": (None, first), "lifted": (None, second)}
        rows = [{"method": m, "chosen": c, "v_rand": v} for m, (c, v) in methods.items()]
        return {"rows": rows, "seen": []}

    folds = [fold(0.7, 0.9), fold(0.9, 0.8)]
    line = HEADLINES[1]
    row = best_row(line, read(made(tmp_path, values={"folds": folds})))
    assert row is not None
    assert (row["method"], row["v_rand"]) == ("lifted", pytest.approx(0.85))
    folds[0]["seen"] = ["sections 0-4"]
    assert best_row(line, read(made(tmp_path, values={"folds": folds}))) is None


def test_rows_of_a_stack_are_told_apart_and_may_have_the_best_threshold(tmp_path: Path) -> None:
    third, fourth = (line for line in HEADLINES if line.benchmark == "piriform")
    values = {
        model: {
            str(number): [{"method": "max TTA", "threshold": "0.5 oracle", "v_rand": score - lost}]
            for number, score in ((3, 0.9), (4, 0.8))
        }
        for model, lost in (("shipped", 0.2), ("rc_spcnet", 0.0))
    }
    found = read(made(tmp_path, "piriform", values=values))
    for line, score in ((third, 0.9), (fourth, 0.8)):
        row = best_row(line, found)
        assert row is not None
        assert (row["method"], row["v_rand"]) == ("rc_spcnet: max TTA", score)


def test_a_score_of_samples_is_their_mean(tmp_path: Path) -> None:
    line = next(line for line in HEADLINES if line.benchmark == "cremi")

    def sample(first: float, second: float | None) -> dict[str, Any]:
        methods = {"max TTA": first, "multicut": second}
        rows = [{"method": m, "threshold": "", "cremi": c} for m, c in methods.items()]
        return {WITHOUT_BAND: rows}

    values = {"A": sample(0.5, 0.1), "B": sample(0.7, None)}
    row = best_row(line, read(made(tmp_path, "cremi", values=values)))
    assert row is not None
    assert (row["method"], row["cremi"]) == ("max TTA", pytest.approx(0.6))


def test_a_data_set_without_results_names_the_command() -> None:
    table = summary({})
    assert len(table.rows) == len(HEADLINES)
    assert table.rows[0][:5] == (
        "ISBI 2012, sections 14–19",
        "V_rand",
        NOT_MEASURED,
        "run `python -m benchmarks.isbi2012 --data DATA`",
        0.987877739,
    )


def test_the_page_depends_on_nothing_but_the_files(tmp_path: Path) -> None:
    for name in ("peers", "isbi2012", "a_new_one"):
        made(tmp_path, name)
    text = page_text(tmp_path)
    order = [text.index(f"## The {name}") for name in ("isbi2012", "peers", "a_new_one")]
    assert order == sorted(order)
    assert text == page_text(tmp_path)


def test_every_named_benchmark_is_a_program() -> None:
    folder = Path(results.__file__).parent
    for line in HEADLINES:
        assert (folder / f"{line.benchmark}.py").is_file()

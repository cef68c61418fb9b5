"""``features`` lists what the stages write: no column more, no column less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.cli.features import Listed, products
from pipeline.config import load_config
from pipeline.contract import Resources, VolumeInfo
from pipeline.registry import stage

if TYPE_CHECKING:
    from conftest import Call

FLAT = VolumeInfo((1, 1, 1), (50.0, 4.0, 4.0), "uint8")
CUBIC = VolumeInfo((1, 1, 1), (8.0, 8.0, 8.0), "uint8")


def written(volume: VolumeInfo, preset: str | None = None, *overrides: str) -> dict[str, Any]:
    """Names and units of the columns of the three tables, as the stages' attributes."""
    config = load_config(preset, overrides).resolved(volume)
    about: dict[str, Any] = {}
    for name in ("features", "lifted"):
        attributes = stage(name).attributes
        assert attributes is not None
        about |= attributes(config.section(name), Resources(volume))
    return {
        table: list(
            zip(*(about[f"{table}/features"][key] for key in ("names", "units")), strict=True)
        )
        for table in ("edges", "nodes", "lifted")
    }


def listed(call: Call, *arguments: str) -> dict[str, Any]:
    answer = call("features", "--json", *arguments)
    assert answer.code == 0
    rows = json.loads(answer.out)
    assert all(row["family"] for row in rows)
    return {
        table: [(row["name"], row["unit"]) for row in rows if row["table"] == table]
        for table in ("edges", "nodes", "lifted")
    }


def test_json_lists_exactly_the_columns_that_the_stages_write(call: Call) -> None:
    assert listed(call) == listed(call, "--mode", "2d") == written(FLAT)
    assert listed(call, "--mode", "3d") == written(CUBIC)
    assert written(CUBIC) != written(FLAT)


def test_a_preset_and_overrides_change_the_list_as_they_change_the_run(call: Call) -> None:
    assert listed(call, "--config", "fib_sem") == written(CUBIC, "fib_sem")
    fewer = ("features.families=[raw, shape]", "lifted.families=[geometry]")
    options = [part for item in fewer for part in ("--set", item)]
    assert listed(call, *options) == written(FLAT, None, *fewer)
    assert {name.split("/")[0] for name, _ in listed(call, *options)["lifted"]} == {"geometry"}


@pytest.mark.parametrize("mode", ["2d", "3d"])
def test_the_text_stands_for_every_column_and_is_short(call: Call, mode: str) -> None:
    text = call("features", "--mode", mode).out
    columns = listed(call, "--mode", mode)
    for table, names in columns.items():
        assert f"{table}/features: {len(names)} columns" in text
        for name, _ in names:
            stem, _, ending = name.rpartition("/")
            assert name in text or (stem in text and ending in text), name
    assert len(text.splitlines()) < 120
    assert max(map(len, text.splitlines())) < 130


def test_names_with_the_same_endings_are_grouped() -> None:
    columns = [
        Listed("edges", "a", f"{stem}/{ending}", unit, "")
        for stem, unit in (("p", "nm"), ("q", "nm"), ("r", "1"))
        for ending in ("min", "max")
    ]
    found = [(stems, [c.name for c in members]) for stems, members in products(columns)]
    assert found == [(["p", "q"], ["p/min", "p/max"]), (["r"], ["r/min", "r/max"])]


def test_a_family_that_does_not_exist_is_an_error_of_one_line(call: Call, tmp_path: Path) -> None:
    answer = call("features", "--set", "features.families=[contact]")
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert "topology" in answer.errors[0]

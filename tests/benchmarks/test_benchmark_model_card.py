"""The scores in a model card are those that the benchmarks published."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.model_card import packaged_networks, score_lines
from benchmarks.published import publish
from pipeline.errors import InputError
from pipeline.packaged import model_path, packaged_models

ROW = {"threshold": "0.45 train", "v_rand": 0.97, "v_info": None, "arand": 0.125}


def test_only_thresholded_maps_are_listed(tmp_path: Path) -> None:
    for name in ("isbi2012", "snemi3d", "fib25"):
        rows = [{"method": "multicut", **ROW}, {"method": "mean TTA", **ROW}]
        publish(tmp_path, name, name, [], values={"rows": rows})
    assert score_lines(tmp_path) == [
        f"| {name} | mean TTA | 0.45 train | 0.9700 | – | 0.1250 |"
        for name in ("isbi2012", "snemi3d", "fib25")
    ]


def test_a_benchmark_that_was_not_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"isbi2012\.json is missing"):
        score_lines(tmp_path)


def test_every_packaged_network_has_a_card_and_no_forest_has() -> None:
    networks = set(packaged_networks())
    cards = {name for name in packaged_models() if model_path(name).with_suffix(".md").exists()}
    assert networks == cards >= {"default", "without-isbi2012"}

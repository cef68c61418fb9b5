from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_pipeline import save_dark_network

from benchmarks.fine_tuning import Row, as_markdown, configuration
from pipeline.boundaries.model import load_model


def test_the_table_holds_one_row_a_network() -> None:
    scores = (0.5, 0.95, 0.97, 0.96, 0.94, 0.93)
    rows = [
        Row("as it was", 10, 0, None, None, *scores),
        Row("fine-tuned", 3, 300, 241.0, 130.0, *scores),
    ]
    shown = "0.50 | 0.9500 | 0.9700 | 0.9600 | 0.9400 | 0.9300 |"
    assert as_markdown(rows).splitlines()[2:] == [
        f"| as it was | – | – | – | {shown}",
        f"| fine-tuned | 3 | 300 | 4.0 | {shown}",
    ]


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    (tmp_path / "isbi2012").mkdir()
    stack = np.random.default_rng(0).integers(0, 2, (20, 64, 64)).astype(np.uint8)
    for name in ("raw.tif", "membranes_z00-19.tif"):
        tifffile.imwrite(tmp_path / "isbi2012" / name, stack)
    base = save_dark_network(tmp_path / "dark.safetensors")
    return argparse.Namespace(data=tmp_path, base=base, steps=7, quick=False)


def test_only_the_first_sections_are_given_to_a_training(options: argparse.Namespace) -> None:
    for count in (1, 3, 10):
        config = configuration(count, True, options)
        assert config.volumes[0].sections == (0, count)
        assert config.training.steps == 7


def test_from_scratch_differs_in_its_start_and_learning_rate_alone(
    options: argparse.Namespace,
) -> None:
    tuned, scratch = (configuration(3, tuned, options) for tuned in (True, False))
    assert scratch.volumes == tuned.volumes
    assert scratch.start_from is None
    assert scratch.training.network.model_dump() == {
        **load_model(options.base).shape,
        "widths": (8, 8),
        "units": (1,) * 6,
        "dilations": (1,) * 4,
    }
    same = {"steps", "warmup_steps", "batch", "crop", "augmentation", "seed"}
    assert scratch.training.model_dump(include=same) == tuned.training.model_dump(include=same)

"""A run says which sections are defective, and its record keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_pipeline import paint_tissue, save_dark_network, settings, write_volume

from pipeline.contract import Box
from pipeline.synthesis.defects import missing
from workflows.prepare import Run, prepare
from workflows.reconstruct import reconstruct, status
from workflows.source import Source
from workflows.status import as_json

SENTENCE = "section 2 is empty: bridged by 1"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    tissue = paint_tissue((5, 48, 40), 30, 4.0)
    volume = write_volume(tmp_path / "volume.zarr", missing(tissue.raw, 2))
    network = save_dark_network(tmp_path / "network.safetensors")
    return prepare(
        Source(volume, None, None, None),
        settings(network),
        tmp_path / "output.zarr",
        block_shape=(2, 16, 16),
    )


def test_a_run_tells_of_defective_sections_once_and_keeps_it_in_the_record(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    reconstruct(run, until="foreground")
    assert f"sections: {SENTENCE}\n" in capsys.readouterr().err
    reconstruct(run, until="foreground")
    assert SENTENCE not in capsys.readouterr().err
    stages = as_json(run, status(run))["stages"]
    assert {s["stage"]: s["warnings"] for s in stages if s["warnings"]} == {"sections": [SENTENCE]}


def test_in_a_region_it_is_said_which_section_is_number_0(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = Source(run.source.path, None, None, Box((1, 0, 0), (5, 48, 40)))
    reconstruct(
        prepare(cut, run.config, tmp_path / "cut.zarr", block_shape=(2, 16, 16)), until="sections"
    )
    told = "section 1 is empty: bridged by 0; sections are counted from section 1, the first of"
    assert told in capsys.readouterr().err


def test_the_stored_table_is_whole_and_bridged_sections_keep_their_foreground(run: Run) -> None:
    reconstruct(run, until="foreground")
    table = run.output.read_table("sections")
    assert table["source"].tolist() == [0, 1, 1, 3, 4]
    assert table["place"].shape == (5, 2)
    assert np.ptp(table["low"]) == 0
    assert run.output.read("foreground", Box((0, 0, 0), run.volume.shape)).all()

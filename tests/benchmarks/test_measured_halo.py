"""A halo that was measured on too little is measured again, by the card of its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from small_pipeline import SECTIONS_NM, paint_tissue

from benchmarks.measured_halo import main
from pipeline.boundaries.model import load_model
from pipeline.model_header import extend_header
from workflows.train_boundaries import BoundaryTraining, train_boundaries


def test_a_card_takes_the_halo_that_its_volumes_need_and_no_smaller_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tissue = paint_tissue((4, 96, 96), cells=20, z_step=5)
    tifffile.imwrite(tmp_path / "raw.tif", tissue.raw)
    tifffile.imwrite(tmp_path / "cells.tif", tissue.cells.astype(np.uint16))
    volume = {
        "name": "painted", "raw": "raw.tif", "truth": "cells.tif", "truth_kind": "labels",
        "sections": (0, 4), "voxel_size_nm": SECTIONS_NM,
    }  # fmt: skip
    training = {
        "steps": 1, "batch": 1, "crop": 32,
        "network": {"stem": 8, "widths": (8, 16), "units": (1,) * 6},
    }  # fmt: skip
    config = BoundaryTraining.model_validate(
        {"name": "one", "licence": "none", "volumes": [volume], "training": training}
    )
    path = train_boundaries(config, tmp_path, tmp_path / "out", device="cpu", command="train")
    before = load_model(path)
    words = ["--data", str(tmp_path), "--device", "cpu", "--write", str(path)]

    extend_header(path, {"card": json.dumps({**before.card, "halo_pixels": 8})})
    main(words)
    after = load_model(path)
    assert after.halo > 8
    assert after.halo == before.halo  # as the training measured it
    weights, kept = before.network.state_dict(), after.network.state_dict()
    assert all(torch.equal(weights[name], kept[name]) for name in weights)

    extend_header(path, {"card": json.dumps({**after.card, "halo_pixels": 512})})
    main(words)
    assert load_model(path).halo == 512
    assert f"card 512, measured {{'halo_pixels': {after.halo}," in capsys.readouterr().out

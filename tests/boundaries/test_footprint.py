"""Memory that a network is said to need, beside what a process takes that predicts with it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from pipeline.boundaries.footprint import MAPS_BYTES, SCRATCH, bytes_per_pixel
from pipeline.boundaries.networks import NETWORKS

MEASURED = """
import json, sys, torch
from benchmarks.children import forget_peak, peak_bytes, resident_bytes
from pipeline.boundaries.networks import NETWORKS
from pipeline.boundaries.predict import predict_tile
from pipeline.boundaries.prepared import prepared

shape, side = json.loads(sys.argv[1]), 384
torch.set_num_threads(1)
network = prepared(NETWORKS[shape["architecture"]].build(shape), "cpu")
predict_tile(network, torch.rand(1, 64, 64), "none", "cpu", "fp32")
section = torch.rand(1, side, side)
forget_peak()
before = resident_bytes()
predict_tile(network, section, "max", "cpu", "fp32")
print((peak_bytes() - before) / side**2)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        {"architecture": "rc_spcnet"},
        {"architecture": "u_net", "width": 32, "depth": 3},
    ],
    ids=lambda shape: str(shape["architecture"]),
)
def test_no_more_memory_is_taken_than_is_said_and_not_much_less(shape: dict[str, Any]) -> None:
    command = [sys.executable, "-c", MEASURED, json.dumps(shape)]
    measured = float(subprocess.run(command, capture_output=True, check=True).stdout)
    said = bytes_per_pixel(shape)
    assert said / 2.5 < measured < said


def test_outputs_that_live_at_a_time_are_counted_by_hand() -> None:
    """A U-Net of one level, width 4, without normalisation, at its widest place.

    The concatenation of skip and upsampled map (8 channels) has gone through a convolution (4)
    while the skip (4) still lives in no other place; in and out of it are counted as copies.
    """
    shape = {"architecture": "u_net", "width": 4, "depth": 1, "batch_normalisation": False}
    channels = (bytes_per_pixel(shape) - MAPS_BYTES) / SCRATCH / 4
    assert 8 + 4 + (8 + 4) <= channels <= 8 + 4 + (8 + 4) + 12


@pytest.mark.parametrize("architecture", NETWORKS)
def test_wider_networks_need_more(architecture: str) -> None:
    known = NETWORKS[architecture]
    small = bytes_per_pixel(known.config())
    if known.paper is not None:
        assert bytes_per_pixel(known.paper) > 1.5 * small


def test_each_section_that_is_seen_needs_more() -> None:
    needed = [
        bytes_per_pixel({"architecture": "hybrid_u_net", "context_sections": c}) for c in (0, 1, 2)
    ]
    assert needed[0] < needed[1] < needed[2]

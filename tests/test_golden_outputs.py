"""Results of the exact stages are pinned, so that a change of results raises a version.

If a test here fails, results changed: raise the stage's ``version`` and pin the new pair.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.config import parse_config
from pipeline.contract import Resources, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.registry import stage
from workflows.in_memory import run_stage

SHAPE = (6, 48, 56)
GOLDEN: dict[tuple[str, float], tuple[int, str]] = {
    ("superpixels", 40.0): (2, "2accab608d0a949e"),
    ("graph", 40.0): (4, "71e538880e55c1c3"),
    ("multicut", 40.0): (2, "4853d08ec2282957"),
    ("superpixels", 8.0): (2, "3ba41f600a189c42"),
    ("graph", 8.0): (4, "84e645dad255e651"),
    ("multicut", 8.0): (2, "128ef967cfb42ed2"),
}


def boundary_map() -> NDArray[np.uint8]:
    """Walls between cells of 12 voxels, shifted from section to section; integers only."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    walls = ((y + z) % 12 < 2) | ((x + 2 * z + y // 12) % 14 < 2)
    noise = (z * 7919 + y * 104729 + x * 1299709) % 61
    return (np.where(walls, 190, 4) + noise).astype(np.uint8)


def digest(arrays: dict[str, NDArray[Any]]) -> str:
    """Hash of names, dtypes and values."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()[:16]


def results(z_nm: float) -> dict[str, dict[str, NDArray[Any]]]:
    """Outputs of superpixels, graph and (on integer probabilities) multicut."""
    volume = VolumeInfo(SHAPE, (z_nm, 8.0, 8.0), "uint8")
    config = parse_config({}, "golden").resolved(volume)
    resources = Resources(volume, corrections=Corrections.none(SHAPE[0], 0, 255))
    boundaries = boundary_map()

    def run(name: str, known: dict[str, Any]) -> dict[str, Any]:
        return run_stage(stage(name), known, config.section(name), resources)

    foreground = np.ones_like(boundaries)
    superpixels = run("superpixels", {"boundaries": boundaries, "foreground": foreground})
    graph = run("graph", superpixels)
    u, v = graph["edges"]["uv"].astype(np.int64).T
    edges = {**graph["edges"], "p_cut": ((u * 31 + v * 17) % 97 / 128).astype(np.float32)}
    lifted = {"uv": np.zeros((0, 2), np.uint64), "p_cut": np.zeros(0, np.float32)}
    multicut = run("multicut", {"nodes": graph["nodes"], "edges": edges, "lifted": lifted})
    return {
        "superpixels": superpixels,
        "graph": {f"{t}/{c}": a for t, table in graph.items() for c, a in table.items()},
        "multicut": multicut["nodes"],
    }


@pytest.mark.parametrize("z_nm", [40.0, 8.0], ids=["sections", "cubes"])
def test_exact_stages_give_the_results_of_their_version(z_nm: float) -> None:
    for name, arrays in results(z_nm).items():
        assert (stage(name).version, digest(arrays)) == GOLDEN[name, z_nm], name

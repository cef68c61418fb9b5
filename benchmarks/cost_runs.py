"""What the runs of one line of the table of computational costs took."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost_volumes import Costed, part_shape, resampled, write_volume
from benchmarks.reports import commit, write_whole
from pipeline.boundaries.device import choose_device
from pipeline.contract import Triple

NETWORK = "boundaries"


@dataclass(frozen=True)
class Cost:
    """What the runs of one line took together.

    Parameters
    ----------
    shapes
        Measured volumes.
    network_seconds, graph_seconds
        Of the boundary map, and of all other stages.
    peak_bytes
        Largest resident memory of a run's process tree.
    interrupted
        Whether a run was killed and gone on with: what the killed step had done is not counted.
    """

    shapes: tuple[Triple, ...]
    network_seconds: float
    graph_seconds: float
    peak_bytes: int
    interrupted: bool = False

    @property
    def voxels(self) -> int:
        """Measured."""
        return sum(prod(shape) for shape in self.shapes)

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return self.network_seconds + self.graph_seconds

    def whole_minutes(self, voxels: int) -> float | None:
        """Minutes that a volume of so many voxels would take; ``None`` where it was measured."""
        return None if voxels == self.voxels else self.seconds / 60 * voxels / self.voxels

    def __add__(self, other: Cost) -> Cost:
        """Both runs, one after the other."""
        return Cost(
            self.shapes + other.shapes,
            self.network_seconds + other.network_seconds,
            self.graph_seconds + other.graph_seconds,
            max(self.peak_bytes, other.peak_bytes),
            self.interrupted or other.interrupted,
        )


def measured(costed: Costed, sections: NDArray[np.uint8], options: argparse.Namespace) -> Cost:
    """All volumes of a line, one after the other."""
    pixels = resampled(sections, costed.voxel_size_nm[2])
    shapes = [part_shape(shape, costed.fraction) for shape in costed.shapes]
    found = [run_cost(costed, pixels, shape, options) for shape in shapes]
    return sum(found[1:], start=found[0])


def run_cost(
    costed: Costed, sections: NDArray[np.uint8], shape: Triple, options: argparse.Namespace
) -> Cost:
    """Of one volume: as noted by an earlier call, else written, reconstructed and noted."""
    arguments = run_arguments(costed, options)
    named = f"{costed.name}-{'x'.join(map(str, shape))}"
    digest = hashlib.sha256(sections.tobytes())
    digest.update(json.dumps([*arguments, commit()]).encode())
    folder = options.output / "atum_sem" / f"{named}-{digest.hexdigest()[:10]}"
    note = folder / "cost.json"
    if note.exists():
        return Cost(**{**json.loads(note.read_text()), "shapes": (shape,)})
    volume, store = folder / "volume.zarr", folder / "volume.neurons.zarr"
    interrupted = store.exists()
    if not volume.exists():
        write_volume(volume, sections, shape, costed.voxel_size_nm)
    print(f"{named}: running", flush=True)
    program = [sys.executable, "-m", "pipeline"]
    command = [*program, "run", str(volume), "--output", str(store), "--no-pictures", *arguments]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"{named}: the run failed, see above; the same command goes on")
    command = [*program, "status", "--json", str(store)]
    status = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cost = cost_of(json.loads(status)["stages"], shape, interrupted=interrupted)
    kept = {key: value for key, value in vars(cost).items() if key != "shapes"}
    write_whole(note, json.dumps(kept) + "\n")
    for done in (volume, store):
        shutil.rmtree(done)
    return cost


def run_arguments(costed: Costed, options: argparse.Namespace) -> list[str]:
    """Of ``run``: all that its time depends on besides the volume."""
    found = ["--config", options.config or costed.preset, "--device", choose_device(options.device)]
    found += ["--workers", str(options.workers)]
    found += ["--memory", options.memory] if options.memory else []
    return found + [part for override in options.set for part in ("--set", override)]


def cost_of(stages: Sequence[Mapping[str, Any]], shape: Triple, *, interrupted: bool) -> Cost:
    """Network and graph apart, of what ``status --json`` tells."""
    seconds = {stage["stage"]: stage["seconds"] for stage in stages}
    network = seconds.pop(NETWORK)
    peak = max(stage["peak_bytes"] for stage in stages)
    return Cost((shape,), network, sum(seconds.values()), peak, interrupted)

"""Fine-tuning on 1, 3 and 10 annotated sections of ISBI 2012, scored on sections 14-19.

The network to start from must never have seen ISBI 2012, as the packaged ``without-isbi2012``
(``configs/train/without_isbi2012.yaml``). Every training is the command that
``docs/fine_tuning.md`` gives, with its defaults; beside it stand the network as it was and the same
number of steps from scratch. Thresholds are chosen on the annotated sections; of the untouched
network on those of the largest set.

``python -m benchmarks.fine_tuning --data DATA``
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.datasets import ISBI2012
from benchmarks.endings import as_program
from benchmarks.mean_boundary import labels_of
from benchmarks.published import publish
from benchmarks.quality import THRESHOLDS, label_row, models_of, volume_info
from benchmarks.reports import write_whole
from pipeline.config import parse_config
from pipeline.evaluation.isbi import ThresholdScore, best, score_map, truth_sections
from pipeline.packaged import model_path
from workflows.base_model import Base
from workflows.fine_tuning import FINE_TUNING, boundary_training
from workflows.fingerprints import file_hash
from workflows.given_annotations import Annotation, volumes_of
from workflows.in_memory import reconstruct_array
from workflows.machine import available_cores
from workflows.seen_data import SEEN, Seen, require_unseen
from workflows.train_boundaries import BoundaryTraining, train_boundaries

ANNOTATED = (1, 3, 10)
"""Sections 0 .. n - 1 are annotated."""
QUICK_STEPS = 5
CELL_THRESHOLDS = tuple(round(1 - t, 2) for t in THRESHOLDS)


@dataclass(frozen=True)
class Row:
    """Scores of one network on sections 14-19.

    Parameters
    ----------
    network
        How it was made.
    annotated
        Number of sections that it was tuned on.
    steps
        Of the training.
    cpu_seconds, seconds
        Of the training, on all threads together and by the clock.
    threshold
        On P(boundary), chosen on the annotated sections.
    v_rand, v_info
        Of the map (mean of 8 orientations), cut there.
    oracle_v_rand
        At the best threshold for the scored sections themselves.
    multicut_v_rand, lifted_v_rand
        Of the map (maximum of 8 orientations) and the shipped forests.
    """

    network: str
    annotated: int
    steps: int
    cpu_seconds: float | None
    seconds: float | None
    threshold: float
    v_rand: float
    v_info: float
    oracle_v_rand: float
    multicut_v_rand: float
    lifted_v_rand: float


def main() -> None:
    """Tune, score, report."""
    options = arguments()
    counts = ANNOTATED[:1] if options.quick else ANNOTATED
    rows = [scored("as it was", options.base, max(counts), 0, {}, options)]
    for count in counts:
        for title, tuned in (("fine-tuned", True), ("from scratch", False)):
            model, took = trained(count, tuned, options)
            rows.append(scored(title, model, count, steps_of(options), took, options))
            print(rows[-1], flush=True)
    begin, end = ISBI2012.validate
    threads = torch.get_num_threads()
    publish(
        options.output,
        "fine_tuning",
        f"Fine-tuning on ISBI 2012, scored on sections {begin}-{end - 1}",
        (),
        text=f"{as_markdown(rows)}\nStarted from `{options.base.name}`; {threads} threads.\n",
        quick=options.quick,
        values={
            "rows": [asdict(r) for r in rows],
            "threads": threads,
            "base": options.base.name,
        },
    )


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument(
        "--base",
        type=model_path,
        default="without-isbi2012",
        help="packaged name or file of a model that never saw isbi2012",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/fine_tuning"))
    parser.add_argument("--steps", type=int, help="of each training; the command's own otherwise")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a small part, to try the program")
    parser.add_argument(
        "--allow-seen", action="store_true", help="score what a model learned from, too; marked"
    )
    return parser.parse_args()


def steps_of(options: argparse.Namespace) -> int:
    """Steps of each training."""
    return QUICK_STEPS if options.quick else options.steps or int(FINE_TUNING["steps"])


def configuration(count: int, tuned: bool, options: argparse.Namespace) -> BoundaryTraining:
    """What the command line makes of the first sections; from scratch the same network."""
    given = Annotation(
        options.data / ISBI2012.raw,
        options.data / str(ISBI2012.membranes),
        "cells",
        f"0:{count}",
    )
    volumes = volumes_of([given], voxel_size_nm=ISBI2012.voxel_size_nm)
    name = f"{'tuned' if tuned else 'scratch'}-{count}"
    start = str(options.base) if tuned else None
    config = boundary_training(volumes, name, start=start, steps=steps_of(options))
    if tuned:
        return config
    warmup = {"warmup_steps": FINE_TUNING["warmup_steps"], "network": Base.open(options.base).shape}
    return config.model_copy(update={"training": config.training.model_copy(update=warmup)})


def trained(count: int, tuned: bool, options: argparse.Namespace) -> tuple[Path, dict[str, float]]:
    """The model file, trained unless an earlier call did, and how long that took."""
    config = configuration(count, tuned, options)
    start = f"-{file_hash(options.base)[:8]}" if tuned else ""
    output = options.output / f"{config.name}-{steps_of(options)}{start}"
    model, note = output / f"{config.name}.safetensors", output / "took.json"
    if note.exists():
        took: dict[str, float] = json.loads(note.read_text())
        return model, took
    wall, cpu = time.monotonic(), time.process_time()
    train_boundaries(config, Path(), output, device=options.device)
    took = {"cpu_seconds": time.process_time() - cpu, "seconds": time.monotonic() - wall}
    write_whole(note, json.dumps(took) + "\n")
    return model, took


def scored(
    title: str,
    model: Path,
    count: int,
    steps: int,
    took: dict[str, float],
    options: argparse.Namespace,
) -> Row:
    """Threshold on the annotated sections, scores on sections 14-19."""
    begin, end = ISBI2012.validate
    sections = (begin, begin + 2 if options.quick else end)
    seen = seen_by(model, sections, options)
    chosen = best(map_scores(model, (0, count), options), "v_rand").threshold
    scores = map_scores(model, sections, options)
    given = next(s for s in scores if s.threshold == chosen)
    multicut, lifted = graph_scores(model, sections, options)
    return Row(
        network=f"{title} ({SEEN})" if seen else title,
        annotated=count,
        steps=steps,
        cpu_seconds=took.get("cpu_seconds"),
        seconds=took.get("seconds"),
        threshold=round(1 - chosen, 2),
        v_rand=given.v_rand,
        v_info=given.v_info,
        oracle_v_rand=best(scores, "v_rand").v_rand,
        multicut_v_rand=multicut,
        lifted_v_rand=lifted,
    )


def seen_by(
    model: Path, sections: tuple[int, int], options: argparse.Namespace
) -> tuple[Seen, ...]:
    """What a network and the shipped forests learned from, of sections that are to be scored."""
    raw = ISBI2012.load(options.data, ISBI2012.raw, sections)
    config = parse_config({"boundaries": {"model": str(model)}}, "fine-tuning")
    return require_unseen(
        raw,
        models_of(config, volume_info(ISBI2012, raw)),
        what=f"{ISBI2012.name}, sections {sections[0]}-{sections[1] - 1}",
        allow=options.allow_seen,
    )


def map_scores(
    model: Path, sections: tuple[int, int], options: argparse.Namespace
) -> list[ThresholdScore]:
    """Scores of the mean map of some sections over all thresholds."""
    found = reconstructed(model, sections, "mean", "boundaries", options)
    truth = truth_sections(membranes_of(sections, options), kind="mask")
    return score_map(found["boundaries"], truth, CELL_THRESHOLDS)


def graph_scores(
    model: Path, sections: tuple[int, int], options: argparse.Namespace
) -> tuple[float, float]:
    """V_rand of the multicut and of the lifted multicut."""
    found = reconstructed(model, sections, "max", None, options)
    membranes = membranes_of(sections, options)
    truth = ISBI2012.load(options.data, ISBI2012.truth, sections)
    values = []
    for partition in ("multicut", "neuron"):
        labels = labels_of(found, found["nodes"][partition])
        values.append(label_row(partition, labels, truth, membranes).v_rand or 0.0)
    return values[0], values[1]


def reconstructed(
    model: Path,
    sections: tuple[int, int],
    augmentation: str,
    until: str | None,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The pipeline on some sections with a network."""
    settings = {"boundaries": {"model": str(model), "augmentation": augmentation}}
    return reconstruct_array(
        ISBI2012.load(options.data, ISBI2012.raw, sections),
        ISBI2012.voxel_size_nm,
        parse_config(settings, "fine-tuning"),
        device=options.device,
        until=until,
        threads=available_cores(),
    )


def membranes_of(sections: tuple[int, int], options: argparse.Namespace) -> NDArray[np.uint8]:
    """Mask of some sections, 0 = membrane."""
    assert ISBI2012.membranes is not None
    return ISBI2012.load(options.data, ISBI2012.membranes, sections)


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table.

    >>> row = Row("fine-tuned", 3, 300, 241.0, 130.0, 0.5, 0.95, 0.97, 0.96, 0.94, 0.93)
    >>> print(as_markdown([row]).splitlines()[-1])
    | fine-tuned | 3 | 300 | 4.0 | 0.50 | 0.9500 | 0.9700 | 0.9600 | 0.9400 | 0.9300 |
    """
    lines = [
        "| network | annotated sections | steps | CPU minutes | threshold | V_rand | V_info "
        "| V_rand, oracle | V_rand, multicut | V_rand, lifted |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        minutes = "–" if row.cpu_seconds is None else f"{row.cpu_seconds / 60:.1f}"
        scores = (row.v_rand, row.v_info, row.oracle_v_rand, row.multicut_v_rand, row.lifted_v_rand)
        cells = " | ".join(f"{v:.4f}" for v in scores)
        annotated, steps = (row.annotated, row.steps) if row.steps else ("–", "–")
        lines.append(
            f"| {row.network} | {annotated} | {steps} | {minutes} | {row.threshold:.2f} | {cells} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    as_program(main)

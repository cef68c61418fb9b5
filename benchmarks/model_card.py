"""Write the shipped networks' model cards from their files' headers and the benchmarks' results.

``python -m benchmarks.model_card [--results benchmarks/results]``
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.endings import as_program
from benchmarks.isbi2012_networks import steps_of
from benchmarks.network_table import LABELS
from benchmarks.published import read
from benchmarks.results import KEPT
from pipeline.boundaries.model import FORMAT, load_model
from pipeline.model_header import read_header
from pipeline.packaged import model_path, packaged_models

SCORED = ("single pass", "mean TTA", "max TTA")


def main() -> None:
    """Write ``<name>.md`` beside every shipped network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=KEPT)
    results = parser.parse_args().results
    for name in packaged_networks():
        path = model_path(name)
        scores = scores_of_default(results) if name == "default" else []
        lines = [*card_lines(name, load_model(path).card), *scores]
        path.with_suffix(".md").write_text("\n".join(lines) + "\n")
        print(path.with_suffix(".md"))


def card_lines(name: str, card: dict[str, Any]) -> list[str]:
    """What the network is and what it learned from."""
    low, high = card["voxel_size_nm_range"]
    training = card["training"]
    start = card["started_from"]
    return [
        f"# Boundary network `{name}`",
        "",
        f"{LABELS[training['network']['architecture']]} (Xiao et al. 2022) at a small width: "
        f"{card['parameters']:,} parameters, {shape(training['network'])}.",
        "",
        f"- **Input**: single sections of {low:.0f} to {high:.0f} nm pixels, normalised over the "
        "whole volume; isotropic volumes are predicted along three axes.",
        f"- **Halo**: {card['halo_pixels']} pixels, measured (largest difference between a tile "
        f"and more context: {card['halo_largest_difference'] * 255:.2f}/255).",
        f"- **Training**: {steps_of(card)} steps of {training['batch']}×{training['crop']}², "
        f"seed {training['seed']}, on {card['device']}, torch {card['torch']}"
        + (f", started from `{start}`" if start else "")
        + f"; `{card['command']}`. See `docs/training.md`.",
        "- **Licence**: research and non-commercial use, see `LICENSE-WEIGHTS.md`.",
        "",
        "| trained on | sections | voxels, nm | terms at the source |",
        "|---|---|---|---|",
        *(_data_line(volume) for volume in card["data"]),
    ]


def scores_of_default(results: Path) -> list[str]:
    """The part of the default network's card that holds its scores."""
    return [
        "",
        "Scores on sections that it never saw (threshold chosen on training parts; `oracle`: best "
        "for the scored data itself):",
        "",
        "| data | method | threshold | V_rand | V_info | adapted Rand error |",
        "|---|---|---|---:|---:|---:|",
        *score_lines(results),
    ]


def packaged_networks() -> tuple[str, ...]:
    """Names of the packaged models that are boundary networks, and not forests."""
    return tuple(
        name for name in packaged_models() if read_header(model_path(name)).get("format") == FORMAT
    )


def shape(network: dict[str, Any]) -> str:
    """A network's parameters in words."""
    return ", ".join(f"{key} {value}" for key, value in network.items() if key != "architecture")


def _data_line(volume: dict[str, Any]) -> str:
    begin, end = volume["sections"]
    size = ", ".join(f"{v:g}" for v in volume["voxel_size_nm"])
    return f"| {volume['name']} | {begin}–{end - 1} | {size} | {volume['licence']} |"


def score_lines(results: Path) -> list[str]:
    """Rows of Markdown: the thresholded maps of the three data sets.

    Raises
    ------
    InputError
        If one of them was not published in that folder.
    """
    lines = []
    for name in ("isbi2012", "snemi3d", "fib25"):
        for row in read(results / f"{name}.json").values["rows"]:
            if row["method"] not in SCORED:
                continue
            values = (row["v_rand"], row["v_info"], row["arand"])
            cells = " | ".join("–" if v is None else f"{v:.4f}" for v in values)
            lines.append(f"| {name} | {row['method']} | {row['threshold']} | {cells} |")
    return lines


if __name__ == "__main__":
    as_program(main)

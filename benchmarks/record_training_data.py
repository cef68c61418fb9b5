"""Add the record of what it learned from to model files that were made before there was one.

Each file's card lists its volumes; their marks are taken from the data sets and written into
the header. The weights stay the same bytes.

``python -m benchmarks.record_training_data --data DATA [--networks FILE FILE] [FILE ...]``
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.datasets import require_folder
from benchmarks.endings import as_program
from pipeline.errors import ModelError
from pipeline.model_header import extend_header, read_header
from pipeline.packaged import model_path, packaged_models
from workflows.annotated_volume import AnnotatedVolume
from workflows.training_data import described
from workflows.training_record import HEADER, TrainingRecord, inheriting, learned_of


def main() -> None:
    """Record the files that are given, by default all that ship with the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument(
        "--networks", type=Path, nargs="+", default=[], help="that made the maps of forests"
    )
    parser.add_argument("--again", action="store_true", help="replace records that are there")
    parser.add_argument("files", type=Path, nargs="*", help="default: all shipped ones")
    options = parser.parse_args()
    require_folder(options.data)
    for path in options.files or [model_path(name) for name in packaged_models()]:
        print(f"{path}: {added(path, options.data, options.networks, again=options.again)}")


def added(path: Path, data: Path, networks: Sequence[Path] = (), *, again: bool = False) -> str:
    """Add the record to one file, and say what it holds.

    Parameters
    ----------
    path
        Of a network or forest.
    data
        Folder of the data sets.
    networks
        Files of the networks that made a forest's maps.
    again
        Replace a record that is there.
    """
    header = read_header(path)
    if HEADER in header and not again:
        return "has a record already"
    record = record_of_header(header, path, data, networks)
    extend_header(path, record.header)
    return "; ".join(f"{one.title}: {len(one.content.marks)} marks" for one in record.learned)


def record_of_header(
    header: Mapping[str, str], path: Path, data: Path, networks: Sequence[Path]
) -> TrainingRecord:
    """The record of a network, or of a forest with that of the networks of its maps."""
    if "card" in header:
        return record_of_card(json.loads(header["card"]), data)
    if "forest" not in header:
        raise ModelError(f"{path}: neither a network nor a forest of this program")
    metadata = json.loads(header["forest"])["metadata"]
    if sorted(metadata["networks"]) != sorted(network.name for network in networks):
        raise ModelError(
            f"{path}: give --networks {' '.join(metadata['networks'])}, which made its maps"
        )
    return inheriting(own_record(metadata["data"], data), networks)


def record_of_card(card: Mapping[str, Any], data: Path) -> TrainingRecord:
    """The record of a network, and of those that it started from as far as its card tells."""
    own = own_record(card["data"], data)
    if not card.get("base"):
        return own
    base = record_of_card(card["base"]["card"], data)
    through = str(card["started_from"])
    return replace(
        own, learned=(*own.learned, *(replace(one, through=through) for one in base.learned))
    )


def own_record(volumes: Sequence[Mapping[str, Any]], data: Path) -> TrainingRecord:
    """The record of volumes as a card lists them."""
    listed = [described(AnnotatedVolume(**one), data) for one in volumes]
    return TrainingRecord(tuple(learned_of(one, data) for one in listed))


if __name__ == "__main__":
    as_program(main)

"""Measure the halo of a network's file again, on the volumes that its card lists.

What ``train boundaries`` does when it ends, for files whose halo was measured on fewer sections.
With ``--write`` the card takes the result, unless it needs no more than it says; the weights stay
the same bytes.

``python -m benchmarks.measured_halo --data DATA [--write] [NAME_OR_FILE ...]``
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets import require_folder
from benchmarks.endings import as_program
from benchmarks.model_card import packaged_networks
from pipeline.boundaries.device import choose_device
from pipeline.boundaries.model import load_model
from pipeline.model_header import extend_header
from pipeline.packaged import model_path
from pipeline.training.config import TrainingConfig
from workflows.annotated_volume import AnnotatedVolume
from workflows.train_boundaries import measured_halo
from workflows.training_data import described, load


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--write", action="store_true", help="into the card of the file")
    parser.add_argument("models", nargs="*", help="names or files; default: all packaged ones")
    options = parser.parse_args(argv)
    require_folder(options.data)
    for name in options.models or packaged_networks():
        path = model_path(name)
        card = load_model(path).card
        found = halo_of(path, options.data, choose_device(options.device))
        print(f"{name}: card {card['halo_pixels']}, measured {found}")
        if options.write and found["halo_pixels"] >= card["halo_pixels"]:
            extend_header(path, {"card": json.dumps({**card, **found})})


def halo_of(path: Path, data: Path, device: str) -> dict[str, Any]:
    """See ``measured_halo``; of a network of a training, on the volumes of its card.

    Raises
    ------
    InputError
        If a volume is not there.
    """
    model = load_model(path, device)
    settings = TrainingConfig.model_validate(model.card["training"])
    listed = [described(AnnotatedVolume(**one), data) for one in model.card["data"]]
    volumes = [load(one, data, model.context_sections)[0] for one in listed]
    return measured_halo(model.network, volumes, settings, device)


if __name__ == "__main__":
    as_program(main)

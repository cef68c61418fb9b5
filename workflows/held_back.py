"""Whether a training helped: networks scored on a part that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import parse_config
from pipeline.contract import UINT8_MAX
from pipeline.evaluation.isbi import best, score_map, truth_sections
from pipeline.training.targets import IGNORE
from workflows.in_memory import reconstruct_array
from workflows.machine import available_cores
from workflows.training_data import SEPARATE, HeldBack

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""On P(cell), as ``score_map`` takes them."""
CLIP = 1 / 512
"""Probabilities are rounded to 1/255, so that 0 and 1 are not taken at their word."""
Scores = dict[str, float]


def score_held_back(model: Path, held: Sequence[HeldBack], device: str) -> Scores:
    """Scores of a network's map, predicted in one pass as ``run`` would.

    Parameters
    ----------
    model
        Its file.
    held
        What to score on.
    device
        Of the network.

    Returns
    -------
    scores
        ``log_loss`` in nats and ``pixels`` that are annotated; ``v_rand`` and ``v_info`` at their
        best thresholds, means over the volumes, if a cell is there.
    """
    losses, pixels = 0.0, 0
    rand, information = [], []
    for part in held:
        boundaries = _map(model, part, device)
        known = part.target != IGNORE
        losses += float(_log_losses(boundaries[known], part.target[known]).sum())
        pixels += int(known.sum())
        cells = (part.target == 0).astype(np.uint8)
        if cells.any():
            rows = score_map(
                boundaries.astype(np.float32) / np.float32(UINT8_MAX),
                truth_sections(cells, kind="mask"),
                THRESHOLDS,
            )
            rand.append(best(rows, "v_rand").v_rand)
            information.append(best(rows, "v_info").v_info)
    scores = {"log_loss": losses / pixels, "pixels": float(pixels)}
    if rand:
        scores |= {"v_rand": float(np.mean(rand)), "v_info": float(np.mean(information))}
    return scores


def as_sentence(before: Scores | None, after: Scores) -> str:
    """What the scores say, for people.

    >>> as_sentence({"log_loss": 0.4, "v_rand": 0.8}, {"log_loss": 0.3, "v_rand": 0.9})
    'held back: log loss 0.4000 -> 0.3000 (better), V_rand 0.8000 -> 0.9000 (better)'
    """
    titles = {"log_loss": "log loss", "v_rand": "V_rand", "v_info": "V_info"}
    words = []
    for key, title in titles.items():
        if key not in after:
            continue
        new = after[key]
        if before is None or key not in before:
            words.append(f"{title} {new:.4f}")
            continue
        gain = before[key] - new if key == "log_loss" else new - before[key]
        verdict = "better" if gain > 0 else "worse" if gain < 0 else "the same"
        words.append(f"{title} {before[key]:.4f} -> {new:.4f} ({verdict})")
    return f"held back: {', '.join(words)}"


def _map(model: Path, part: HeldBack, device: str) -> NDArray[np.uint8]:
    settings: dict[str, Any] = {
        **SEPARATE,
        "boundaries": {"model": str(model), "augmentation": "none", "planes": "xy"},
    }
    found = reconstruct_array(
        part.raw,
        part.voxel_size_nm,
        parse_config(settings, "held back"),
        device=device,
        until="boundaries",
        threads=available_cores(),
    )
    boundaries: NDArray[np.uint8] = found["boundaries"]
    return boundaries


def _log_losses(boundaries: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float64]:
    p = np.clip(boundaries / UINT8_MAX, CLIP, 1 - CLIP)
    found: NDArray[np.float64] = -np.log(np.where(target == 1, p, 1 - p))
    return found
